"""What an installation brings: the training side needs no compiler, no network library and no framework."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command, **settings):
    done = subprocess.run(command, capture_output=True, text=True, **settings)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def base_install(tmp_path_factory):
    """An environment with the wheel alone, installed where no compiler can be found."""
    place = tmp_path_factory.mktemp("base")
    source = place / "source"
    shutil.copytree(ROOT / "swarm", source / "swarm", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", place, source)
    (wheel,) = place.glob("swarm_learning-*.whl")
    run(sys.executable, "-m", "venv", place / "venv")
    binaries = place / "venv" / "bin"
    environment = {**os.environ, "PATH": str(binaries), "CC": "false", "CXX": "false"}
    run(
        binaries / "python", "-m", "pip", "--quiet", "--disable-pip-version-check",
        "install", "-c", ROOT / "constraints.txt", wheel, env=environment,
    )  # fmt: skip
    return binaries, {**environment, "PYTHONPATH": ""}


@pytest.mark.slow
def test_the_base_install_has_what_a_training_program_needs_and_nothing_else(base_install, tmp_path):
    binaries, environment = base_install
    program = """
import sys
import swarm, swarm.errors, swarm.callbacks.base, swarm.runtime.channel
swarm.Swarm
print(swarm.__file__)
for name in ("libp2p", "trio", "cryptography", "tensorflow", "keras"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{name} came along")
"""
    where = run(binaries / "python", "-c", program, cwd=tmp_path, env=environment)
    assert where.startswith(str(binaries.parent))


@pytest.mark.slow
def test_the_base_install_answers_help_and_names_the_extra_for_the_rest(base_install, tmp_path):
    binaries, environment = base_install
    assert run(binaries / "swarm", "--help", cwd=tmp_path, env=environment).startswith("Examples:")
    done = subprocess.run(
        [binaries / "gen-cert", "-e", "mnist", "-i", "1"],
        cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.endswith("hint: pip install 'swarm-learning[node]'\n")
    assert not any(tmp_path.iterdir())
