"""The log of a training program, line for line as programs written for HPE Swarm Learning expect it.

Used by ``callbacks/base``. Guarantees: HPE's lines are at HPE's levels and in HPE's order; whoever looks for them in a
log finds them, and the digest that stands behind each merged model.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any

from swarm.callbacks.arguments import Arguments
from swarm.callbacks.flight import LOADED
from swarm.wire.messages import Merged

_FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"


def make_logger(who: str, given: logging.Logger | None) -> logging.Logger:
    """The program's logger, or one as HPE's callback makes it: INFO and up, to stdout."""
    if given is not None:
        return given
    logger = logging.getLogger(who)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(logging.Formatter(_FORMAT))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    return logger


class HpeLog:
    def __init__(self, logger: logging.Logger, given: Arguments) -> None:
        self._logger, self._given = logger, given

    def arguments(self, keywords: Mapping[str, Any], *, loopback: bool) -> None:
        given, info = self._given, self._logger.info
        info("***Swarm Callback Params: Inside SwarmCallbackBase at user side***")
        info("syncFrequency: %d", given.syncFrequency)
        info("minPeers: %d", given.options.minPeers)
        info("trainingContract: %s", given.trainingContract)
        info("valBatchSize: %s", keywords.get("adsValBatchSize"))
        info("useAdaptiveSync: %s", bool(keywords.get("useAdaptiveSync", False)))
        info("checkinModelOnTrainEnd: CheckinModel.%s", given.checkinModelOnTrainEnd)
        info("nodeWeightage: %s", given.nodeWeightage)
        info("mergeMethod: SLMergeMethod.%s", given.options.mergeMethod)
        if not given.totalEpochs:
            for line in _NO_TOTAL:
                info("%s", line)
        info("***** Is Swarm callback in loopback mode: %s *****", loopback)

    def answer(self, answer: Merged, every: int, following: int, batches: int, epochs: int) -> None:
        """``every``, ``following``: batches from sync point to sync point, so far and from now on."""
        if answer.note:
            self._logger.warning("%s", answer.note)
        if answer.how not in LOADED:
            return
        by = f" by {answer.members} members" if answer.members else ""
        total = f" of {self._given.totalEpochs}" if self._given.totalEpochs else ""
        self._logger.info("Merge Done: RVInt [cur: %d Nxt: %d]", every, following)
        self._logger.info(
            "round %d %s%s after %d batches, %d%s epochs: %s",
            answer.round, answer.how, by, batches, epochs, total, answer.digest,
        )  # fmt: skip

    def finish(self, *, over: bool, merges: int, every: int) -> None:
        self._logger.info("Finished local training !!!")
        if over:
            self._logger.warning("Swarm training is over before local training. Exit gracefully.")
            return
        if not merges:
            self._logger.warning("No user merge done during swarm training. syncFrequency=%d may be high.", every)
        self._logger.info("Swarm training may continue till trainings in min peers are done!")
        self._logger.info("Final merging starts at training end. Waiting for other peers to complete ...")


_NO_TOTAL = (
    "*" * 60,
    "WARNING: totalEpochs is not given, so nobody can be shown how far this",
    "         training is. Completed epochs are shown all the same.",
    "*" * 60,
)
