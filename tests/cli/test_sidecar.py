"""HPE's --ml-... of run-sl: refused with what to do instead, or a process in which the container's paths hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from swarm.cli import ending, run_sl
from swarm.cli.sidecar import WORKING_DIR, program
from swarm.errors import BadInput

NOTHING = {
    "engine": None, "ml_image": None, "ml_entrypoint": None, "ml_cmd": None, "ml_workdir": None, "ml_volume": (),
    "ml_env": (), "ml_hostname": None,
}  # fmt: skip
PRINTS = "import os; print(os.getcwd(), os.environ['A'], os.environ['HOSTNAME'], sorted(os.listdir('model')))"


def sidecar(**given):
    return {**NOTHING, "engine": "process", **given}


def test_without_any_of_them_the_program_is_what_stands_behind_the_dashes(tmp_path):
    assert program(("python", "train.py"), NOTHING, tmp_path) == ("python", "train.py")
    assert program((), sidecar(), tmp_path) == ()


@pytest.mark.parametrize("flag", [f"--ml-{name}" for name in ("image", "cmd", "entrypoint", "w", "v", "e", "h")])
def test_without_an_engine_each_is_refused_with_what_to_do_instead(organisation, tmp_path, capsys, flag):
    org = organisation("a")
    words = ["--sn-ip=127.0.0.1", f"--key={org.key('sl')}", f"--cert={org.cert('sl')}", f"--capath={org.capath}"]
    assert ending.run(run_sl.command_line, [*words, f"--state={tmp_path / 'state'}", flag, "x"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --ml-")
    assert "there is no container engine here to start a program from an image" in said
    assert "-- python train.py" in said
    assert "--engine process" in said


def test_the_program_sees_its_directory_volumes_and_variables_where_its_container_would(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "host/model").mkdir(parents=True)
    (tmp_path / "host/model/net.py").write_text("")
    monkeypatch.setenv("A", "1")
    command = program(
        (),
        sidecar(
            ml_image="user-env:latest", ml_entrypoint="python3", ml_cmd=f'-c "{PRINTS}"', ml_workdir="/tmp/swarm-test",
            ml_volume=("host/model:/tmp/swarm-test/model:ro",), ml_env=("A", "B=2"), ml_hostname="ml1",
        ),
        tmp_path / "ml",
    )  # fmt: skip
    assert capfd.readouterr().err == "note: the program runs on this host as it is: user-env:latest is not used\n"
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    mapping, printed = ended.stdout.splitlines()
    assert mapping.startswith("paths of this worker: ")
    assert printed.split()[0].endswith("/tmp/swarm-test")
    assert printed.split()[1:] == ["1", "ml1", "['net.py']"]
    assert (tmp_path / "ml/ml.json").stat().st_mode & 0o777 == 0o600


def test_what_was_not_said_is_a_directory_of_its_own_and_a_named_volume_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    program((), sidecar(ml_entrypoint="ls", ml_volume=("kept:/out",)), tmp_path / "ml")
    plan = json.loads((tmp_path / "ml/ml.json").read_text())
    mounts = {mount["target"]: mount["source"] for mount in plan["mounts"]}
    assert plan["working_dir"] == WORKING_DIR
    assert mounts == {"/out": str(tmp_path / "state/swarm/volumes/kept"), WORKING_DIR: str(tmp_path / "ml/work")}
    assert (tmp_path / "state/swarm/volumes/kept").is_dir()


@pytest.mark.parametrize(
    ("words", "given", "said"),
    [
        (("python", "t.py"), {"ml_cmd": "t.py"}, "--ml-cmd and a program behind -- contradict each other"),
        ((), {"ml_image": "x"}, "neither --ml-entrypoint nor --ml-cmd names a program"),
        ((), {"ml_cmd": "'x"}, '--ml-cmd "\'x" cannot be split: no closing quotation'),
        ((), {"ml_cmd": "x", "ml_volume": ("no/such:/x",)}, "bad mount: --ml-v no/such:/x: there is no no/such"),
        ((), {"ml_cmd": "x", "ml_volume": ("/x",)}, "bad mount: --ml-v /x is not SRC:DIR"),
        ((), {"ml_cmd": "x", "ml_volume": ("/tmp:/a/../b",)}, "leads out of the worker's directories"),
        ((), {"ml_cmd": "x", "ml_env": ("=1",)}, "--ml-e takes NAME=VALUE, and there is no name"),
        ((), {"ml_cmd": "x", "ml_workdir": "model"}, "--ml-w is 'model', expected an absolute path"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_made(tmp_path, words, given, said):
    with pytest.raises(BadInput) as caught:
        program(words, sidecar(**given), tmp_path / "ml")
    assert said in caught.value.message
    assert not (tmp_path / "ml").exists()


def test_python_is_the_one_that_the_node_runs_on(tmp_path):
    program((), sidecar(ml_entrypoint="python3", ml_cmd="t.py"), tmp_path / "ml")
    assert json.loads((tmp_path / "ml/ml.json").read_text())["arguments"] == [sys.executable, "t.py"]
