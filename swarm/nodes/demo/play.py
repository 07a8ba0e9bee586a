"""The demo itself: data split, swarm started, programs watched, weights files held against the ledger.

Called by `swarm demo`. Guarantees: the digests it reports are computed here from the files that the workers saved; what
a peer reaches alone and what all reach together come from the same program, shard, epochs, steps, seed and processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from swarm.errors import BadInput, CheckFailed, Unreachable
from swarm.nodes.demo import examples
from swarm.nodes.demo.chaos import Chaos
from swarm.nodes.demo.digests import digest_of_file
from swarm.nodes.demo.watch import Watch
from swarm.nodes.launch import Launch
from swarm.nodes.local import HOST, Lines
from swarm.nodes.localrun import TOO_FEW_PEERS_S, Ran
from swarm.nodes.taskrun import PLACE, TaskRun, Work

STEPS = 352
"""Batches that each peer trains, where no --epochs is given."""
BATCH = 32
SILENCE_S = 120.0
CHAOS_PEERS, CHAOS_SNS, CHAOS_MIN_PEERS = 3, 3, 2
CHAOS_PACE_S = 1.0
"""Between two merges, as if the model were larger: that everything happens while it trains."""
CHAOS_PATIENCE_S = "60"
ENOUGH = "enough"
"""The file that tells a worker to stop when it has trained as long as was planned."""
NEEDED = {
    "libp2p": "libp2p", "trio": "trio", "cryptography": "cryptography", "msgpack": "msgpack", "psutil": "psutil",
    "tensorflow": "tensorflow", "keras": "keras", "sklearn": "scikit-learn",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    peers: int
    sns: int
    epochs: int | None
    dataset: str
    seed: int
    chaos: bool = False

    @property
    def patience_s(self) -> str:
        """How long peers wait for others: whoever is killed by chaos comes back."""
        return CHAOS_PATIENCE_S if self.chaos else TOO_FEW_PEERS_S


def settings(
    peers: int | None, sns: int | None, epochs: int | None, dataset: str, seed: int, *, chaos: bool
) -> Settings:
    """With what is usual where nothing was said."""
    usual = (CHAOS_PEERS, CHAOS_SNS) if chaos else (2, 2)
    chosen = Settings(peers or usual[0], sns or usual[1], epochs, dataset, seed, chaos)
    if chaos and (chosen.peers < CHAOS_PEERS or chosen.sns < CHAOS_SNS):
        raise BadInput(
            f"{chosen.peers} peers and {chosen.sns} network nodes cannot do without one of them",
            hint=f"--chaos needs --peers {CHAOS_PEERS} and --sns {CHAOS_SNS}, or more",
        )
    return chosen


@dataclass
class Seen:
    """What a worker has said of its training so far."""

    progress: Lines
    weights: Path
    phase: str = ""
    epoch: int = 0
    epochs: int = 0
    loss: float | None = None
    accuracy: float | None = None
    reached: dict[str, float] = field(default_factory=dict)
    """Accuracy on the test set at the end of each phase: alone, swarm, pooled."""

    def look(self) -> bool:
        """Read what is new; whether there was anything."""
        lines = self.progress.new()
        for line in lines:
            self.phase = line["phase"]
            match line["event"]:
                case "begun":
                    self.epoch, self.epochs, self.loss, self.accuracy = 0, line["epochs"], None, None
                case "epoch":
                    self.epoch, self.loss, self.accuracy = line["epoch"], line["loss"], line["accuracy"]
                case "done":
                    self.accuracy = self.reached[self.phase] = line["accuracy"]
        return bool(lines)


@dataclass(frozen=True)
class Played:
    """What the demo came to."""

    ran: Ran
    swarm_accuracy: float
    """The lowest of the peers."""
    solo_accuracy: dict[str, float]
    pooled_accuracy: float
    test_examples: int
    digests: dict[str, str]
    """By peer, of the weights file that it saved."""
    missed: str = ""
    """What of the chaos did not come to pass, and why."""

    def failure(self) -> CheckFailed | None:
        if self.missed:
            return CheckFailed(f"the training was over too early: {self.missed}")
        for name, digest in self.digests.items():
            if digest != self.ran.ledger_digest:
                return CheckFailed(
                    f"the weights that {name} saved have the digest {digest}, the ledger says {self.ran.ledger_digest}"
                )
        return self.ran.failure()


class Play:
    def __init__(self, settings: Settings, directory: Path, launch: Launch, look: Callable[[], None]) -> None:
        self.settings = settings
        self.directory = directory
        self.run = TaskRun(
            directory, launch, peers=settings.peers, sns=settings.sns, look=self._look, tethered=not settings.chaos
        )
        self.chaos: Chaos | None = None
        self.seen: list[Seen] = []
        self.split: examples.Split | None = None
        self._launch = launch
        self._look_on = look
        self._untold: list[Path] = []
        """Of workers that train until they are told that it is enough."""
        self._begun_s = self._heard_s = time.monotonic()
        self._rounds = 0

    def play(self) -> Played:
        self.run.stage = "reading the data"
        self._look()
        data = examples.load(self.settings.dataset)
        self.split = examples.split(data, self.settings.peers, self.settings.seed)
        self.run.begin(self._work(self.split))
        with self._chaos():
            self.run.train()
        return self._sum_up(self.run.finish())

    # ---- before

    def _work(self, split: examples.Split) -> Work:
        """One directory a peer, with its data; its program leaves there what it comes to."""
        given = self.settings
        steps = max(1, min(len(shard) for shard in split.shards) // BATCH)
        epochs = given.epochs or max(1, round(STEPS / steps))
        places = [self.directory / f"peer-{number}" for number in range(1, given.peers + 1)]
        for place, shard in zip(places, split.shards, strict=True):
            place.mkdir()
            shard.save(place / "shard.npz")
            split.test.save(place / "test.npz")
            self.seen.append(Seen(Lines(place / "progress.jsonl"), place / "weights.npz", epochs=epochs))
        split.pooled.save(places[0] / "pooled.npz")  # one trains pooled too: another would load TensorFlow once more
        arguments = [
            *("-m", "swarm.nodes.demo.worker", PLACE),
            *("--peers", str(given.peers), "--classes", str(split.classes)),
            *("--epochs", str(epochs), "--steps", str(steps), "--seed", str(given.seed)),
        ]
        if given.chaos:
            arguments += ["--min-peers", str(CHAOS_MIN_PEERS), "--pace", str(CHAOS_PACE_S), "--until", ENOUGH]
            self._untold = list(places)
        return Work("demo", arguments, _worker_environment(), places)

    # ---- meanwhile

    @contextmanager
    def _chaos(self) -> Iterator[None]:
        if not self.settings.chaos:
            yield
            return
        swarm = self.run.swarm
        with Watch(swarm.trees[0], (HOST, swarm.api_port(0)), self.directory / "watch") as watch:
            self.chaos = Chaos(self.run, self._launch, watch, self.settings.seed, self._now_s)
            try:
                yield
            finally:
                self.chaos.thaw()

    def _now_s(self) -> float:
        return time.monotonic() - self._begun_s

    def _look(self) -> None:
        if self.chaos is not None and self.run.stage == "training":
            self.chaos.look()
            while self.chaos.over and self._untold:
                (self._untold.pop() / ENOUGH).touch()
        heard = [seen.look() for seen in self.seen]
        rounds = sum(len(peer.rounds) for peer in self.run.swarm.peers)
        if any(heard) or rounds > self._rounds or self.run.stage != "training":
            self._heard_s, self._rounds = time.monotonic(), rounds
        self._look_on()
        if time.monotonic() - self._heard_s > SILENCE_S:
            waiting = "; ".join(self.describe(number) for number in range(len(self.seen)))
            raise Unreachable(f"nothing has happened for {SILENCE_S:g} s: {waiting}")

    def describe(self, number: int) -> str:
        """What a peer is at, in a few words."""
        seen, peer = self.seen[number], self.run.swarm.peers[number]
        if not seen.phase:
            return f"{peer.name} is loading TensorFlow"
        waiting = f", {peer.waiting}" if peer.waiting else ""
        planned = f" of {seen.epochs}" if seen.epoch <= seen.epochs else ""  # chaos may take longer
        return f"{peer.name} trains {seen.phase}, epoch {seen.epoch}{planned}{waiting}"

    # ---- after

    def _sum_up(self, ran: Ran) -> Played:
        assert self.split is not None
        names = [peer.name for peer in self.run.swarm.peers]
        blows = self.chaos.blows if self.chaos else []
        hash_name = (ran.ledger_digest or "").partition(":")[0]
        return Played(
            ran=replace(ran, killed=tuple(blow.as_json() for blow in blows)),
            missed=self.chaos.missed() if self.chaos else "",
            swarm_accuracy=min(seen.reached["swarm"] for seen in self.seen),
            solo_accuracy={name: seen.reached["alone"] for name, seen in zip(names, self.seen, strict=True)},
            pooled_accuracy=self.seen[0].reached["pooled"],
            test_examples=len(self.split.test),
            digests={
                name: digest_of_file(seen.weights, hash_name) for name, seen in zip(names, self.seen, strict=True)
            },
        )


def check_installed(dataset: str) -> None:
    """Raises BadInput when the demo's extra is not installed."""
    needed = [module for module in NEEDED if module != "sklearn" or dataset == "digits"]
    missing = [NEEDED[module] for module in needed if find_spec(module) is None]
    if missing:
        raise BadInput(
            f"swarm demo needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed",
            hint="pip install 'swarm-learning[demo]'",
        )


def _worker_environment() -> dict[str, str]:
    """One thread a worker: the model is small, and the machine is everybody's."""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
    return {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1", **quiet}


def as_json(settings: Settings, played: Played) -> dict[str, Any]:
    """The object of --json, without what every command adds."""
    trained = {
        "seed": settings.seed,
        "dataset": settings.dataset,
        "swarm_accuracy": round(played.swarm_accuracy, 4),
        "solo_accuracy": {name: round(value, 4) for name, value in played.solo_accuracy.items()},
        "pooled_accuracy": round(played.pooled_accuracy, 4),
        "test_examples": played.test_examples,
        "digests": played.digests,
    }
    return played.ran.as_json(settings.peers, settings.sns, trained)
