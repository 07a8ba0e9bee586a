"""README's blocks run as they stand: its three lines in a script of one's own, and its two hosts."""

import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.test_documents import ROOT, shell_blocks

README = ROOT / "README.md"
BIN = Path(sys.executable).parent
MAKE = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
# Somebody's training program, written without any thought of a swarm.
SCRIPT = """\
import os

import keras
import numpy as np

random = np.random.default_rng(int(os.environ.get("SWARM_PEER", 0)))
x = random.normal(size=(1024, 4)).astype("float32")
y = x @ np.array([[1.0], [-2.0], [3.0], [-4.0]], "float32")

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])
model.compile(optimizer="adam", loss="mse")
model.fit(x, y, epochs=5)

model.save_weights(f"peer-{os.environ.get('SWARM_PEER', 'alone')}.weights.h5")
np.savez(f"peer-{os.environ.get('SWARM_PEER', 'alone')}.npz", *model.get_weights())
"""
# What both hosts train: numbers instead of a network, so that it takes no TensorFlow.
NUMBERS = """\
import os, pathlib, numpy
from swarm import Swarm
me = int(os.environ["HOST_NUMBER"])
with Swarm(syncFrequency=1, minPeers=2, trainingContract="numbers") as swarm:
    weights = swarm.start({"a": numpy.full(1000, me, numpy.float32)})
    weights = swarm.finish({"a": weights["a"] + me})
numpy.save(pathlib.Path(__file__).with_name("final.npy"), weights["a"])
"""


def section(title):
    return README.read_text(encoding="utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def marked_lines():
    lines = re.findall(r"^(.+?) +# ([123])$", section("Your own script"), re.MULTILINE)
    assert [number for _, number in lines] == ["1", "2", "3"]
    return [line for line, _ in lines]


def blocks(title):
    return re.findall(r"^```sh\n(.*?)^```", section(title), re.MULTILINE | re.DOTALL)


def environment(**more):
    return {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **more}


def test_the_targets_that_the_documents_name_exist():
    named = {
        target
        for page in ("README.md", "CONTRIBUTING.md", "certs/README.md")
        for block in shell_blocks(ROOT / page)
        for target in re.findall(r"^make ([\w-]+)", block, re.MULTILINE)
    }
    assert {"demo", "test", "test-slow", "lint"} <= named
    for target in named:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, env=MAKE, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_packages_that_the_readme_names_are_those_that_the_installation_asks_for():
    (line,) = re.findall(r"`sudo apt-get install -y (.+?)`", section("See it"))
    asked = (ROOT / ".ci/python").read_text(encoding="utf-8")
    assert all(package in asked for package in line.split())
    named_by_makefile = set(re.findall(r"lacks .+? ([a-z][\w-]+)$|\"(python3 [\w -]+)\"$", asked, re.MULTILINE))
    assert {package for pair in named_by_makefile for package in " ".join(pair).split()} == set(line.split())


@pytest.mark.slow
def test_three_lines_make_a_keras_script_a_member_of_a_swarm(tmp_path):
    imported, made, fitted = marked_lines()
    changed = SCRIPT.replace("import numpy as np\n", f"import numpy as np\n{imported}\n")
    changed = changed.replace("model.fit(x, y, epochs=5)\n", f"{made}\n{fitted}\n")
    assert len(set(changed.splitlines()) - set(SCRIPT.splitlines())) == 3
    (tmp_path / "train.py").write_text(changed)

    (block,) = blocks("Your own script")
    together, alone = block.splitlines()
    assert together.startswith("swarm run ")
    ended = subprocess.run(
        ["sh", "-c", together], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=240
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with np.load(tmp_path / "peer-0.npz") as first, np.load(tmp_path / "peer-1.npz") as second:
        assert len(first.files) == 4
        assert all(np.array_equal(first[name], second[name]) for name in first.files)
    assert "round 1 merged by 2 members after 128 batches" in ended.stdout

    ended = subprocess.run(
        ["sh", "-c", alone], cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "peer-alone.npz").exists()


@pytest.mark.slow
def test_with_a_checkpoint_directory_a_killed_program_goes_on_where_it_was(tmp_path):
    made, fitted = re.findall(
        r"^(?:swarm|model)\b.*(?:checkpoint_dir|initial_epoch).*$", section("Your own script"), re.M
    )
    imported, _, _ = marked_lines()
    own = made.replace('"checkpoints"', "'checkpoints-' + os.environ['SWARM_PEER']").replace("=128", "=32")
    changed = SCRIPT.replace("import numpy as np\n", f"import numpy as np\n{imported}\n")
    changed = changed.replace("model.fit(x, y, epochs=5)\n", f"{own}\n{fitted.replace('epochs=5', 'epochs=40')}\n")
    (tmp_path / "train.py").write_text(changed)
    command = ["swarm", "run", "--peers", "2", "--", "python", "train.py"]
    here = environment(PYTHONUNBUFFERED="1")
    with subprocess.Popen(command, cwd=tmp_path, env=here, stdout=subprocess.PIPE, text=True) as first:
        third = next(line for line in first.stdout if "merged by 2 members after 96 batches" in line)
        assert "2 epochs" in third
        programs = [
            one for one in psutil.Process(first.pid).children(recursive=True) if one.cmdline()[1:] == ["train.py"]
        ]
        min(programs, key=lambda one: one.environ()["SWARM_PEER"]).kill()
        first.communicate()
    assert first.returncode == 6
    second = subprocess.run(command, cwd=tmp_path, env=here, capture_output=True, text=True, timeout=240)
    assert second.returncode == 0, second.stdout + second.stderr
    assert (
        len(re.findall(r"resumed from the checkpoint of round \d+, after \d+ batches and \d+ epochs", second.stdout))
        == 2
    )
    assert "Epoch 1/40" not in second.stdout
    assert "Epoch 40/40" in second.stdout
    with np.load(tmp_path / "peer-0.npz") as one, np.load(tmp_path / "peer-1.npz") as other:
        assert all(np.array_equal(one[name], other[name]) for name in one.files)


def test_two_hosts_train_one_model_with_the_commands_as_they_stand(tmp_path):
    """Two directories stand for the hosts, and two addresses of the loopback interface for theirs, with HPE's ports."""
    network = random.SystemRandom().randrange(2, 250)
    certificates, *starts = blocks("Two hosts")
    hosts = [tmp_path / "host-1", tmp_path / "host-2"]
    started = []
    with contextlib.ExitStack() as ends:
        for number, (host, command) in enumerate(zip(hosts, certificates.splitlines(), strict=True), start=1):
            host.mkdir()
            (host / "train.py").write_text(NUMBERS)
            assert f"on host {number}" in command
            subprocess.run(["sh", "-e", "-c", command], cwd=host, env=environment(), check=True, capture_output=True)
        _exchange(*(host / "workspace/mnist/cert/ca/capath" for host in hosts))
        for number, (host, block) in enumerate(zip(hosts, starts, strict=True), start=1):
            assert block.startswith(f"# on host {number}\n")
            output = ends.enter_context((host / "output").open("w+"))
            here = environment(HOST_NUMBER=str(number), XDG_STATE_HOME=str(host / "state"))
            block = re.sub(r"\b10\.\d+\.(\d+\.\d+)\b", rf"127.{network}.\1", block)
            started.append((subprocess.Popen(
                ["sh", "-e", "-c", block], cwd=host, env=here, stdout=output, stderr=output, start_new_session=True
            ), output))  # fmt: skip
            ends.callback(_end, started[-1][0])
        for shell, output in started:
            code = shell.wait(timeout=180)
            output.seek(0)
            assert code == 0, output.read()
    first, second = (np.load(host / "final.npy") for host in hosts)
    assert np.array_equal(first, second)
    assert first[0] == 3.0  # the mean of 1 and 2, then of 2.5 and 3.5


def _exchange(*folders):
    for here in folders:
        for there in folders:
            if here != there:
                for file in there.glob("ca-*-cert.pem"):
                    shutil.copy(file, here)


def _end(shell):
    """The block's network node stays when its shell has ended, as it shall; all are one process group."""
    group = [one for one in psutil.Process().children(recursive=True) if os.getpgid(one.pid) == shell.pid]
    with contextlib.suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGTERM)
    _, deaf = psutil.wait_procs(group, timeout=10)
    assert not deaf
