"""The systems that are measured: what each is run as, and what has to be said beside its figures.

Read by `benchmarks.peers.__main__` and the table. ``adapter`` is the module that runs in the system's environment,
which `environment` makes from ``requirements/NAME.txt``. Settings are what its own documentation recommends for this:
everybody in every round, nothing trained, no evaluation, no checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class System:
    name: str
    title: str
    package: str
    """Whose version is the system's, as installed."""
    settings: str
    tls: str
    clock: str
    """What is inside it, beyond the transfer and the mean."""
    killed: str
    """What is set for the case that one of the participants dies."""

    @property
    def adapter(self) -> str:
        return f"benchmarks.peers.adapters.{self.name}"

    @property
    def requirements(self) -> Path:
        return HERE / "requirements" / f"{self.name}.txt"


SYSTEMS = {
    system.name: system
    for system in (
        System(
            name="gloo",
            title="gloo (torch.distributed)",
            package="torch",
            settings="a process a peer, all_reduce of 8 tensors at once, 1 thread each; a barrier before each round",
            tls="none: it has no TLS for this; a floor",
            clock="division by the count",
            killed="time-out 300 s; a group that has lost a member cannot go on",
        ),
    )
}
