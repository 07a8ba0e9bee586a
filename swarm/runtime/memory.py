"""What is known of a death by SIGKILL that nobody here asked for: whether the kernel was out of memory.

Used by `nodes/worker`. The kernel counts the processes that it has ended for lack of memory, on the whole host and for
whichever limit; who they were only its log knows, which a user may not read. Guarantee: nothing is claimed that the
count does not say.
"""

from __future__ import annotations

from pathlib import Path

_COUNTERS = Path("/proc/vmstat")


def ended_by_kernel(counters: Path = _COUNTERS) -> int | None:
    """How many processes of this host the kernel has ended for lack of memory so far; None: it does not say."""
    try:
        rows = dict(line.split(maxsplit=1) for line in counters.read_text(encoding="ascii").splitlines())
        return int(rows["oom_kill"])
    except (OSError, ValueError, KeyError):
        return None


def explained(before: int | None, now: int | None) -> str:
    """What a sentence "… was killed by SIGKILL" goes on with, by the counts before and after."""
    if before is None or now is None:
        return ", perhaps for lack of memory"
    if now > before:
        ended = "a process" if now == before + 1 else f"{now - before} processes"
        return f", probably for lack of memory: the kernel ended {ended} of this host for that meanwhile"
    return ""
