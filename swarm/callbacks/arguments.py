"""The arguments of the callbacks: HPE Swarm Learning's names, defaults, checks and error texts, and our own options.

Called by ``callbacks/base`` when a callback or a ``Swarm`` is made. Guarantees: what comes out is valid; an argument
that nobody knows is named in a warning.
"""

from __future__ import annotations

import difflib
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from swarm.callbacks.weightage import AUTO, samples_of
from swarm.core.agreement import LEADS_VARIABLE, OPTION_VARIABLES, THOUSANDTHS, Options
from swarm.core.interval import RULES
from swarm.core.merge import METHODS
from swarm.core.merge.own import name_of
from swarm.errors import BadInput
from swarm.wire.messages import Checkin

LOOPBACK_VARIABLE = "SWARM_LOOPBACK"
TOO_FEW_PEERS_VARIABLE = "SWARM_TOO_FEW_PEERS_S"
COPIES_VARIABLE = "SWARM_PEERS"
"""How many copies `swarm run` has started."""
_WHO = frozenset({"pickPeers", "asyncGoal"})
"""A program that says one of them has chosen against the other, whichever its channel has."""
MERGE_METHODS = tuple(METHODS)
CHECKINS: tuple[Checkin, ...] = get_args(Checkin)
KEYWORDS = frozenset(
    {
        "totalEpochs",
        "checkinModelOnTrainEnd",
        "nodeWeightage",
        "useAdaptiveSync",
        "logger",
        "checkpoint_dir",
        "local_only",
        "samples",
        "overlap",
        "leads",
    }
    | ({field.name for field in fields(Options)} - {"weightage"})
)
"""What every callback and ``Swarm`` accepts."""


@dataclass(frozen=True, slots=True)
class Given:
    """The arguments of a callback as its program wrote them."""

    syncFrequency: Any
    minPeers: Any
    trainingContract: Any
    keywords: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arguments:
    syncFrequency: int
    trainingContract: str
    options: Options
    totalEpochs: int
    checkinModelOnTrainEnd: Checkin
    nodeWeightage: int | str
    """A number from 1 to 100, or "auto"."""
    samples: int | None
    checkpoint_dir: Path | None
    overlap: bool
    local_only: tuple[str, ...]
    leads: bool
    """This peer takes part in the upper contract for its group."""


def loopback(environment: Mapping[str, str]) -> bool:
    return environment.get(LOOPBACK_VARIABLE, "").strip().lower() == "true"


def parse(given: Given, environment: Mapping[str, str], *, evaluates: bool) -> Arguments:
    """The arguments, checked in HPE's order; raises BadInput with HPE's text and what was received.

    ``evaluates``: the callback evaluates models on adsValData itself; otherwise the program tells it the loss.
    """
    keywords = given.keywords
    frequency = _positive(given.syncFrequency, "syncFrequency has to be a positive integer")
    peers = _positive(given.minPeers, "minPeers have to be a positive integer")
    _must_be_there(peers, environment)
    if not isinstance(given.trainingContract, str) or not given.trainingContract:
        raise BadInput("Invalid Training Contract")
    return Arguments(
        syncFrequency=frequency,
        trainingContract=given.trainingContract,
        totalEpochs=_total_epochs(keywords.get("totalEpochs", 0)),
        checkinModelOnTrainEnd=_checkin(keywords.get("checkinModelOnTrainEnd", "snapshot")),
        nodeWeightage=_weightage(keywords.get("nodeWeightage", 1)),
        samples=samples_of(keywords.get("samples")),
        checkpoint_dir=_directory(keywords.get("checkpoint_dir")),
        overlap=_flag("overlap", keywords.get("overlap", False)),
        local_only=_patterns(keywords.get("local_only")),
        leads=_flag("leads", keywords.get("leads", environment.get(LEADS_VARIABLE, "").strip().lower() == "true")),
        options=_options(peers, keywords, environment, evaluates=evaluates),
    )


def warn_of_unknown(who: str, keywords: Mapping[str, Any], known: frozenset[str], logger: logging.Logger) -> None:
    """HPE takes any keyword in silence, so that a typing error changes a training unseen."""
    spelled = {name.lower(): name for name in known}
    for name in sorted(keywords.keys() - known):
        near = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=0.75)
        hint = f"; did you mean {spelled[near[0]]}?" if near else ""
        logger.warning("%s does not know the argument %s: it has no effect%s", who, name, hint)


def _whole(value: Any) -> int | None:
    """A number, or its digits as text; None of what would have to be rounded."""
    try:
        number = int(value)
        return number if isinstance(value, str) or number == value else None
    except (TypeError, ValueError, OverflowError):
        return None


def _positive(value: Any, text: str) -> int:
    number = _whole(value)
    if number is None or number <= 0:
        raise BadInput(f"{text}, received {value!r:.80}")
    return number


def _must_be_there(peers: int, environment: Mapping[str, str]) -> None:
    """Of `swarm run`, nobody else will come: there is nothing to wait for."""
    copies = environment.get(COPIES_VARIABLE, "")
    if copies.isdigit() and not loopback(environment) and peers > int(copies):
        raise BadInput(
            f"minPeers is {peers}, and swarm run has started {copies} copies: expected {copies} at most",
            hint=f"swarm run --peers {peers}, or a smaller minPeers",
        )


def _total_epochs(value: Any) -> int:
    return 0 if value == 0 else _positive(value, "totalEpochs value is not a positive integer")


def word(value: Any) -> Any:
    """What an enum of `swarmlearning.client.swarm` says, as a word."""
    return value.name if isinstance(value, Enum) else value


def _checkin(value: Any) -> Checkin:
    for choice in CHECKINS:
        if word(value) == choice:
            return choice
    raise BadInput(f"Invalid value checkinModelOnTrainEnd: {value}. Allowed values: {list(CHECKINS)}")


def _weightage(value: Any) -> int | str:
    if value == AUTO:
        return AUTO
    number = _whole(value)
    if number is None or not 1 <= number <= 100:
        raise BadInput(f"Node weightage should be a number between 1-100. Received: {value}")
    return number


def _directory(value: Any) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise BadInput(f"checkpoint_dir has to be the path of a directory, received {value!r}")
    return Path(os.fspath(value))


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadInput(f"{name} has to be True or False, received {value!r:.80}")
    return value


def _patterns(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else [] if value is None else value
    if not isinstance(given, list | tuple) or not all(isinstance(one, str) and one for one in given):
        raise BadInput(
            f"local_only has to be a list of patterns of tensor names, received {value!r:.80}",
            hint='local_only=["*batch_normalization*"], for one',
        )
    return tuple(given)


def _options(
    min_peers: int, keywords: Mapping[str, Any], environment: Mapping[str, str], *, evaluates: bool
) -> Options:
    method = _merge_method(keywords.get("mergeMethod", "mean"))
    own = {name: keywords[name] for name in _OWN_OPTIONS if name in keywords}
    own["weightage"] = "samples" if keywords.get("nodeWeightage") == AUTO else "given"
    own["useAdaptiveSync"] = _sync_rule(keywords.get("useAdaptiveSync", False))
    if evaluates and own["useAdaptiveSync"] == "hpe" and keywords.get("adsValData") is None:
        raise BadInput("For adaptive sync, valid adsValData is mandatory")
    own |= {name: _thousandths(own[name]) for name in THOUSANDTHS & own.keys()}
    if TOO_FEW_PEERS_VARIABLE in environment and "tooFewPeersSeconds" not in own:
        own["tooFewPeersSeconds"] = _too_few_peers_s(environment[TOO_FEW_PEERS_VARIABLE])
    said = own.keys() | (_WHO if any(own.get(name) for name in _WHO) else frozenset())
    for name, variable in OPTION_VARIABLES.items():
        if variable in environment and name not in said:
            text = environment[variable]
            own[name] = text if name == "upper" or not text.isdecimal() else int(text)
    organisations = own.get("organisations")
    if organisations is None or isinstance(organisations, str):
        own["organisations"] = [organisations] if organisations else []
    return Options.from_wire({**own, "minPeers": min_peers, "mergeMethod": method})


def _sync_rule(value: Any) -> str:
    """HPE's True and False, or the name of a rule."""
    rule = {True: "hpe", False: "fixed"}.get(value, value) if isinstance(value, bool) else value
    if not isinstance(rule, str) or rule not in RULES:
        allowed = ["True", "False", *(repr(name) for name in RULES)]
        raise BadInput(f"Invalid value useAdaptiveSync: {value!r:.80}. Allowed values: {', '.join(allowed)}")
    return rule


def _merge_method(value: Any) -> str:
    """A name, also as HPE's SLMergeMethod; or the file of a method of one's own, which the contract names by digest."""
    text = str(word(value))
    if text.endswith(".py"):
        try:
            return name_of(Path(text).stem, Path(text).read_bytes())
        except OSError as error:
            raise BadInput(f"the merge method {text} cannot be read: {error.strerror}") from error
    method = text.removeprefix("SLMergeMethod.").lower()
    if method not in MERGE_METHODS:
        raise BadInput(f"Invalid value mergeMethod: {value}. Allowed values: {list(MERGE_METHODS)}")
    return method


def _thousandths(value: Any) -> Any:
    """A fraction as the contract writes it; anything else as it is, for the contract to refuse."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return value
    whole = round(value * 1000)
    return whole if math.isclose(whole, value * 1000, rel_tol=1e-13, abs_tol=1e-9) else value


_OWN_OPTIONS = {field.name for field in fields(Options)} - {"minPeers", "mergeMethod", "weightage"}


def _too_few_peers_s(text: str) -> int:
    number = _whole(text)
    if number is None or number < 0:
        raise BadInput(
            f"{TOO_FEW_PEERS_VARIABLE} has to be a whole number of seconds, received {text!r}",
            hint="0 waits without end",
        )
    return number
