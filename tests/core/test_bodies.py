"""The bytes of an organisation's tasks: all that is kept of them counts, and a restored ledger counts alike."""

from __future__ import annotations

import msgpack
import pytest

from swarm.core import bodies
from swarm.core.ledger import Ledger
from swarm.core.roles import Role
from swarm.errors import Refused
from tests.core.jobscene import JobScene
from tests.core.rolescene import RoleScene
from tests.core.scene import restored
from tests.core.test_datasets import MNIST, DataScene
from tests.core.test_sweeps import SweepScene

INVITED = Role("p", owner="participant", cpu=0, organisations=tuple(f"sha256:{key:064x}" for key in range(64)))


def kept(ledger: Ledger, scene: JobScene) -> str:
    """What is said of the bytes that the author's organisation has."""
    with pytest.raises(Refused) as refused:
        ledger.board.bodies.must_have_room(bodies.BODIES_MAX, scene.swci.identity)
    return str(refused.value)


def test_roles_count_and_before_the_fourth_rules_they_did_not(monkeypatch: pytest.MonkeyPatch):
    scene, before = RoleScene(1), RoleScene(1, rules=3)
    for each in (scene, before):
        each.play(INVITED, name="first")
    task = scene.ledger.tasks["first"]
    assert task.beside_bytes > len(msgpack.packb(INVITED.said())), "many times what its body says"
    monkeypatch.setattr(bodies, "BODIES_MAX", 2 * (task.bytes + task.beside_bytes))
    body = {**scene.log[-1][1].body, "name": "second"}
    refused = scene.say(scene.swci, "RolesSubmitted", body)
    assert f"the tasks of a take {task.bytes + task.beside_bytes} bytes in the ledger" in refused.reason
    assert "second" not in scene.ledger.tasks
    for number in range(5):
        before.play(INVITED, name=f"more-{number}")
    scene.stop("first")
    assert scene.delete("first").accepted
    assert scene.say(scene.swci, "RolesSubmitted", body).accepted


def test_a_restored_ledger_has_counted_roles_variants_data_and_outputs_alike():
    sweep, data = SweepScene(2), DataScene(1)
    sweep.sweep(2, draft=True)
    data.add(a="1")
    assert data.use("used", (MNIST, [1])).accepted
    plain = data.submit("plain")
    used, plainly = data.ledger.tasks["used"], data.ledger.tasks[plain.task]
    assert used.beside_bytes - plainly.beside_bytes == len(MNIST) + bodies.USE_BYTES
    for scene in (sweep, data):
        assert kept(restored(scene.ledger), scene) == kept(scene.ledger, scene)
        all_ = sum(task.bytes + task.beside_bytes for task in scene.ledger.tasks.values() if task.run)
        assert f"take {all_} bytes" in kept(scene.ledger, scene)
