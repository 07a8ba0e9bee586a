"""The process engine: workers are processes of the operator's user on the operator's host.

Used by `nodes/swop`. A slot's directory holds its learning node's state (`sl`), the logs of both (`sl.log`, `ml.log`),
the program's root (`root`) and its plan (`ml.json`, see `engines/enter`). Guarantees: a worker outlives its operator,
unless it was tethered to it; it and everything that it starts carry the slot's directory in their environment, by
which another operator process finds them again and ends them, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from swarm.engines import enter, watch
from swarm.engines.job import Job
from swarm.engines.pair import Pair, Program
from swarm.engines.paths import Mount, covered, in_order
from swarm.errors import BadInput
from swarm.runtime.channel import HPES_VARIABLES, PATH_VARIABLE, TOKEN_VARIABLE
from swarm.runtime.importpath import with_import_path
from swarm.runtime.tether import spawn

MARK = "SWARM_SLOT_DIRECTORY"
CHANNEL = (PATH_VARIABLE, TOKEN_VARIABLE, *HPES_VARIABLES)
PYTHON = "SWARM_PYTHON"
LOOKS_MAX = 100
_NOT_FOR_WORKERS = (*CHANNEL, "SWARM_SLOT", "SWARM_FENCE", "SWARM_LOOPBACK", "SWARM_LOG_LEVEL", "SL_LOG_LEVEL")
_HAS_PROC = os.path.exists("/proc/self/environ")
_ANY_PYTHON = re.compile(r"python(3(\.\d+)?)?")


class ProcessEngine:
    name = "process"

    def __init__(self, environment: Mapping[str, str] | None = None, *, tethered: bool = False) -> None:
        own = os.environ if environment is None else environment
        self._environment = {name: value for name, value in own.items() if name not in _NOT_FOR_WORKERS}
        self._tethered = tethered

    def start(self, work: Pair | Job, place: Path) -> ProcessWorker:
        return self._start_job(work, place) if isinstance(work, Job) else self._start_pair(work, place)

    def _start_pair(self, pair: Pair, place: Path) -> ProcessWorker:
        plan = self._write_plan(pair.program, place)
        command = [
            *(sys.executable, "-P", "-m", "swarm.cli.run_sl", *pair.learning_node, "--state", str(place / "sl"), "--"),
            *(sys.executable, "-I", "-S", enter.__file__, str(plan)),
        ]
        marked = {**self._environment, **pair.environment, MARK: str(place), "PYTHONUNBUFFERED": "1"}
        return self._spawn("learning node", command, marked, place, place / "sl.log")

    def _start_job(self, job: Job, place: Path) -> ProcessWorker:
        python, environment = self._environment_of(job.environment)
        first, *rest = job.arguments
        plan = {
            "log": str(place / "ml.log"),
            "report": str(place / "report.jsonl"),
            "working_dir": str(job.working_dir),
            "arguments": [python if _ANY_PYTHON.fullmatch(first) else first, *rest],
            "environment": {**environment, MARK: str(place)},
            "life": str(job.life),
            "longest_s": job.longest_s,
            "alone_s": job.alone_s,
        }
        _write_privately(place / "ml.json", plan)
        command = [sys.executable, "-I", "-S", watch.__file__, str(place / "ml.json")]
        marked = {**self._environment, MARK: str(place)}
        return self._spawn("watcher", command, marked, place, place / "ml.log")

    def _spawn(
        self, what: str, command: list[str], environment: Mapping[str, str], place: Path, log_file: Path
    ) -> ProcessWorker:
        with log_file.open("ab") as log:
            try:
                popen = spawn(command, environment=environment, stdout=log, stderr=log, tethered=self._tethered)
            except OSError as error:
                raise BadInput(f"the {what} of {place.name} cannot be started: {error.strerror}") from error
        return ProcessWorker(place, popen.pid, popen)

    def find(self, place: Path) -> ProcessWorker | None:
        watching = ("swarm.cli.run_sl", watch.__file__)
        nodes = [process for process in _marked(place) if any(word in watching for word in _command(process))]
        return ProcessWorker(place, nodes[0].pid, None) if nodes else None

    def sweep(self, place: Path) -> None:
        _kill_marked(place)

    def command(self, program: Program, place: Path) -> tuple[str, ...]:
        """What a learning node that a person starts has as its program: it prints where its node does."""
        return (sys.executable, "-I", "-S", enter.__file__, str(self._write_plan(program, place, log="")))

    def python(self, environment: Mapping[str, str]) -> str:
        """What workers use: SWARM_PYTHON of the task or profile, else of the operator, else the operator's own."""
        return environment.get(PYTHON) or self._environment.get(PYTHON) or sys.executable

    def _write_plan(self, program: Program, place: Path, *, log: str = "ml.log") -> Path:
        root, plan = place / "root", place / "ml.json"
        shutil.rmtree(root, ignore_errors=True)  # of a start that came to nothing
        root.mkdir(mode=0o700)
        mounts = program.mounts
        if not covered(program.working_dir, mounts):
            work = place / "work"
            work.mkdir(mode=0o700, exist_ok=True)
            mounts = in_order([*mounts, Mount("WorkingDir", work, program.working_dir, own=True)])
        python, environment = self._environment_of(program.environment)
        first, *rest = program.arguments
        content = {
            "log": log and str(place / log),
            "root": str(root),
            "mounts": [{**asdict(mount), "source": str(mount.source)} for mount in mounts],
            "working_dir": program.working_dir,
            "arguments": [python if _ANY_PYTHON.fullmatch(first) else first, *rest],
            "environment": {**environment, MARK: str(place)},
            "inherit": CHANNEL,
            "keep": [str(place), *{sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(python))}],
        }
        _write_privately(plan, content)
        return plan

    def _environment_of(self, added: Mapping[str, str]) -> tuple[str, dict[str, str]]:
        """The workers' Python, and an environment in which ``python3`` means it, in what the program starts too."""
        environment = {**self._environment, "PYTHONUNBUFFERED": "1", **added}
        python = shutil.which(self.python(added))
        if python is None:
            raise BadInput(f"{PYTHON} {self.python(added)} is no program on this host")
        environment["PATH"] = f"{os.path.dirname(python)}:{environment.get('PATH', os.defpath)}"
        return python, with_import_path(environment)


class ProcessWorker:
    """See `pair.Worker`."""

    def __init__(self, place: Path, pid: int, popen: subprocess.Popen[bytes] | None) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self._place = place
        self._popen = popen

    def poll(self) -> bool:
        if self._popen is None:
            return not _is_marked(self.pid, self._place)
        code = self._popen.poll()
        if code is not None:
            self.exit_code = code if code >= 0 else 128 - code
        return code is not None

    def terminate(self) -> None:
        if not self.poll():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        _kill_marked(self._place)
        if self._popen is not None:
            self._popen.wait()
            self.poll()


def _write_privately(path: Path, content: Mapping[str, Any]) -> None:
    """It holds an environment, in which there may be secrets."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file)


def _kill_marked(place: Path) -> None:
    """Until a look finds none: what one of them starts while we look is found by the next."""
    for _ in range(LOOKS_MAX):
        found = list(_marked(place))
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if not found:
            return


def _marked(place: Path) -> Iterator[psutil.Process]:
    """All processes of the slot that has this directory."""
    for pid in _with_mark([pid for pid in psutil.pids() if pid != os.getpid()], place):
        with contextlib.suppress(psutil.Error):
            yield psutil.Process(pid)


def _is_marked(pid: int, place: Path) -> bool:
    return bool(_with_mark([pid], place))


def _with_mark(pids: Iterable[int], place: Path) -> list[int]:
    """Every job's end looks at all processes of the host: Linux says in one read what psutil puts together of three."""
    return _by_proc(pids, place) if _HAS_PROC else [pid for pid in pids if _says_psutil(pid, place)]


def _by_proc(pids: Iterable[int], place: Path) -> list[int]:
    """Whoever is becoming another program has no environment for a moment, and no arguments; others have none for good.
    All that show none are looked at again after one pause: there may be hundreds. Those that run no program are not:
    zombies, the kernel's own."""
    mark, found = f"\0{MARK}={place}\0".encode(), []
    looked_at = dict.fromkeys(pids, False)
    for _ in range(LOOKS_MAX):
        again = {}
        for pid, has_arguments in looked_at.items():
            with contextlib.suppress(OSError):
                if environment := _read(pid, "environ"):
                    found += [pid] if mark in b"\0" + environment else []
                elif not has_arguments:
                    os.readlink(f"/proc/{pid}/exe")
                    again[pid] = bool(_read(pid, "cmdline"))
        if not again:
            break
        looked_at = again
        time.sleep(0.001)  # their arguments come first
    return found


def _says_psutil(pid: int, place: Path) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == str(place)
    except psutil.Error:
        return False


def _read(pid: int, what: str) -> bytes:
    with open(f"/proc/{pid}/{what}", "rb") as file:
        return file.read()


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
