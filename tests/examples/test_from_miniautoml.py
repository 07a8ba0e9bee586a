"""The tutorial of MiniAutoML's training service, replayed as people would: by its script, row by row."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
ROWS = {f"B-{number:02}" for number in (1, 2, *range(4, 14), 15, 17, 18, 19, *range(21, 27))}


def test_the_training_service_of_miniautoml_is_replayed(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", ROOT / "examples" / "from_miniautoml" / "run.sh", tmp_path / "a b"],
        capture_output=True, text=True, timeout=400, check=False, cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.fullmatch(r"\d+ passed, 0 failed", done.stdout.splitlines()[-1])
    assert set(re.findall(r"^ok (B-\d\d) ", done.stdout, re.MULTILINE)) >= ROWS
