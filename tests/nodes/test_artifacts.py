"""Artifacts for people: which is meant, and that a copy is what was made."""

import pytest

from swarm.core import filelist
from swarm.errors import BadInput, ModelError
from swarm.nodes import artifacts
from swarm.nodes.outputs import entries


@pytest.fixture
def row(tmp_path):
    """A version whose files are in an operator's state directory."""
    output = tmp_path / "swop-1" / "runs" / "digits" / "0"
    (output / "deep").mkdir(parents=True)
    (output / "deep" / "model").write_text("weights")
    (output / "deep" / "link").symlink_to("/etc/passwd")
    (output / "elsewhere").symlink_to("/etc")
    hash_ = filelist.digest(entries(output))
    return {"name": "model", "number": 2, "id": 7, "task": "digits", "index": 0, "swop": "swop-1 (a)", "hash": hash_}


def test_an_artifact_is_meant_by_its_name_and_number_or_by_its_task(row):
    rows = [{**row, "number": 1, "task": "old", "id": 3}, row, {**row, "name": "digits", "number": 1, "task": "x"}]
    assert [artifacts.chosen(rows, said)["id"] for said in ("model", "model@1", "old", "3", "7")] == [7, 3, 3, 3, 7]
    assert artifacts.chosen(rows, "digits")["task"] == "x", "a name of an artifact comes before one of a task"
    for said in ("model@3", "nix", "old@1"):
        with pytest.raises(BadInput, match="there is no artifact"):
            artifacts.chosen(rows, said)


def test_a_copy_is_what_was_made_or_there_is_none(row, tmp_path):
    place = artifacts.fetched(row, tmp_path, tmp_path / "copy")
    assert (place / "deep" / "model").read_text() == "weights"
    assert sorted(str(path.relative_to(place)) for path in place.rglob("*")) == ["deep", "deep/model"], "no links"
    with pytest.raises(BadInput, match="is there already"):
        artifacts.fetched(row, tmp_path, place)
    (tmp_path / "swop-1" / "runs" / "digits" / "0" / "deep" / "model").write_text("others")
    with pytest.raises(ModelError, match="have changed: their hash is sha256:"):
        artifacts.fetched(row, tmp_path, tmp_path / "second")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "swop-1"]
    with pytest.raises(BadInput, match=r"is not on this host: swop-1 \(a\) has made it"):
        artifacts.fetched({**row, "index": 1}, tmp_path, tmp_path / "third")
