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
        System(
            name="flower",
            title="Flower",
            package="flwr",
            settings="a SuperLink, a SuperNode a peer, isolation by subprocess, FedAvg of all with equal weights",
            tls="TLS to the SuperLink, certificate of the server only",
            clock="a process for each message, polling, the server's copies",
            killed="min_train_nodes is one less than all",
        ),
        System(
            name="hivemind",
            title="hivemind",
            package="hivemind",
            settings="a DHT node and a DecentralizedAverager a peer, target_group_size of all, no compression",
            tls="libp2p noise, keys without organisations",
            clock="matchmaking, copies to and from its shared tensors and its daemon",
            killed="min_group_size 2, no time-outs set, as by default; who is dead is missed at matchmaking, 5 s",
        ),
        System(
            name="p2pfl",
            title="p2pfl",
            package="p2pfl",
            settings="a Node a peer, all connected, gRPC, FedAvg, train set of all, no Ray; pyarrow and "
            "huggingface_hub pinned to what it can import with",
            tls="TLS with certificates on both sides, given to it: its wheel has none and goes on without",
            clock="votes, gossip",
            killed="aggregation time-out 300 s, as by default",
        ),
        System(
            name="nvflare",
            title="NVIDIA FLARE",
            package="nvflare",
            settings="a server and a site a peer, NumpyFedAvgRecipe, Client API; one array, it takes no more",
            tls="TLS with certificates on both sides",
            clock="polling for tasks, 2 s by default; the server's copies and its file of each round",
            killed="min_clients is one less than all",
        ),
    )
}
