"""Training: one setting with all its seeds, from the split of the data to the accuracies of the models.

Used by the experiments. Guarantee: a seed's result is its own, whatever seeds run beside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.quality.attacks import NONE, Attack
from benchmarks.quality.data import Shards, shards
from benchmarks.quality.network import Network
from benchmarks.quality.rounds import Rounds, Terms
from swarm.core.merge.method import Array
from swarm.nodes.demo.examples import Examples

RATE = 0.2
BATCH = 32
CLASSES = 10


@dataclass(frozen=True)
class Setting:
    """``alpha``: of the Dirichlet distribution of classes, None: alike. ``pooled``: one model on the data of all."""

    peers: int
    rounds: int
    steps: int
    alpha: float | None = None
    terms: Terms = field(default_factory=Terms)
    attack: Attack = NONE
    pooled: bool = False
    merges: bool = True


@dataclass(frozen=True)
class Outcome:
    """By seed: ``curve`` (seed, round), the base's accuracy after each round, or the peers' mean where none is merged.

    ``ends`` (seed, peer): what each peer has at the end. ``digests``: of the last base.
    """

    curve: Array
    ends: Array
    sent: tuple[int, ...]
    """Bytes that a peer has sent until each round was over."""
    digests: tuple[str, ...]


class Training:
    def __init__(self, examples: Examples, setting: Setting, seeds: int) -> None:
        self._examples = examples
        self._setting = setting
        self._network = Network(examples.x.shape[1], CLASSES)
        self._peers = 1 if setting.pooled else setting.peers
        self._splits = [shards(examples.y, setting.peers, setting.alpha, seed) for seed in range(seeds)]
        self._chance = [np.random.default_rng([seed, 3]) for seed in range(seeds)]
        self._forgers_chance = [np.random.default_rng([seed, 4]) for seed in range(seeds)]
        firsts = [self._network.initial(seed) for seed in range(seeds)]
        self._models = np.repeat(np.stack(firsts), self._peers, axis=0)
        self._swarms = [Rounds(self._network.schema, setting.terms, first) for first in firsts]
        self._rows, self._sizes = self._shards_of(self._splits)

    def run(self) -> Outcome:
        setting, curve = self._setting, []
        for _ in range(setting.rounds):
            self._train()
            if setting.merges and not setting.pooled:
                self._merge()
            curve.append(self._accuracies().mean(1))
        sent = tuple(self._swarms[0].bytes_sent(setting.peers, upto + 1) for upto in range(setting.rounds))
        digests = tuple(swarm.digest() for swarm in self._swarms)
        return Outcome(np.stack(curve, axis=1), self._accuracies(), sent, digests)

    def _shards_of(self, splits: list[Shards]) -> tuple[Array, Array]:
        """The rows of each model's shard, the shorter ones filled up with what is never drawn; how many they are."""
        each = [rows for split in splits for rows in ([split.train] if self._setting.pooled else split.peers)]
        sizes = np.array([len(rows) for rows in each])
        padded = np.zeros((len(each), sizes.max()), np.int64)
        for row, rows in zip(padded, each, strict=True):
            row[: len(rows)] = rows
        return padded, sizes

    def _train(self) -> None:
        x, y, setting = self._examples.x, self._examples.y, self._setting
        drawn = [chance.random((setting.steps, self._peers, BATCH)) for chance in self._chance]
        places = (np.concatenate(drawn, axis=1) * self._sizes[:, None]).astype(np.int64)
        flips = np.tile(np.arange(self._peers) < (setting.attack.peers if setting.attack.flips else 0), len(drawn))
        every = np.arange(len(self._models))[:, None]
        for place in places:
            rows = self._rows[every, place]
            labels = np.where(flips[:, None], CLASSES - 1 - y[rows], y[rows])
            self._network.step(self._models, x[rows], labels, RATE)

    def _merge(self) -> None:
        attack = self._setting.attack
        by_seed = self._models.reshape(len(self._swarms), self._peers, -1)
        for swarm, models, chance in zip(self._swarms, by_seed, self._forgers_chance, strict=True):
            if attack.forge:
                models[: attack.peers] = attack.forge(swarm.base, models, attack.peers, chance)
            swarm.merge(list(models))
            models[:] = swarm.base

    def _accuracies(self) -> Array:
        """(seed, peer) on the seed's test set; of models that are the same, one is asked."""
        by_seed = self._models.reshape(len(self._splits), self._peers, -1)
        asked = by_seed[:, :1] if self._setting.merges else by_seed
        tests = [self._examples.part(split.test) for split in self._splits]
        return np.stack(
            [self._network.accuracies(models, test.x, test.y) for models, test in zip(asked, tests, strict=True)]
        )
