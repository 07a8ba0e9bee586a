"""The watcher of a job: starts its program, outlives the operator that started it, and writes down how it ended.

Run by path (`python -I -S watch.py PLAN.json`) by `engines/process`, which writes the plan; stands on the standard
library alone and imports little of it, since every job waits for that. Guarantees: the program and all that stays in
its process group are gone before its end is written, and go with the watcher, even if that is SIGKILLed; it is ended
after its longest time, and when nobody has looked after its operator for so long that its slot may be another's by now.

Lines of the report: ``program_started`` (pid), ``program_ended`` (exit_code as the system gives it, state, why).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

LOOK_EVERY_S = 1.0
GRACE_S = 5.0
"""From SIGTERM to SIGKILL."""


def main(plan_file: str) -> int:
    with open(plan_file, encoding="utf-8") as file:
        plan = json.load(file)
    awaited = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    pid = _start(plan)
    guard = _guard(pid)
    say(plan, event="program_started", pid=pid)
    code, state, why = _watch(plan, pid, awaited)
    _signal(pid, signal.SIGKILL)  # what it left running in its group
    if guard:
        os.kill(guard, signal.SIGKILL)  # the group's number may be another's by and by
    say(plan, event="program_ended", exit_code=code, state=state, why=why)
    return 0


def say(plan: dict[str, str], **line: object) -> None:
    with open(plan["report"], "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _start(plan: dict[str, object]) -> int:
    log = os.open(str(plan["log"]), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    pid = os.fork()
    if pid:
        os.close(log)
        return pid
    arguments: list[str] = plan["arguments"]  # type: ignore[assignment] # the engine's own file
    environment: dict[str, str] = plan["environment"]  # type: ignore[assignment] # likewise
    try:
        os.setpgid(0, 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.chdir(str(plan["working_dir"]))
        os.execvpe(arguments[0], arguments, environment)
    except OSError as error:
        os.write(2, f"error: {arguments[0]} cannot be started: {error.strerror}\n".encode())
    os._exit(127)


def _guard(group: int) -> int:
    """A shell that SIGKILLs this group once the watcher is gone; 0 where none can be started.

    It waits at the end of a pipe that nobody writes into, whose other end only the watcher has open. It lacks the mark
    in the environment by which the engine ends what is of a slot: it has to outlive the watcher by its last act.
    """
    words = ["sh", "-c", 'read -r line; kill -9 "-$0" 2>/dev/null', str(group)]
    try:
        reading, _ = os.pipe()
        try:
            return os.posix_spawn("/bin/sh", words, {}, file_actions=[(os.POSIX_SPAWN_DUP2, reading, 0)], setpgroup=0)
        finally:
            os.close(reading)
    except OSError:
        return 0


def _watch(plan: dict[str, object], pid: int, awaited: set[signal.Signals]) -> tuple[int, str, str]:
    """Until it has ended: its exit code, what that makes of the attempt, and why, if somebody ended it."""
    began, seen, kill_at, state, why = time.monotonic(), time.monotonic(), 0.0, "", ""
    life, longest, alone = _life(plan), float(str(plan["longest_s"])), float(str(plan["alone_s"]))
    while True:
        received = signal.sigtimedwait(awaited, LOOK_EVERY_S)
        now = time.monotonic()
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return code, state or ("done" if code == 0 else "failed"), why
        if _life(plan) != life:
            life, seen = _life(plan), now
        if received is not None and received.si_signo == signal.SIGTERM and not kill_at:
            state, why = "stopped", "it was asked to end"
        elif longest and now - began > longest and not kill_at:
            state, why = "failed", f"it ran longer than MaxRunTime, {longest:g} s, and was ended"
        elif now - seen > alone and not kill_at:
            state, why = "stopped", f"its operator was away for {alone:g} s"
        if why and not kill_at:
            kill_at = now + GRACE_S
            _signal(pid, signal.SIGTERM)
        elif kill_at and now > kill_at:
            _signal(pid, signal.SIGKILL)


def _life(plan: dict[str, object]) -> float:
    """When its operator gave the last sign of life: only that it changes means anything."""
    try:
        return os.stat(str(plan["life"])).st_mtime
    except OSError:
        return 0.0


def _signal(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except OSError:  # nobody is left in it, or it is not there yet
        if number != signal.SIGKILL:
            os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
