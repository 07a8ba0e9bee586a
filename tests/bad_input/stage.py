"""Where bad input is played: two organisations, a network node that runs, and commands as people call them.

Guarantees at the end of every case: nothing that it started runs any more, except the network node that all share, and
no file is half written.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TypeVar

import click
import psutil
import pytest

from swarm.cli.ending import run
from tests.bad_input.messages import Told
from tests.certificates import OrganisationFiles, make_organisation

ROOT = Path(__file__).parents[2]
TRAINING = Path(__file__).with_name("training.py")
READY_S = 90.0
ENDS_S = 90.0
T = TypeVar("T")


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def told(self) -> Told:
        return told(self.code, self.err)


def told(code: int, err: str) -> Told:
    """The one error on stderr, with its hint; no traceback, and nothing twice."""
    assert "Traceback" not in err, err
    lines = err.splitlines()
    at = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    assert len(at) == 1, f"{len(at)} errors on stderr:\n{err}"
    rest = lines[at[0] + 1 :]
    more = list(takewhile(lambda line: line.startswith("  "), rest))
    hints = [line for line in lines if line.startswith("hint: ")]
    assert len(hints) <= 1, err
    assert not hints or rest[len(more)] == hints[0], err
    message = "\n".join([lines[at[0]].removeprefix("error: "), *more])
    return Told(code, message, hints[0].removeprefix("hint: ") if hints else "")


@dataclass
class Node:
    """A command that runs."""

    process: subprocess.Popen[bytes]
    state: Path
    out: Path
    err: Path
    begun: float = field(default_factory=time.monotonic)

    def ready(self) -> dict[str, int]:
        """What it wrote when it was ready."""

        def said() -> dict[str, int] | None:
            assert self.process.poll() is None, self.err.read_text()
            with contextlib.suppress(OSError, ValueError):
                ready: dict[str, int] = json.loads((self.state / "ready.json").read_text())
                return ready if ready["pid"] == self.process.pid else None
            return None

        return until(said, f"{self.state.name} is ready", READY_S)

    def says(self, text: str) -> None:
        """Wait until it has said this, on stderr or stdout."""
        until(lambda: text in self.err.read_text() + self.out.read_text(), f"{self.state.name} says {text!r}", READY_S)

    def signalled(self, number: int) -> Ended:
        """How it ends by this signal, and after how many seconds."""
        self.process.send_signal(number)
        self.begun = time.monotonic()
        return self.ended()

    def ended(self) -> Ended:
        code = self.process.wait(ENDS_S)
        return Ended(code, self.out.read_text(), self.err.read_text(), time.monotonic() - self.begun)

    def stop(self) -> None:
        """In order if it can, so that it ends its own children."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            os.killpg(self.process.pid, signal.SIGKILL) if self.process.poll() is None else None
            self.process.wait()


def until(condition: Callable[[], T | None], what: str, seconds: float = 10.0) -> T:
    """What the condition gives, once it gives something."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        threading.Event().wait(0.02)
    return value


class Stage:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.patch = pytest.MonkeyPatch()
        """For one case: undone when it is over."""
        self.a = make_organisation(directory, "a")
        self.b = make_organisation(directory, "b")
        self.a.trust(self.b)
        self._nodes: list[Node] = []
        self._shared: Node | None = None
        self._count = 0

    @property
    def places(self) -> dict[str, str]:
        return {str(self.directory): "<dir>", str(ROOT): "<root>", sys.executable: "python"}

    def new(self, name: str) -> Path:
        """A path of its own for a case."""
        self._count += 1
        return self.directory / f"{self._count}" / name

    # ---- commands

    def command(self, command: click.Command, *arguments: object) -> Told:
        """A command that ends before it has started anything, in this process."""
        return told(*self._called(command, arguments))

    def do(self, command: click.Command, *arguments: object) -> None:
        """The same of one that nothing is wrong with."""
        code, err = self._called(command, arguments)
        assert code == 0, err

    def _called(self, command: click.Command, arguments: Sequence[object]) -> tuple[int, str]:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(command, [str(one) for one in arguments])
        return code, err.getvalue()

    def start(
        self, arguments: Sequence[object], *, state: Path | None = None, environment: dict[str, str] | None = None
    ) -> Node:
        """`python -m …` in a process of its own."""
        state = state or self.new("state")
        state.parent.mkdir(parents=True, exist_ok=True)
        self._count += 1
        out, err = (state.parent / f"{state.name}-{self._count}.{each}" for each in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, *(str(one) for one in arguments)],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
                cwd=state.parent,
                start_new_session=True,
            )
        node = Node(process, state, out, err)
        self._nodes.append(node)
        return node

    def start_sn(self, *more: object, of: OrganisationFiles | None = None, state: Path | None = None) -> Node:
        """run-sn on free ports; the sentinel unless `more` says otherwise."""
        state = state or self.new("sn")
        place = () if "--sentinel-ip" in more else ("--sentinel",)
        ports = [flag for name in ("--sn-p2p-port", "--sn-api-port") if name not in more for flag in (name, 0)]
        flags = (*place, "--host-ip", "127.0.0.1", *ports, *identity(of or self.a, "sn"), "--state", state)
        return self.start(["-m", "swarm.cli.run_sn", *flags, *more], state=state)

    def start_sl(
        self,
        program: Sequence[object] = (),
        *more: object,
        port: int | None = None,
        of: OrganisationFiles | None = None,
        state: Path | None = None,
        environment: dict[str, str] | None = None,
        script: Path = TRAINING,
    ) -> Node:
        """run-sl at the shared network node, or at another `port`; `program`: the words of tests/bad_input/training."""
        state = state or self.new("sl")
        files = () if "--key" in more else identity(of or self.a, "sl")
        ports = () if "--sl-fs-port" in more else ("--sl-fs-port", 0)
        flags = ("--sn-ip", "127.0.0.1", "--sn-api-port", port or self.api_port, *ports, *files, "--state", state)
        words = ["--", sys.executable, script, *program] if program else []
        return self.start(["-m", "swarm.cli.run_sl", *flags, *more, *words], state=state, environment=environment)

    def train(self, *program: object, **how: object) -> Ended:
        """One program of tests/bad_input/training beside its SL, to its end."""
        return self.start_sl(program, **how).ended()  # type: ignore[arg-type]

    # ---- the network node that all cases share

    @property
    def sn(self) -> Node:
        if self._shared is None:
            self._shared = self.start_sn()
            self._nodes.remove(self._shared)
        return self._shared

    @property
    def api_port(self) -> int:
        return self.sn.ready()["api_port"]

    # ---- ends

    def clear(self) -> None:
        """After a case: what it left running is ended, what it patched is as before."""
        self.patch.undo()
        for node in self._nodes:
            node.stop()
        self._nodes.clear()

    def check_nothing_left(self) -> None:
        """To be called while the case's own commands have ended by themselves."""
        assert all(node.process.poll() is not None for node in self._nodes)

        def gone() -> bool:
            return not self._others()

        until(gone, f"nothing else runs: {self._others()}", 2.0)
        half = [path for path in self.directory.rglob("*.part") if path.is_file()]
        assert not half, half

    def _others(self) -> list[str]:
        """Processes below this one that are not the shared network node (those without a parent are ours, too)."""
        found = []
        for child in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                shared = self._shared is not None and child.pid == self._shared.process.pid
                command = " ".join(child.cmdline())
                if not shared and child.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in command:
                    found.append(command)
        return found

    def close(self) -> None:
        self.clear()
        if self._shared is not None:
            self._shared.stop()


def identity(of: OrganisationFiles, role: str) -> tuple[object, ...]:
    return ("--key", of.key(role), "--cert", of.cert(role), "--capath", of.capath)


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    shared = Stage(tmp_path_factory.mktemp("stage"))
    try:
        yield shared
    finally:
        shared.close()


@pytest.fixture
def stage(shared_stage: Stage) -> Iterator[Stage]:
    """The one of this module, for one case."""
    try:
        yield shared_stage
    finally:
        shared_stage.clear()
