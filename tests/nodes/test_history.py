"""The history of a task: every change that entries made, in their order, and of nothing else."""

from __future__ import annotations

from swarm.core.ledger import Ledger
from swarm.nodes.history import History
from tests.core.jobscene import JobScene, slots
from tests.core.test_sweeps import SweepScene


def seen(scene: JobScene) -> History:
    """What comes of reading the scene's ledger from its first entry."""
    history, ledger = History(), Ledger()
    for header, claim in scene.log:
        applied = ledger.apply(header, claim)
        history.see(header, claim.uid, claim.kind, applied, ledger)
    return history


def test_every_change_of_a_task_is_told_with_its_author():
    scene = JobScene(1)
    run = scene.submit(restart=1)
    scene.submit("other")
    (slot,) = slots(run)
    scene.ends(slot, "failed", "exit code 3")
    scene.ends(slot)
    assert scene.stop("job").reason, "refused: it changes nothing"
    assert scene.delete().accepted
    rows = seen(scene).of(["job"])
    assert [(row["slot"], row["state"]) for row in rows] == [
        (None, "known"), (None, "queued"), (slot.id, "assigned"), (None, "running"), (slot.id, "failed"),
        (slot.id, "waiting"), (None, "queued"), (slot.id, "assigned"), (None, "running"), (slot.id, "done"),
        (None, "done"), (None, "deleted"),
    ]  # fmt: skip
    assert [rows[index]["kind"] for index in (0, 4, -1)] == ["JobsSubmitted", "SlotReported", "JobsDeleted"]
    assert (rows[0]["by"], rows[4]["by"]) == ("swarm://a/swci/swci-1", "swarm://a/swop/swop-1")
    assert rows[4]["reason"] == "exit code 3"
    assert [row["entry"] for row in rows] == sorted(row["entry"] for row in rows)
    assert all(row["time"] for row in rows)


def test_a_name_that_was_used_again_has_the_history_of_both_and_others_have_their_own():
    scene = JobScene(1)
    for _ in range(2):
        (slot,) = slots(scene.submit())
        scene.ends(slot)
        assert scene.delete().accepted
    history = seen(scene)
    assert [row["state"] for row in history.of(["job"])].count("deleted") == 2
    assert history.of(["nothing"]) == []


def test_a_sweep_that_was_deleted_has_the_history_of_its_swarms():
    scene = SweepScene(2)
    for run in list(scene.sweep(2).runs.values()):
        scene.done(run)
    assert scene.say(scene.swci, "JobsDeleted", {"task": "cv"}).accepted
    history = seen(scene)
    assert history.called("cv") == ["cv", "cv.0", "cv.1"]
    assert [row["task"] for row in history.of(history.called("cv")) if row["state"] == "deleted"] == ["cv.0", "cv.1"]
    assert history.called("job") == ["job"]
