"""What every callback does, whatever the framework: arguments, the session with the learning node, merging, HPE's log.

Used by ``callbacks/swarm`` (numpy) and ``callbacks/keras``, which say when and move weights in and out of their model.
Guarantees: one copy of the weights into shared memory and none here on the way back; weights that are not finite never
leave this process; "Final Swarm model was loaded" is logged only after it was, from the digest that the ledger calls
final; nothing here waits when the program ends, however it ends.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from swarm.callbacks import arguments
from swarm.callbacks.arguments import Given
from swarm.callbacks.checkpoint import Arrays, Checkpoint, Checkpoints, difference
from swarm.callbacks.ending import tell_errors_as_sentences
from swarm.callbacks.flight import LOADED, Flight
from swarm.callbacks.hpelog import HpeLog, make_logger
from swarm.callbacks.local import staying
from swarm.callbacks.weightage import weight_of
from swarm.core.interval import in_batches
from swarm.core.tensors import Schema
from swarm.errors import BadInput, ModelError, SwarmError
from swarm.runtime import channel
from swarm.wire.messages import MAP_CAP, Kind, Level, Merged, Open, Report, Sync

Load = Callable[[Arrays], None]
"""Puts the arrays, which are views of memory that the next merge overwrites, into the model; not always all of it."""

_LEVELS: dict[Level, int] = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


Read = Callable[[], tuple[Arrays, Arrays]]
"""Gives the program's weights as they are at that moment: what is shared, and what stays in this program."""


class BatchCounter:
    """Counts batches across epochs; ``add`` says whether the next multiple of ``every`` was reached.

    Multiples count from batch 0, and once ``every`` has changed from the batch that `retime` names.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.done = 0
        self._from = 0

    def add(self, batches: int) -> bool:
        before = (self.done - self._from) // self.every
        self.done += batches
        return (self.done - self._from) // self.every > before

    def retime(self, every: int, point: int) -> None:
        """It is another interval from the sync point at this batch on."""
        if every != self.every:
            self.every, self._from = every, point


class Session:
    """One training's part in its contract, from the callback's construction to the final model."""

    def __init__(
        self,
        who: str,
        given: Given,
        *,
        known: frozenset[str],
        load: Load,
        optimizer: Callable[[], Arrays],
        load_optimizer: Load,
    ) -> None:
        """``optimizer`` gives the state that a checkpoint keeps beside the weights, ``load_optimizer`` takes it."""
        tell_errors_as_sentences()
        self.logger = make_logger(who, given.keywords.get("logger"))
        with self._errors_logged():
            self.arguments = arguments.parse(given, os.environ, evaluates="adsValData" in known)
        arguments.warn_of_unknown(who, given.keywords, known, self.logger)
        self.loopback = arguments.loopback(os.environ)
        self.samples: int | None = None
        """How many examples this program trains on, where its framework tells: for nodeWeightage="auto"."""
        self.training_over = False
        self.batches = BatchCounter(self.arguments.syncFrequency)
        self.epochs = 0
        self._merges = 0
        self._point = 0
        """The batch of the last sync point."""
        self._load = load
        self._optimizer = optimizer
        self._load_optimizer = load_optimizer
        self._channel: channel.Channel | None = None
        self._flight: Flight | None = None
        self._checkpoints: Checkpoints | None = None
        self._resumed: Checkpoint | None = None
        self._origin = ("", 0)
        """Digest and round of the swarm's model that training went on from: others may have gone on since."""
        self._log = HpeLog(self.logger, self.arguments)
        self._log.arguments(given.keywords, loopback=self.loopback)
        if not self.loopback:
            with self._errors_logged():
                self._open_checkpoints(self.arguments.checkpoint_dir)
                self._channel = channel.connect(os.environ, self._note)
        elif self.arguments.checkpoint_dir is not None:
            self.logger.info("checkpoint_dir has no effect in loopback mode")

    # ---- the training's points; ``local`` are tensors that stay in this program

    def local_of(self, names: Iterable[str]) -> frozenset[str]:
        """The tensors that ``local_only`` keeps in this program."""
        with self._errors_logged():
            return staying(self.arguments.local_only, names)

    def start(self, weights: Arrays, local: Arrays) -> None:
        """Train begin: enrol, and start from the swarm's model."""
        if self.loopback:
            return
        with self._errors_logged():
            resumed = self._fitting({**weights, **local})
            finished = self._open(weights)
        if local:
            self.logger.info("%d of %d tensors stay here: %s", len(local), len(weights) + len(local), _some(local))
        if finished:
            self.training_over = True
            self.logger.warning("Swarm training is over before local training. Exit gracefully.")
        if resumed is not None:
            self.batches.done, self.epochs = resumed.batches, resumed.epochs
        begin = weights if resumed is None else {name: resumed.weights[name] for name in weights}
        answer, _ = self._take(self._hand_over("begin", begin, {}), None)
        if resumed is not None and not self.training_over:
            self._go_on_from(resumed, answer, local)

    def sync(self, read: Read, metrics: Mapping[str, float]) -> bool:
        """A sync point: merge, or with ``overlap`` begin to. False: no round has ended."""
        ended = self.catch_up(read, wait=True)
        if self.loopback or self.training_over:
            return ended
        self._merges += 1
        if self._merges == 1 and self.follows_loss and not {"val_loss", "loss"} & metrics.keys():
            self.logger.warning('useAdaptiveSync goes by the loss, and none was given: metrics={"val_loss": …} of sync')
        self.report(metrics)
        self._hand_over("sync", read()[0], metrics)
        return ended if self.arguments.overlap else self.catch_up(read, wait=True)

    @property
    def follows_loss(self) -> bool:
        """The interval between sync points goes by the loss of the merged models."""
        return self.arguments.options.useAdaptiveSync == "hpe"

    def landed(self) -> bool:
        """Whether the round under way has ended: `catch_up` makes use of that. Never waits."""
        with self._errors_logged():
            return self._flight is not None and self._flight.landed()

    def catch_up(self, read: Read, *, wait: bool = False) -> bool:
        """When the round under way has ended: put what was trained since onto its result. False: it has not."""
        flight = self._flight
        if flight is None or not (flight.under_way if wait else self.landed()):
            return False
        _, weights = self._take(flight, read if self.arguments.overlap else None)
        if self._checkpoints is not None:  # reading costs a copy where weights live on a device
            self._keep(weights, read()[1])
        return True

    def finish(self, read: Read, merged: Callable[[], None] = lambda: None) -> None:
        """Train end: wait for the others, and end with the final model; ``merged`` is called when it is loaded."""
        if self.loopback:
            return
        self.catch_up(read, wait=True)
        self._log.finish(over=self.training_over, merges=self._merges, every=self.batches.every)
        shared, local = read()
        answer, weights = self._take(self._hand_over("end", shared, {}), None)
        self._keep(weights, local, finished=answer.training_over)
        if answer.how in LOADED and answer.training_over:
            merged()
            self.logger.info("All peers and Swarm training rounds finished. Final Swarm model was loaded.")
        else:
            self.logger.warning("No final Swarm model was loaded, own weights are kept: %s", answer.note or answer.how)
        self.close()

    def epoch_ended(self, metrics: Mapping[str, float]) -> None:
        self.epochs += 1
        self.report(metrics)

    def report(self, metrics: Mapping[str, float]) -> None:
        """Say how this program trains, to people who ask the network (PERFDATA). Waits for no answer."""
        if self._channel is not None and self._flight is not None:
            self._channel.report(Report(self.batches.done, self.epochs, self.arguments.totalEpochs, _plain(metrics)))

    def close(self) -> None:
        """Without a final merge; the learning node goes on without this program."""
        if self._channel is not None:
            self._channel.close()
        self._channel = self._flight = None

    # ---- how

    def _open(self, weights: Arrays) -> bool:
        if self._flight is not None:
            self.close()
        if self._channel is None:  # trained before with the same callback
            self._channel = channel.connect(os.environ, self._note)
            self.training_over = False
            self.batches, self.epochs, self._merges = BatchCounter(self.arguments.syncFrequency), 0, 0
        schema = Schema.of(weights)
        request = Open(
            contract=self.arguments.trainingContract,
            options=self.arguments.options.to_wire(),
            weight=weight_of(self.arguments.nodeWeightage, self.arguments.samples or self.samples),
            syncFrequency=self.arguments.syncFrequency,
            checkin=self.arguments.checkinModelOnTrainEnd,
            schema=schema.to_wire(),
            leads=self.arguments.leads,
        )
        opened = self._channel.open(request, schema.nbytes)
        self._flight = Flight(self._channel, schema)
        return opened.finished

    def _hand_over(self, kind: Kind, weights: Arrays, metrics: Mapping[str, float]) -> Flight:
        with self._errors_logged():
            if self._flight is None:
                raise BadInput(
                    "there is no open session with a learning node: start(weights) or on_train_begin() opens one"
                )
            with self._withdrawn_on_error():
                self._flight.pack(weights, whatever=self.training_over)  # then they are only replaced
            self.logger.info("Starting Swarm merging round ...")
            self._flight.begin(Sync(kind, self.batches.done, self.epochs, _plain(metrics)))
            self._point = self.batches.done
            return self._flight

    def _take(self, flight: Flight, read: Read | None) -> tuple[Merged, Arrays]:
        """Wait for the answer and load what it brings, with what was trained since if that can be ``read``.

        The answer, and what the program has now.
        """
        with self._errors_logged():
            answer = flight.answer()
            with self._withdrawn_on_error():
                if answer.how in LOADED:
                    self._origin = answer.digest, answer.round
                    weights = flight.held(answer) if read is None else flight.moved(read()[0])
                    self._load(weights)
                else:
                    weights = flight.held(answer) if read is None else read()[0]
        self._log.answer(answer, self.batches.every, self._next(answer), self.batches.done, self.epochs)
        self.batches.retime(self._next(answer), self._point)
        self.training_over = self.training_over or answer.training_over
        return answer, weights

    def _next(self, answer: Merged) -> int:
        """Batches from the sync point that is answered to the next one."""
        return in_batches(self.arguments.syncFrequency, answer.interval)

    # ---- checkpoints

    def _open_checkpoints(self, directory: Path | None) -> None:
        if directory is None:
            return
        self._checkpoints = Checkpoints(directory, self.logger)
        newest = self._checkpoints.newest()
        if newest is not None and not newest.finished:
            self._resumed = newest
            self.batches.done, self.epochs = newest.batches, newest.epochs  # for who asks where to go on

    def _fitting(self, weights: Arrays) -> Checkpoint | None:
        """The checkpoint to go on from; one of another training is refused, as going on would overwrite it."""
        resumed, self._resumed = self._resumed, None
        if resumed is None or self._checkpoints is None:
            return None
        other = "" if resumed.contract == self.arguments.trainingContract else f"contract {resumed.contract}"
        other = other or difference(resumed.weights, weights)
        if other:
            hint = "give each training a checkpoint_dir of its own, or delete what is in this one"
            raise BadInput(f"the checkpoint in {self._checkpoints.path} is of another training: {other}", hint=hint)
        return resumed

    def _go_on_from(self, checkpoint: Checkpoint, answer: Merged, local: Arrays) -> None:
        """The swarm's model counts; the checkpoint's own weights only where they were trained from that very one."""
        weights = f"the swarm's weights of round {answer.round}"
        if local:
            self._load({name: checkpoint.weights[name] for name in local})
            weights += ", its local tensors"
        if answer.how not in LOADED or answer.digest == checkpoint.base:
            self._load(checkpoint.weights)
            self._origin = checkpoint.base, checkpoint.round
            weights = "its weights"
        optimizer = "its optimizer state" if checkpoint.optimizer else "no optimizer state"
        try:
            self._load_optimizer(checkpoint.optimizer)
        except ModelError as error:
            optimizer = f"a new optimizer state ({error.message})"
        text = "resumed from the checkpoint of round %d, after %d batches and %d epochs, with %s and %s"
        self.logger.info(text, checkpoint.round, checkpoint.batches, checkpoint.epochs, weights, optimizer)

    def _keep(self, weights: Arrays, local: Arrays, *, finished: bool = False) -> None:
        """Write down where the program stands, with these weights, now that the swarm has decided."""
        if self._checkpoints is None:
            return
        self._checkpoints.write(
            Checkpoint(
                contract=self.arguments.trainingContract,
                base=self._origin[0],
                round=self._origin[1],
                batches=self.batches.done,
                epochs=self.epochs,
                finished=finished,
                weights={**weights, **local},
                optimizer=self._optimizer(),
            )
        )

    @contextlib.contextmanager
    def _withdrawn_on_error(self) -> Iterator[None]:
        """When this model cannot take part, the others are not to wait for it."""
        try:
            yield
        except ModelError as error:
            self.logger.error("this peer leaves the swarm; the others go on without it")
            if self._channel is not None:
                self._channel.leave(error.message, error.code)
            self._channel = self._flight = None
            raise

    @contextlib.contextmanager
    def _errors_logged(self) -> Iterator[None]:
        try:
            yield
        except SwarmError as error:
            self.logger.error("%s%s", error.message, f" ({error.hint})" if error.hint else "")
            raise

    # ---- the log, line for line as programs written for HPE Swarm Learning expect it

    def _note(self, level: Level, text: str) -> None:
        self.logger.log(_LEVELS[level], "%s", text)


def _some(names: Iterable[str]) -> str:
    first = list(islice(names, 4))
    return ", ".join(first[:3]) + (", …" if len(first) > 3 else "")


def _plain(metrics: Mapping[str, float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in islice(metrics.items(), MAP_CAP)}
