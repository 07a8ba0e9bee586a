"""``swarm task ls`` for people."""

from rich.console import Console

from swarm.cli import task

ROW = {
    "id": 2, "name": "digits", "user": "swarm://a/swci/alice", "state": "running", "message": "",
    "counts": {"running": 3}, "created": "2026-11-22T13:14:43.517Z", "started": "2026-11-22T13:15:00.001Z",
    "ended": None,
}  # fmt: skip


def test_the_table_has_times_and_nothing_for_those_that_have_not_come():
    console = Console(width=400)
    with console.capture() as captured:
        console.print(task._tasks([ROW]))
    head, row = (line.split() for line in captured.get().splitlines())
    assert head == ["id", "task", "user", "state", "slots", "created", "started", "ended", "why"]
    times = ["2026-11-22", "13:14:43", "2026-11-22", "13:15:00"]
    assert row == ["2", "digits", "swarm://a/swci/alice", "running", "3", "running", *times]
