"""`swarmlearning` is found by workers, shadows nothing of a user's, and `swarm compat` runs a program as it stands."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.cli.compat import command
from swarm.cli.ending import run
from swarm.errors import BadInput
from swarm.runtime import channel, importpath
from swarm.runtime.channel_server import ChannelServer

PROGRAM = """\
import sys
from swarmlearning.client.swarm import SwarmCallbackBase, SwarmError

class Numbers(SwarmCallbackBase):
\tdef _saveModelWeightsToDict(self):
\t\treturn {"w": self.model}
\tdef _loadModelWeightsFromDict(self, inDict):
\t\tself.model[:] = inDict["w"]

swarmCallback = Numbers(2, 2, model=[1.0, 2.0])
swarmCallback.logger.info("übung %s", sys.argv[1:])
swarmCallback.on_train_begin()
swarmCallback.on_train_end()
"""


def python(*arguments, cwd, **environment):
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    root = os.path.dirname(os.path.dirname(importpath.DIRECTORY))
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd, env={**plain, "PYTHONPATH": root, **environment}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_the_directory_is_the_last_of_the_path_however_often_it_is_added():
    once = importpath.with_import_path({"PYTHONPATH": "a::b", "HOME": "h"})
    assert once == {"PYTHONPATH": os.pathsep.join(["a", "b", importpath.DIRECTORY]), "HOME": "h"}
    assert importpath.with_import_path(once) == once
    assert importpath.with_import_path({})["PYTHONPATH"] == importpath.DIRECTORY


def test_nothing_but_the_package_can_be_imported_from_there():
    assert {name for name in os.listdir(importpath.DIRECTORY) if not name.startswith("__")} == {"swarmlearning"}


def test_a_script_with_crlf_bom_and_tabs_runs_as_it_stands(tmp_path):
    script = tmp_path / "train.py"
    script.write_bytes(b"\xef\xbb\xbf" + PROGRAM.replace("\n", "\r\n").encode())
    arguments = ("-c", "from swarm.cli.main import main; main()", "compat", "--", sys.executable, script, "--lr", "a b")
    code, out, err = python(*arguments, cwd=tmp_path, SWARM_LOOPBACK="TRUE")
    assert code == 0, err
    assert "SwarmCallback : INFO : ***** Is Swarm callback in loopback mode: True *****" in out
    assert "SwarmCallback : INFO : übung ['--lr', 'a b']" in out
    assert "All peers" not in out
    code, _, err = python(*arguments, cwd=tmp_path)
    assert (code, err.splitlines()[-1].startswith("error: no swarm learning node: start with")) == (4, True), err


def test_a_module_of_the_programs_own_comes_first(tmp_path):
    (tmp_path / "swarmlearning.py").write_text("print('my own')\n")
    (tmp_path / "train.py").write_text("import swarmlearning\n")
    path = importpath.with_import_path({})["PYTHONPATH"]
    assert python("train.py", cwd=tmp_path, PYTHONPATH=path) == (0, "my own\n", "")


def test_importing_it_loads_no_framework(tmp_path):
    path = importpath.with_import_path(os.environ)["PYTHONPATH"]
    statement = "import sys, swarmlearning.client.swarm; print({'keras', 'tensorflow', 'torch'} & set(sys.modules))"
    assert python("-c", statement, cwd=tmp_path, PYTHONPATH=path)[1] == "set()\n"


def test_without_a_program_the_command_shows_its_help(capsys):
    assert run(command, []) == 0
    assert capsys.readouterr().out.startswith("Examples:\n  SWARM_LOOPBACK=true swarm compat -- python train.py")
    assert run(command, ["--", "no-such-program"]) == 2
    assert "the program 'no-such-program' was not found" in capsys.readouterr().err


def test_hpes_channel_variables_name_the_channel(tmp_path, monkeypatch):
    server = ChannelServer(tmp_path, node="sl-1 (org-a)")
    server.path = f"{tmp_path}/socket"
    environment = server.environment
    assert environment["SL_REQUEST_CHANNEL"] == environment["SL_RESPONSE_CHANNEL"] == environment["SWARM_CHANNEL"]
    opened = []
    monkeypatch.setattr(channel, "Channel", lambda path, token, note: opened.append(path))
    channel.connect({name: environment[name] for name in channel.HPES_VARIABLES}, print)
    assert opened == [server.path]


@pytest.mark.parametrize("response", ["/tmp/hpe-swarm/response.pipe", ""])
def test_hpes_two_pipes_are_refused_in_a_sentence(response):
    two = {"SL_REQUEST_CHANNEL": "/tmp/hpe-swarm/request.pipe", "SL_RESPONSE_CHANNEL": response}
    with pytest.raises(BadInput, match="has one channel for both, HPE's has two pipes"):
        channel.connect(two, print)


@pytest.mark.parametrize(
    ("door", "home"), [("pyt", "torch"), ("hf_transformers", "transformers"), ("sklearn", "sklearn"), ("tf", "keras")]
)
def test_every_door_opens_what_it_says(door, home):
    """Read off the source: to import them takes four frameworks."""
    source = Path(importpath.DIRECTORY, "swarmlearning", f"{door}.py").read_text(encoding="utf-8")
    imported = [node for node in ast.parse(source).body if isinstance(node, ast.ImportFrom)]
    names = {alias.name for node in imported if node.module == f"swarm.{home}" for alias in node.names}
    assert {"SwarmCallback", "SwarmError"} <= names
    ours = Path(importpath.DIRECTORY).parent / f"{home}.py"
    (exported,) = [n for n in ast.parse(ours.read_text(encoding="utf-8")).body if isinstance(n, ast.Assign)]
    assert names <= set(ast.literal_eval(exported.value))
