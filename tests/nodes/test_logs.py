"""Logs that were left on a host, found by the names that people know."""

import os
from pathlib import Path

import pytest

from swarm.core.events import SlotAssigned
from swarm.errors import BadInput
from swarm.nodes.logs import find
from swarm.nodes.slotdirectory import SlotDirectory


@pytest.fixture
def ran(tmp_path):
    """Have the slot of a task run on this host, so that it left a log; its operator's directory is like any other."""

    def ran(task: str, slot: str, *, fence: int = 6, part: str = "jobs") -> Path:
        run, _, index = slot.partition(".")
        lease = SlotAssigned(slot, "runner", int(run), task, "uid", int(index), fence, 1, "")
        path = tmp_path / "up" / "swop-1" / part / f"{slot}-{fence}"
        SlotDirectory(path, lease).intend()
        for log in ("ml.log", "sl.log"):
            (path / log).write_text(f"{log} of {task} under lease {fence}\n")
        return path / "ml.log"

    return ran


def test_a_task_is_found_by_its_name_where_one_slot_of_it_ran_here(ran, tmp_path):
    ran("cv", "12.0", fence=6)
    again = ran("cv", "12.0", fence=9)
    ran("other", "13.0", part="roles")
    assert find(tmp_path, "cv").path == again, "its last attempt, and the program's log"
    assert find(tmp_path, "12.0.sl").path.name == "sl.log"
    assert find(tmp_path, "other").last(1)[0] == ["ml.log of other under lease 6"]


def test_of_several_slots_it_says_which_there_are_and_none_of_a_deleted_task_of_that_name(ran, tmp_path):
    os.utime(ran("cv", "9.0"), (1, 1))
    for index in range(12):
        ran("cv", f"12.{index}")
    with pytest.raises(BadInput) as refused:
        find(tmp_path, "cv")
    assert refused.value.message == (
        f"12 slots of task cv have left logs in {tmp_path}, expected the name of one: "
        "12.0, 12.1, 12.2, 12.3, 12.4 and 7 more"
    )
    assert refused.value.hint == "swarm logs 12.0 shows one; swarm slots ls cv says how each of them is"


def test_what_has_left_no_log_here_says_where_a_tasks_slots_are_listed(ran, tmp_path):
    (ran("first", "12.0").parent / "slot.json").write_text("no JSON")
    with pytest.raises(BadInput) as refused:
        find(tmp_path, "first")
    assert "no node, no slot and no task first has left a log in " in refused.value.message
    assert "swarm slots ls TASK" in refused.value.hint
    ran("second", "13.0")
    with pytest.raises(BadInput, match="no task secnd") as refused:
        find(tmp_path, "secnd")
    assert refused.value.hint == "did you mean second?"
