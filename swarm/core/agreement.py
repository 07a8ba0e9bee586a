"""The agreement: what the first enrolment fixes for a contract, and how a later one that differs is told apart.

Used by `core/contract`, by learning nodes that enrol, and by the callbacks, which check their arguments with the same
code. Guarantees: options that exist are possible; every refusal names the option in the spelling that users write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from swarm.core.fields import CONTRACT, FIRST_RULES
from swarm.core.interval import RULES
from swarm.core.membership import Member
from swarm.core.merge import METHODS
from swarm.core.merge.own import is_name
from swarm.core.names import Identity
from swarm.core.outer import Nesterov
from swarm.core.tensors import Schema
from swarm.core.wireform import WIRES
from swarm.errors import BadInput, ModelError, Refused

GIVEN_MAX, WEIGHT_MAX = 100, 1_000_000
"""Of a nodeWeightage, and of a number of examples."""
DEFAULT_CONTRACT = "defaultbb.cqdb.sml.hpe"
"""The contract of programs that name none: always there."""
OPTION_VARIABLES = {
    "upper": "SWARM_UPPER", "upperEvery": "SWARM_UPPER_EVERY", "upperPeers": "SWARM_UPPER_PEERS",
    "pickPeers": "SWARM_PICK_PEERS", "asyncGoal": "SWARM_ASYNC_GOAL",
}  # fmt: skip
"""By option, where whoever starts a program says for it what the channel of its task has."""
LEADS_VARIABLE = "SWARM_LEADS"

_CHOICES: dict[str, tuple[str, ...]] = {
    "mergeMethod": tuple(METHODS),
    "onTooFewPeers": ("wait", "local", "stop"),
    "initialModel": ("mean", "first"),
    "topology": ("auto", "sharded", "broadcast"),
    "commitments": ("result", "full"),
    "wire": WIRES,
    "outer": ("plain", "nesterov"),
    "useAdaptiveSync": RULES,
    "weightage": ("given", "samples", "groups"),
}
_RANGES: dict[str, tuple[int, int]] = {
    "minPeers": (1, 1000),
    "tooFewPeersSeconds": (0, 10**9),
    "maxFaulty": (-1, 1000),
    "maxPeersPerOrganisation": (0, 1000),
    "outerLearningRate": (1, 10_000),
    "outerMomentum": (0, 999),
    "maxDeltaNorm": (0, 10**12),
    "pickPeers": (0, 1000),
    "asyncGoal": (0, 1000),
    "upperEvery": (1, 10**6),
    "upperPeers": (0, 1000),
}
_NESTEROV = {"outerLearningRate": 700, "outerMomentum": 900}
_LATER = {
    "maxFaulty": -1, "maxPeersPerOrganisation": 0, "wire": "fp32", "outer": "plain", **_NESTEROV, "maxDeltaNorm": 0,
    "useAdaptiveSync": "fixed", "weightage": "given", "upper": "", "upperEvery": 1, "upperPeers": 0, "pickPeers": 0,
    "asyncGoal": 0,
}  # fmt: skip
"""Options that came later: what says nothing is written as it was before there was anything to say."""
_SINCE = dict.fromkeys(("weightage", "upper", "upperEvery", "upperPeers", "pickPeers", "asyncGoal"), 3)
"""The version of the ledger's rules (`core/rules`) with which an option came that the first version did not have."""
_WITH_UPPER = {
    "mergeMethod": "mean", "wire": "fp32", "outer": "plain", "maxDeltaNorm": 0, "useAdaptiveSync": "fixed",
    "onTooFewPeers": "wait", "pickPeers": 0, "asyncGoal": 0,
}  # fmt: skip
"""What other values would make of a model from above another one, or of a group's rounds others than its leader's."""
THOUSANDTHS = frozenset({*_NESTEROV, "maxDeltaNorm"})
"""Options that users give as fractions; here and in the ledger they are whole numbers of 1/1000."""


@dataclass(frozen=True, slots=True)
class Options:
    """A contract's options, in the users' spelling. ``organisations``: who may enrol; empty = all admitted.

    ``maxFaulty``: how many members the merge method is to bear, whatever they send; -1 = a third.
    ``maxPeersPerOrganisation``: 0 = any number. ``wire``: in what form weights travel (`core/wireform`).
    ``maxDeltaNorm``: how far weights may be from the base (`core/clip`), 0 = any distance. It, ``outerLearningRate``
    and ``outerMomentum`` are in 1/1000. ``useAdaptiveSync``: what the sync interval follows (`core/interval`).
    ``weightage``: what members weigh, a nodeWeightage of 1 to 100 each, as many as they have examples, or as much as
    the group of each that merges for one. ``upper``: the contract in which this group merges with others, after every
    ``upperEvery`` merges of its own (`core/level`), with ``upperPeers`` groups in all.
    ``pickPeers``: how many of the members take part in a round (`core/line`); 0 = all. ``asyncGoal``: with how many
    offers a round begins to merge, whoever else still trains; 0 = with those of all.
    """

    minPeers: int
    mergeMethod: str = "mean"
    onTooFewPeers: str = "wait"
    tooFewPeersSeconds: int = 600
    initialModel: str = "mean"
    topology: str = "auto"
    commitments: str = "result"
    organisations: tuple[str, ...] = ()
    maxFaulty: int = -1
    maxPeersPerOrganisation: int = 0
    wire: str = "fp32"
    outer: str = "plain"
    outerLearningRate: int = _NESTEROV["outerLearningRate"]
    outerMomentum: int = _NESTEROV["outerMomentum"]
    maxDeltaNorm: int = 0
    useAdaptiveSync: str = "fixed"
    weightage: str = "given"
    upper: str = ""
    upperEvery: int = 1
    upperPeers: int = 0
    pickPeers: int = 0
    asyncGoal: int = 0

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices and not (name == "mergeMethod" and is_name(str(self.mergeMethod))):
                raise BadInput(f"{name}={getattr(self, name)!r:.80} is not possible: expected {' or '.join(choices)}")
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise BadInput(f"{name}={_given(name, value)} is not possible: expected {_range(name, low, high)}")
            if self.outer == "plain" and value != _NESTEROV.get(name, value):
                raise BadInput(f"{name}={_shown(name, value)} has no meaning with outer='plain'", hint=_TO_NESTEROV)
        named = self.organisations
        if len(named) > 64 or not all(isinstance(text, str) and 0 < len(text) <= 80 for text in named):
            raise BadInput("organisations has to be a list of at most 64 names, or sha256:... of a CA's public key")
        if self.upper != "":
            self._must_go_with_upper()
        elif (self.upperEvery, self.upperPeers) != (1, 0):
            raise BadInput("upperEvery and upperPeers have no meaning without upper, the contract that groups merge in")
        if self.pickPeers and self.asyncGoal:
            raise BadInput(
                f"pickPeers={self.pickPeers} and asyncGoal={self.asyncGoal} are not possible together: expected one",
                hint="pickPeers draws who takes part in a round, with asyncGoal those do who come first",
            )
        self._must_be_reachable("pickPeers", self.pickPeers)
        self._must_be_reachable("asyncGoal", self.asyncGoal)

    def _must_be_reachable(self, name: str, members: int) -> None:
        """Refuse rounds of so many members (0: of all) that could never come about."""
        if 0 < members < self.minPeers:
            raise BadInput(
                f"{name}={members} is not possible with minPeers={self.minPeers}: expected {self.minPeers} or more",
                hint="minPeers is the least that a round needs: lower it, or leave the other out, which means all",
            )
        most = self.maxPeersPerOrganisation * len(self.organisations)
        if 0 < most < members:
            raise BadInput(
                f"{name}={members} is not possible: the contract admits {most} peers, maxPeersPerOrganisation="
                f"{self.maxPeersPerOrganisation} of {len(self.organisations)} organisations, expected {most} or less"
            )

    def _must_go_with_upper(self) -> None:
        """What comes from above has to arrive as it is."""
        if not CONTRACT.fits(self.upper):
            raise BadInput(f"upper={self.upper!r:.80} is not possible: expected {CONTRACT.expected}")
        if self.upperPeers < 1:
            raise BadInput(f"upper={self.upper!r} needs upperPeers: how many groups merge there")
        for name, needed in _WITH_UPPER.items():
            if (value := getattr(self, name)) != needed:
                raise BadInput(
                    f"{name}={_given(name, value)} is not possible for a group, whose model is replaced by that of "
                    f"contract {self.upper} as it is: expected {_shown(name, needed)}"
                )

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], version: int | None = None) -> Options:
        """``version``: of the rules by which they are judged; None for what was judged before, and for one's own."""
        known = [name for name in _OPTIONS if version is None or _SINCE.get(name, FIRST_RULES) <= version]
        for name in wire:
            if name not in known:
                names = ", ".join(sorted(known))
                raise BadInput(f"the contract option {name[:40]!r} is not known: expected one of {names}")
        if "minPeers" not in wire:
            raise BadInput("the contract option 'minPeers' is missing")
        organisations = wire.get("organisations", ())
        if not isinstance(organisations, list | tuple):
            raise BadInput("organisations has to be a list")
        return cls(**{**wire, "organisations": tuple(organisations)})

    def to_wire(self) -> dict[str, Any]:
        said = {name: value for name in _OPTIONS if (value := getattr(self, name)) != _LATER.get(name)}
        return said | {"organisations": list(self.organisations)}

    def difference(self, other: Options) -> str | None:
        """How ``other`` (a later enrolment) differs from these options (the contract's) first; None if not."""
        for name in _OPTIONS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours != theirs:
                return f"{name}: the contract has {_shown(name, ours)}, this node has {_shown(name, theirs)}"
        return None

    def above(self) -> Options:
        """Of the contract in which this group merges with others."""
        same = ("tooFewPeersSeconds", "topology", "commitments", "organisations")
        return Options(self.upperPeers, weightage="groups", **{name: getattr(self, name) for name in same})

    @property
    def nesterov(self) -> Nesterov:
        """What outer='nesterov' is."""
        return Nesterov(self.outerLearningRate / 1000, self.outerMomentum / 1000)

    @property
    def alters(self) -> bool:
        """Whether what travels may be other weights than the program's: rounded, or clipped."""
        return self.wire != "fp32" or self.maxDeltaNorm > 0

    @property
    def robust(self) -> bool:
        """Whether the merge method bounds what few members can do; one of the users' own is taken to."""
        return self.mergeMethod not in METHODS or METHODS[self.mergeMethod].robust

    def admits(self, identity: Identity) -> bool:
        """Whether the organisation may enrol; what stands here is resolved to key hashes when the contract opens."""
        return not self.organisations or f"sha256:{identity.anchor.hex()}" in self.organisations


_TO_NESTEROV = "give outer='nesterov' too, or leave it out"
_OPTIONS = tuple(field.name for field in fields(Options))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The body of an Enrolled proposal, typed. Raises BadInput or ModelError when it is not one."""

    schema: Schema
    hash: str
    initial_base: str
    options: Options
    weight: int
    sync_frequency: int
    data_address: str
    leads: bool = False
    """Takes part in the upper contract for its group."""
    anchors: Mapping[str, bytes] = field(default_factory=dict, compare=False)
    """Of all members' organisations and its own, by uid; empty before `membership.ANCHORED_SINCE`."""

    @classmethod
    def of(cls, body: Mapping[str, Any], version: int | None = None) -> Enrolment:
        if not body["initial_base"].startswith(f"{body['hash']}:"):
            raise BadInput(f"initial_base is {body['initial_base']}, expected a digest made with {body['hash']}")
        options = Options.from_wire(body["options"], version)
        if options.weightage == "given" and body["weight"] > GIVEN_MAX:
            raise BadInput(f"the weight is {body['weight']}, a nodeWeightage is a number from 1 to {GIVEN_MAX}")
        return cls(
            Schema.from_wire(body["schema"]),
            body["hash"],
            body["initial_base"],
            options,
            body["weight"],
            body["syncFrequency"],
            body["data_address"],
            body.get("leads", False),
        )

    def member(self, identity: Identity, ordinal: int, anchor: bytes) -> Member:
        """Who enrols with it, as the ``ordinal``-th."""
        who = (identity.name, identity.organisation, ordinal)
        return Member(*who, self.weight, self.sync_frequency, self.data_address, leads=self.leads, anchor=anchor)

    def of_one(self, identity: Identity, uid: str, member: Member) -> bool:
        """Whether this member is of the organisation of who enrols."""
        return self.anchors[uid] == identity.anchor if self.anchors else member.organisation == identity.organisation

    def must_fit(
        self, contract: str, uid: str, identity: Identity, asked: Enrolment, members: Mapping[str, Member]
    ) -> None:
        """Refuse a later enrolment that differs from this first one, or that is not admitted; names the field."""
        hint = f"use the contract's, or another training contract; `swarm contract reset {contract}` starts it anew"
        if not self.options.admits(identity):
            raise asked.not_admitted(contract, identity, members)
        kin = {u for u, member in members.items() if asked.of_one(identity, u, member)}
        peers = sum(u != uid and members[u].state != "left" for u in kin)
        most = self.options.maxPeersPerOrganisation
        if most and peers >= most:
            raise Refused(f"contract {contract} has {peers} peers of {identity.organisation}, the most that it admits")
        if asked.leads:
            self._must_lead(contract, identity, {u: m for u, m in members.items() if u != uid and m.leads}, kin)
        tensors = self.schema.first_difference(asked.schema)
        if tensors:
            raise ModelError(f"the model does not fit contract {contract}: {tensors}", hint=hint)
        options = self.options.difference(asked.options)
        if options:
            raise Refused(f"the options do not fit contract {contract}: {options}", hint=hint)
        if self.hash != asked.hash:
            raise Refused(f"contract {contract} has hash {self.hash}, this node has {asked.hash}", hint=hint)
        if self.initial_base != asked.initial_base:
            raise ModelError(
                f"contract {contract} starts from {self.initial_base}, this node says {asked.initial_base} "
                "for the same tensors: they run different versions"
            )

    def not_admitted(self, contract: str, identity: Identity, members: Mapping[str, Member]) -> Refused:
        """Says who has the name, which anybody may be the first to use."""
        text = f"contract {contract} does not admit the organisation {identity.organisation}"
        first = min(members.values(), key=lambda member: member.ordinal, default=None)
        if first is None or not self.anchors:  # before `membership.ANCHORED_SINCE`
            return Refused(text)
        return Refused(
            f"{text}: {first} was the first to use that name, and admits certain organisations only",
            hint=f"agree on another name for the training contract, or have {first.organisation} reset this one "
            f"(swarm contract reset {contract}) and open it with your organisation among its organisations",
        )

    def _must_lead(self, contract: str, identity: Identity, others: Mapping[str, Member], kin: set[str]) -> None:
        """A process that begins in the place of one that nobody has missed yet has the same certificate."""
        if not self.options.upper or self.options.upper == contract:
            raise Refused(f"contract {contract} has no upper one, so nobody leads it there", hint="give upper=NAME")
        for uid, other in others.items():
            same = other.name == identity.name and uid in kin
            if other.state in ("live", "dropped") and not same:
                raise Refused(f"contract {contract} is led by {other}: a group has one leader")


def _shown(name: str, value: Any) -> str:
    if name in THOUSANDTHS and type(value) is int:
        return f"{value / 1000:g}"
    return ", ".join(value) or "all" if isinstance(value, tuple) else str(value)


def _given(name: str, value: Any) -> str:
    """As it was written, also where it is none of the option's values."""
    return _shown(name, value) if type(value) is int else f"{value!r:.80}"


def _range(name: str, low: int, high: int) -> str:
    if name in THOUSANDTHS:
        return f"a number from {low / 1000:g} to {high / 1000:g} with at most three decimals"
    return f"a whole number from {low} to {high}"
