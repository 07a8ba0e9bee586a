"""A merge method of one's own: ten lines in a file, the same for all members, and never from the network."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.callbacks.arguments import Given, parse
from swarm.core.agreement import Options
from swarm.core.merge import METHODS, Members
from swarm.core.merge.own import by_distances, by_element, name_of
from swarm.core.tensors import STORAGE
from swarm.errors import BadInput, Refused
from swarm.nodes import mergemethods

EXAMPLE = Path(__file__).resolve().parent.parent.parent / "examples" / "add-a-merge-method"
MIDRANGE = EXAMPLE / "midrange.py"
NAME = name_of("midrange", MIDRANGE.read_bytes())


def swarm_run(**environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [Path(sys.executable).with_name("swarm"), "run", "--peers", "3", "--", sys.executable, EXAMPLE / "train.py"],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, **environment},
        check=False,
    )


def test_the_example_merges_with_its_own_method():
    ended = swarm_run(SWARM_MERGE_METHODS=str(MIDRANGE))
    assert ended.returncode == 0, ended.stderr
    assert (ended.stdout + ended.stderr).count("merged: [0.0, 2.0, 4.0, 6.0, 8.0]") == 3  # the mean would be 5/3


@pytest.mark.slow
def test_a_learning_node_without_the_file_refuses_before_it_enrols():
    ended = swarm_run(SWARM_MERGE_METHODS="")
    assert ended.returncode != 0
    assert f"the contract merges with {NAME[:80]}, this learning node does not have it" in ended.stderr + ended.stdout


def test_the_contract_names_it_by_its_code(monkeypatch, tmp_path):
    options = parse(Given(8, 2, "c", {"mergeMethod": MIDRANGE}), {}, evaluates=False).options
    assert options.mergeMethod == NAME
    assert Options.from_wire(options.to_wire()) == options
    assert options.robust, "nobody knows, so no organisation has more than a third of the weight"
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        parse(Given(8, 2, "c", {"mergeMethod": tmp_path / "no-such-file.py"}), {}, evaluates=False)
    with pytest.raises(BadInput, match="is not possible"):
        Options(2, mergeMethod="midrange@beef")

    other = tmp_path / "midrange.py"
    other.write_bytes(MIDRANGE.read_bytes() + b"\n")
    monkeypatch.setenv(mergemethods.VARIABLE, str(other))
    with pytest.raises(Refused, match="this learning node has another version of it"):
        mergemethods.find(NAME)
    monkeypatch.setenv(mergemethods.VARIABLE, f"{other}{os.pathsep}{MIDRANGE}")
    assert mergemethods.find(NAME) is not mergemethods.find(name_of("midrange", other.read_bytes()))
    assert mergemethods.find("mean") is METHODS["mean"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("import nothing_like_it", "fails as it is loaded: ModuleNotFoundError"), ("x = 1", "has no METHOD")],
)
def test_a_file_that_is_no_method_is_named(monkeypatch, tmp_path, text, sentence):
    file = tmp_path / "own.py"
    file.write_text(text)
    monkeypatch.setenv(mergemethods.VARIABLE, str(file))
    with pytest.raises(BadInput, match=sentence):
        mergemethods.find("mean")


@pytest.mark.parametrize("dtype", sorted(STORAGE))
def test_a_rule_of_ones_own_is_applied_to_every_element_type(dtype):
    parts = [np.array([value], np.float32) for value in (1, 1, 0)] if dtype == "bool" else None
    numbers = [2.0, 4.0, 3.0] if parts is None else [1.0, 1.0, 0.0]
    stored = [np.array([x]).astype(np.float32) for x in numbers]
    if dtype == "bfloat16":
        stored = [(part.view(np.uint32) >> 16).astype(np.uint16) for part in stored]
    else:
        stored = [part.astype(STORAGE[dtype]) for part in stored]
    method, out = by_element(lambda values, weights: (values[0] + values[1]) / 2), np.empty(1, STORAGE[dtype])
    method.kernel(Members((1, 1, 1)))(dtype, stored, out)
    expected = stored[2] if dtype != "bool" else np.array([True])
    assert out.tobytes() == expected.tobytes()


def test_coefficients_of_ones_own_come_from_the_distances():
    nearest = by_distances(lambda members: [float(row[1] == 1.0) for row in members.between])
    between = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 9.0], [4.0, 9.0, 0.0]])
    out = np.empty(2, np.float32)
    nearest.kernel(Members((1, 1, 1), 0, between))("float32", [np.full(2, x, np.float32) for x in (5, 6, 7)], out)
    assert out.tolist() == [5.0, 5.0]
    assert nearest.distances
