"""`swarm run -f`: what is wrong with the file is the first thing that is said."""

import os
import subprocess
import sys

from click.testing import CliRunner

from swarm.cli.run import command
from swarm.cli.task import command as tasks
from swarm.errors import BadInput


def test_a_mistake_in_the_file_is_said_without_a_network(tmp_path):
    task = tmp_path / "job.yaml"
    task.write_text("Name: x\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n  Replica: 3\n")
    done = subprocess.run(
        [sys.executable, "-c", "from swarm.cli.main import main; main()", "run", "-f", str(task)],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert 'unknown key "Replica" in Body' in done.stderr


def test_a_number_of_programs_is_not_one_of_a_task(tmp_path):
    task = tmp_path / "job.yaml"
    task.write_text("Name: x\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n")
    refused = CliRunner().invoke(command, ["-f", str(task), "--peers", "2"]).exception
    assert isinstance(refused, BadInput)
    assert refused.message == "--peers 2 is for a program after --: how many a task has is said in its file"


def test_a_file_is_checked_without_a_network_and_nothing_is_submitted(tmp_path):
    task = tmp_path / "job.yaml"
    task.write_text("Name: x\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n  Code: code\n")
    missing = CliRunner().invoke(tasks, ["check", str(task)]).exception
    assert isinstance(missing, BadInput)
    assert missing.message == f"the code {tmp_path}/code is no directory"
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "t.py").touch()
    said = CliRunner().invoke(tasks, ["check", str(task)])
    assert (said.exit_code, said.output) == (0, "task x, RUN_JOBS: nothing is wrong with it\n")
