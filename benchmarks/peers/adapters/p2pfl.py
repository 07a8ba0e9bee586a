"""p2pfl: a Node with gRPC and certificates on both sides for each participant, all connected, FedAvg, everybody votes.

A participant has the merge of a round when the next begins, so there is one more at the end, which only delivers.
"""

from __future__ import annotations

import os
import sys
from time import monotonic, sleep
from typing import Any

from datasets import Dataset
from p2pfl.learning.dataset.p2pfl_dataset import P2PFLDataset
from p2pfl.learning.frameworks.learner import Learner
from p2pfl.learning.frameworks.p2pfl_model import P2PFLModel
from p2pfl.node import Node
from p2pfl.settings import Settings

from benchmarks.peers.participant import PEER, START_S, Participant, free_ports, run_peers

MODULE = "benchmarks.peers.adapters.p2pfl"


class Arrays(P2PFLModel):
    """A model that is nothing but its arrays."""

    def get_parameters(self) -> list[Any]:
        return list(self.model)

    def set_parameters(self, params: Any) -> None:
        if isinstance(params, bytes):
            params, self.additional_info = self.decode_parameters(params)
        self.model = list(params)

    def get_framework(self) -> str:
        return "numpy"


class Training(Learner):
    """Its training replaces the model by what this participant gives in the round."""

    def __init__(self, me: Participant) -> None:
        super().__init__()
        self._me, self._round = me, 0

    def evaluate(self) -> dict[str, float]:
        return {}

    def fit(self) -> P2PFLModel:
        me, model = self._me, self.get_model()
        if self._round:
            me.had(self._round - 1, model.get_parameters())
        model.set_parameters(me.arrays(self._round))
        model.set_contribution([self.addr], 1)
        if self._round < me.plan.all_rounds:
            me.gives(self._round)
        self._round += 1
        return model

    def interrupt_fit(self) -> None:
        """It takes no time."""

    def get_framework(self) -> str:
        return "numpy"


def participate() -> None:
    me = Participant()
    tls = me.place / "tls"
    Settings.general.DISABLE_RAY = True  # Ray is for simulations
    Settings.ssl.CA_CRT = str(tls / "ca.pem")
    Settings.ssl.SERVER_CRT = Settings.ssl.CLIENT_CRT = str(tls / "cert.pem")
    Settings.ssl.SERVER_KEY = Settings.ssl.CLIENT_KEY = str(tls / "key.pem")
    addresses = [f"127.0.0.1:{port}" for port in (me.place / "ports").read_text().split()]
    data = P2PFLDataset(Dataset.from_dict({"nothing": [0]}))
    node = Node(Arrays(me.arrays(0)), data, addr=addresses[me.peer], learner=Training(me))
    node.start()
    (me.place / f"up-{me.peer}").touch()
    until = monotonic() + START_S
    while not all((me.place / f"up-{peer}").exists() for peer in range(me.plan.peers)):
        _in_time(until, "not every node is up")
    for address in addresses[: me.peer]:
        node.connect(address)
    while len(node.get_neighbors(only_direct=True)) < me.plan.peers - 1:
        _in_time(until, f"{addresses[me.peer]} has not all neighbours")
    if me.peer == 0:
        node.set_start_learning(rounds=me.plan.all_rounds + 1, epochs=1, trainset_size=me.plan.peers)
    while True:
        sleep(60)  # the run ends all when everybody has had the last round


def _in_time(until: float, trouble: str) -> None:
    if monotonic() > until:
        raise TimeoutError(f"{trouble} after {START_S:g} s")
    sleep(0.1)


if __name__ == "__main__":
    if PEER in os.environ:
        participate()
    plan = Participant(0).plan
    (Participant(0).place / "ports").write_text(" ".join(map(str, free_ports(plan.peers))))
    sys.exit(run_peers(MODULE, plan))
