"""What a network node says of datasets: who uses them, what was made of them, in answers that fit into messages."""

import msgpack
import pytest

from swarm.errors import BadInput
from swarm.nodes import artifacts, datastatus, jobstatus
from swarm.wire.frame import CAP
from tests.core.jobscene import slots
from tests.core.test_artifacts import MakingScene, output
from tests.core.test_datasets import MNIST


def test_the_files_of_a_version_come_in_pages_that_a_message_takes():
    scene = MakingScene(1)
    names = [f"{number:04}" + "n" * 230 for number in range(900)]
    for half in (names[:450], names[450:]):
        files = {"names": half, "hashes": bytes(32 * 450), "sizes": [1] * 450, "examples": [-1] * 450}
        kind = "DatasetAdded" if half[0] == names[0] else "DatasetCommitted"
        body = {"name": MNIST, "message": "m" * 200, "tags": ["t"], "root": "/" + "r" * 900, "alone": False}
        outcome = scene.say(scene.swci, kind, {**body, "files": files})
        assert outcome.accepted, outcome.reason
    found: list = []
    more = True
    while more:
        answer = datastatus.dataset(scene.ledger, MNIST, len(found))
        assert len(msgpack.packb(answer)) < CAP
        found, more = [*found, *answer["files"]], answer["more"]
    assert [each["name"] for each in found] == names
    assert answer["statistics"] == {"commits": 2, "files": 900, "bytes": 900, "examples": None, "labels": None}
    assert datastatus.dataset(scene.ledger, f"{MNIST}@t", 0)["hash"] == answer["hash"]


def test_datasets_say_whether_an_operator_has_them_who_uses_them_and_what_was_made():
    scene = MakingScene(1)
    hash_ = scene.add().result["hash"]
    scene.add("user.swci-1.theirs", by=scene.other_swci)
    run = scene.make()
    scene.puts_out(slots(run)[0], "a")
    rows = datastatus.datasets(scene.ledger, "")["datasets"]
    assert [(row["name"], row["state"], row["operators"]) for row in rows] == [
        (MNIST, "ready", ["swop-1 (a)"]), ("user.swci-1.theirs", "waiting", []),
    ]  # fmt: skip
    assert [row["name"] for row in datastatus.datasets(scene.ledger, MNIST)["datasets"]] == ["user.swci-1.theirs"]
    shown = datastatus.dataset(scene.ledger, MNIST, 0)
    assert shown["used_by"] == [{"id": run.id, "name": "job", "hash": hash_}]
    assert shown["made"] == [{"name": "model", "number": 1, "hash": hash_}]
    made = {"name": "model", "number": 1, "slot": f"{run.number}.0", "hash": output("a")["hash"], "bytes": 7}
    assert jobstatus.job(scene.ledger, "job", 0)["artifacts"] == [made]
    (row,) = artifacts.listing(scene.ledger)["artifacts"]
    assert (row["name"], row["number"], row["data"], row["task"]) == ("model", 1, [f"{MNIST}@{hash_}"], "job")
    with pytest.raises(BadInput, match="dataset 'nix' not found"):
        datastatus.dataset(scene.ledger, "nix", 0)
