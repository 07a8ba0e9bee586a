"""`swarm bench stream`: the product's data plane against a plain TLS socket of Python, one transfer at a time.

Called by `swarm.cli.bench`. Guarantees: every transfer has two fresh processes; rounds of the two stacks alternate and
are compared within their round, so that the machine's other work weighs on both; what arrived is compared with what was
sent, outside the clock.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from swarm.errors import CheckFailed, InternalError
from swarm.runtime.authority import CertificateTree, issue

STACKS = ("swarm", "ssl")
GIB = 1 << 30


@dataclass(frozen=True)
class Sample:
    seconds: float
    cpu_s: float
    verified: bool


@dataclass(frozen=True)
class Comparison:
    """The samples of each stack, round by round."""

    nbytes: int
    samples: dict[str, list[Sample]]

    @property
    def verified(self) -> bool:
        return all(sample.verified for samples in self.samples.values() for sample in samples)

    def failure(self) -> CheckFailed | None:
        return None if self.verified else CheckFailed("the bytes that arrived are not those that were sent")

    def as_json(self) -> dict[str, Any]:
        swarm, plain = self.samples["swarm"], self.samples["ssl"]
        pairs = list(zip(swarm, plain, strict=True))
        return {
            "mb": self.nbytes // 10**6,
            "rounds": len(pairs),
            "ratio": round(median(theirs.seconds / ours.seconds for ours, theirs in pairs), 3),
            "swarm_mb_s": self._mb_s(swarm),
            "ssl_mb_s": self._mb_s(plain),
            "swarm_cpu_s_per_gib": self._cpu_s_per_gib(swarm),
            "ssl_cpu_s_per_gib": self._cpu_s_per_gib(plain),
            "cpu_ratio": round(median(ours.cpu_s / theirs.cpu_s for ours, theirs in pairs), 3),
            "verified": self.verified,
        }

    def _mb_s(self, samples: list[Sample]) -> float:
        return round(median(self.nbytes / 1e6 / sample.seconds for sample in samples), 1)

    def _cpu_s_per_gib(self, samples: list[Sample]) -> float:
        return round(median(sample.cpu_s * GIB / self.nbytes for sample in samples), 3)


def compare(directory: Path, mb: int, rounds: int, watch: Callable[[int, str, Sample], None]) -> Comparison:
    issue(CertificateTree(directory, "1"))
    nbytes = mb * 10**6
    samples: dict[str, list[Sample]] = {stack: [] for stack in STACKS}
    for round_ in range(rounds):
        for stack in STACKS if round_ % 2 == 0 else reversed(STACKS):
            sample = measure(directory, stack, nbytes, seed=round_)
            samples[stack].append(sample)
            watch(round_, stack, sample)
    return Comparison(nbytes, samples)


def measure(directory: Path, stack: str, nbytes: int, seed: int) -> Sample:
    arguments = [str(directory), str(nbytes), str(seed)]
    with End(stack, "send", *arguments).running() as sender:
        address = sender.heard()
        with End(stack, "receive", *arguments, address["address"], address["uid"]).running() as receiver:
            receiver.heard()
            before = sender.asked("cpu")["cpu_s"]
            result = receiver.asked("go")
            cpu_s = result["cpu_s"] + sender.asked("cpu")["cpu_s"] - before
            verified = receiver.asked("digest") == sender.asked("digest")
    return Sample(result["seconds"], cpu_s, verified)


class End:
    """A child process that runs `stream_end`; it ends when its standard input closes, so at the latest with us."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    @contextmanager
    def running(self) -> Iterator[End]:
        command = [sys.executable, "-m", "swarm.nodes.bench.stream_end", *self._arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        try:
            yield self
        finally:
            self._process.kill()
            self._process.communicate()

    def asked(self, question: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is reported when its answer does not come
        return self.heard()

    def heard(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise InternalError(f"a process of the measurement ({' '.join(self._arguments[:2])}) ended before its time")
        fields: dict[str, Any] = json.loads(line)
        return fields
