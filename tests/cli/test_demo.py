"""`swarm demo` and `swarm run` as people and scripts call them: real processes, one JSON object, exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from swarm.nodes.demo.digests import digest_of_file

SWARM = Path(sys.executable).with_name("swarm")
MERGE_NUMBERS = Path(__file__).parent.parent / "programs" / "merge_numbers.py"


def swarm(*arguments, environment=None):
    return subprocess.run(
        [SWARM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, **(environment or {})},
    )


@pytest.mark.slow
def test_two_organisations_train_one_model_that_neither_could_alone(tmp_path):
    ended = swarm("demo", "--json", "--keep", tmp_path / "kept")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert list(said) == [
        "ok", "version", "seconds", "seed", "dataset", "peers", "sns", "rounds", "swarm_accuracy", "solo_accuracy",
        "pooled_accuracy", "test_examples", "digests", "ledger_digest", "bytes_sent_per_peer", "round_s", "processes",
        "exit_codes", "killed",
    ]  # fmt: skip
    assert said["ok"]
    assert said["swarm_accuracy"] >= 0.93
    assert set(said["solo_accuracy"]) == {"peer-1", "peer-2"}
    assert max(said["solo_accuracy"].values()) <= 0.75
    assert said["pooled_accuracy"] >= 0.93
    assert said["test_examples"] == 360
    assert said["rounds"] >= 10
    assert set(said["exit_codes"].values()) == {0}
    assert {row["role"] for row in said["processes"]} == {"SN", "SWOP", "SWCI", "SL", "ML"}
    for peer, digest in said["digests"].items():
        assert digest == said["ledger_digest"]
        assert digest_of_file(tmp_path / "kept" / peer / "weights.npz", digest.split(":")[0]) == digest
    assert set(said["bytes_sent_per_peer"]) == {"peer-1", "peer-2"}


@pytest.mark.slow
def test_three_peers_with_a_file_of_ones_own_and_a_table_at_the_end(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(900) % 3
    x = random.normal(size=(900, 8)) + np.eye(8)[y] * 6
    np.savez(tmp_path / "mine.npz", x_train=x[:800], y_train=y[:800], x_test=x[800:], y_test=y[800:])
    ended = swarm("demo", "--peers", 3, "--sns", 1, "--epochs", 4, "--dataset", tmp_path / "mine.npz")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["peer-1", "peer-2", "peer-3"]
    assert all("= ledger" in line for line in lines[1:4])
    assert "swop-3 is ready" in ended.stderr
    assert "sl-3 is ready" in ended.stderr


@pytest.mark.slow
@pytest.mark.alone
def test_a_node_of_each_kind_is_killed_in_mid_round_and_the_training_goes_on(short_tmp):
    ended = swarm("demo", "--chaos", "--json", environment={"TMPDIR": str(short_tmp)})
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["ok"], said["peers"], said["sns"]) == (True, 3, 3)
    assert set(said["digests"].values()) == {said["ledger_digest"]}
    assert set(said["exit_codes"].values()) == {0}
    killed = sorted(row["process"][:-2] for row in said["killed"] if row["signal"] == "SIGKILL")
    assert killed == ["sl", "sn", "swop"]
    assert [row["signal"] for row in said["killed"]].count("SIGSTOP") == 1
    for row in said["killed"]:
        assert list(row) == ["process", "signal", "at_s", "round", "phase"]
        assert row["phase"] in ("merging", "ready")
        assert 0 <= row["round"] <= said["rounds"]
    assert len({row["pid"] for row in said["processes"]}) == len(said["processes"])
    assert not list(short_tmp.iterdir())


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "no.npz"], "error: dataset no.npz cannot be read: No such file or directory"),
        (["--peers", "11"], "error: 11 peers cannot share 10 classes"),
        (["--sns", "6"], "error: invalid value for '--sns'"),
        (["--chaos", "--sns", "2"], "error: 3 peers and 2 network nodes cannot do without one of them"),
    ],
)
def test_bad_input_is_said_before_anything_is_started(arguments, sentence, tmp_path):
    ended = swarm("demo", "--json", *arguments, environment={"TMPDIR": str(tmp_path)})
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert json.loads(ended.stdout)["error"]["code"] == 2
    assert not list(tmp_path.iterdir())


def test_a_directory_to_keep_must_be_empty(tmp_path):
    (tmp_path / "old").touch()
    ended = swarm("demo", "--keep", tmp_path)
    assert ended.returncode == 2
    assert f"error: {tmp_path} is not empty" in ended.stderr


def test_any_program_runs_as_a_swarm_and_its_models_are_equal(tmp_path):
    ended = swarm("run", "--json", "--", sys.executable, MERGE_NUMBERS, 3, 0, tmp_path)
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert (said["ok"], said["peers"], said["rounds"], said["swarm_accuracy"]) == (True, 2, 5, None)
    assert said["digests"] == {"peer-1": said["ledger_digest"], "peer-2": said["ledger_digest"]}
    first, second = (np.load(tmp_path / f"peer-{n}.npz") for n in range(2))
    assert np.array_equal(first["a"], second["a"])
    assert first["a"][0] == 0.5 + 3 * 0.5
    assert "peer-1 | " in ended.stderr


def test_when_a_program_fails_the_others_are_ended_and_its_last_lines_are_shown(tmp_path):
    program = tmp_path / "train.py"
    program.write_text(
        "import os, sys, time\n"
        "if os.environ['SWARM_PEER'] == '1': raise ValueError('no column named age')\n"
        "time.sleep(600)\n"
    )
    ended = swarm("run", "--json", "--", sys.executable, program, environment={"TMPDIR": str(tmp_path)})
    assert ended.returncode == 6
    error = json.loads(ended.stdout)["error"]
    assert "program of peer-2" in error["message"]
    assert "ValueError: no column named age" in error["message"]
    assert [file.name for file in tmp_path.iterdir()] == ["train.py"]


def test_copies_wait_for_the_others_as_long_as_their_program_says(tmp_path):
    program = tmp_path / "train.py"
    program.write_text(
        "import os, time\n"
        "if os.environ['SWARM_PEER'] == '1': time.sleep(600)\n"
        "import numpy as np\n"
        "from swarm import Swarm\n"
        "print('told to wait', os.environ.get('SWARM_TOO_FEW_PEERS_S'), 's')\n"
        "os.environ['SWARM_TOO_FEW_PEERS_S'] = '20'\n"
        "with Swarm(minPeers=2, trainingContract='lonely', tooFewPeersSeconds=1) as swarm:\n"
        "    swarm.start({'a': np.zeros(3, np.float32)})\n"
    )
    ended = swarm("run", "--", sys.executable, program)
    assert "peer-1 | told to wait None s" in ended.stdout, "600 s are the callback's own"
    assert "waited 1 s in contract lonely for peers: 1 more to enrol (minPeers 2)" in ended.stderr


def test_a_program_that_is_not_there_is_bad_input():
    ended = swarm("run", "--", "no-such-program")
    assert ended.returncode == 2
    assert "error: the program 'no-such-program' was not found" in ended.stderr
