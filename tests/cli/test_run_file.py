"""`swarm run -f`: what is wrong with the file is the first thing that is said."""

import os
import subprocess
import sys


def test_a_mistake_in_the_file_is_said_without_a_network(tmp_path):
    task = tmp_path / "job.yaml"
    task.write_text("Name: x\nTaskType: RUN_JOBS\nBody:\n  Command: [python, t.py]\n  Replica: 3\n")
    done = subprocess.run(
        [sys.executable, "-c", "from swarm.cli.main import main; main()", "run", "-f", str(task)],
        capture_output=True, text=True, check=False, env={**os.environ, "XDG_STATE_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert 'unknown key "Replica" in Body' in done.stderr
