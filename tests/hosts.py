"""Two hosts on one machine: each with its own network, processes, mounts and home, joined by a cable.

    with two_hosts(tmp_path) as (one, two):
        one.sh("gen-cert -e mnist -i 1")     # as typed into one terminal: variables and directory stay
        one.home                             # where its home lies, seen from outside

Network namespaces with the addresses 10.1.1.1 and 10.2.2.2, which exist only in there. Both homes have the same path
and different contents. `scp host-2:PATH .` copies between them. When a host ends, or who made it, all of its processes
do, and its namespaces, which have no name, are gone with them.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDRESSES = {"host-1": "10.1.1.1", "host-2": "10.2.2.2"}
SCP = """#!/bin/sh
# HOST:PATH is that path in the other host's home
place() { case "$1" in *:*) echo "$HOSTS/${1%%:*}${1#*:"$HOME"}" ;; *) echo "$1" ;; esac; }
exec cp "$(place "$1")" "$(place "$2")"
"""


class Host:
    def __init__(self, name: str, base: Path) -> None:
        self.name = name
        self.home = base / "hosts" / name
        self.log = base / f"{name}.log"
        self._blocks = 0
        tools = base / "tools"
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
            "HOME": str(base / "home"),
            "HOSTS": str(base / "hosts"),
            "PATH": os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONUNBUFFERED": "1",
        }
        own = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
        with self.log.open("wb") as log:
            self._shell = subprocess.Popen(
                [*own, "bash", "--norc"], stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment
            )
        self.pid = self._shell.pid
        self.sh(f"set -e; mount --bind {self.home} {base}/home; cd {base}/home")

    def sh(self, block: str, deadline_s: float = 60) -> str:
        """What the commands print; they are typed one after the other, and the first that fails is an error."""
        self._blocks += 1
        script = self.log.with_name(f"{self.name}-{self._blocks}.sh")
        script.write_text(block + "\n")
        begun, mark = self.log.stat().st_size, f"<{self.name}: block {self._blocks} is done>\n"
        assert self._shell.stdin is not None
        self._shell.stdin.write(f". {script} </dev/null; echo '{mark[:-1]}'\n".encode())
        self._shell.stdin.flush()
        until = time.monotonic() + deadline_s
        while True:
            ended = self._shell.poll() is not None
            said = self.log.read_bytes()[begun:].decode("utf-8", "replace")
            if said.endswith(mark):
                return said.removesuffix(mark)
            assert not ended, f"on {self.name}:\n{block}\n{said}"
            assert time.monotonic() < until, f"on {self.name}, not done after {deadline_s} s:\n{block}\n{said}"
            threading.Event().wait(0.05)

    def close(self) -> None:
        self._shell.send_signal(signal.SIGKILL)  # and with it the first process of its namespace, so all of them
        self._shell.communicate()


@contextlib.contextmanager
def two_hosts(base: Path) -> Iterator[tuple[Host, Host]]:
    """Both have a clone of this repository (its examples and profiles) in ~/swarm, and are there."""
    if os.geteuid() or not shutil.which("ip") or not shutil.which("unshare"):
        pytest.skip("needs root, ip and unshare")
    (base / "home").mkdir()
    (base / "tools").mkdir()
    (base / "tools/scp").write_text(SCP)
    (base / "tools/scp").chmod(0o755)
    for name in ADDRESSES:
        for folder in ("examples", "profiles"):
            shutil.copytree(ROOT / folder, base / "hosts" / name / "swarm" / folder)
    permitted = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--fork", "true"], capture_output=True, text=True
    )
    if permitted.returncode:
        pytest.skip(f"namespaces are not permitted: {permitted.stderr.strip()}")
    with contextlib.ExitStack() as undo:
        hosts = []
        for name in ADDRESSES:
            hosts.append(Host(name, base))
            undo.callback(hosts[-1].close)
        one, two = hosts
        cable = f"ip link add eth0 netns {one.pid} type veth peer name eth0 netns {two.pid}"
        subprocess.run(cable.split(), check=True)
        for host in hosts:
            host.sh(f"ip addr add {ADDRESSES[host.name]}/8 dev eth0; ip link set lo up; ip link set eth0 up; cd swarm")
        yield one, two
