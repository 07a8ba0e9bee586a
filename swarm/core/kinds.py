"""The kinds of proposals and the fields of their bodies: one table, checked before anything else looks at a body.

    kind                  who                       what it does (accepted); derived events
    Genesis               the sentinel (sn)         admits the organisations of its capath, joins the sentinel
    OrganisationAdmitted  swci, sentinel's org      admits one more CA; OrganisationKnown
    NodeJoined            any admitted certificate  admits the node key; a new incarnation ends the earlier; NodeKnown
    NodeLeft              the node                  it leaves all contracts; NodeGone
    NodeLost              sn, voter                 no sign of life for too long; NodeGone, MemberGone
    Configuration         sn, the leader            these network nodes vote; VotersChanged
    ProtocolActivated     sn, voter                 newer rules hold, see core/rules; RulesActivated
    ForcedRecovery        swci, see core/voters     one network node decides alone, in a new epoch; Recovered, NodeGone
    SnRemoved             swci, see core/voters     the network node will not come back; NodeGone
    Enrolled              sl, contract's org        opens the contract or joins it; ContractOpened, MemberEnrolled
    Offer                 sl, member                weights are frozen; Offered, and SnapMade once all have
    WindowClosed          sn, voter                 the rest came too late; SnapMade
    Ready                 sl, member of the attempt holds all bytes; MemberReady, at the q-th Committed (and Finished)
    Suspect               sl, member of the attempt its data do not come (`alive`: it lives); SnapMade or Aborted by
                                                    majority
    DeadlinePassed        sn, voter                 SnapMade (next attempt) or Aborted; `fewest` says how blame is read
    Missing               sl, member                cannot get the model from anybody; BaseLost when nobody can have it
    Leave                 sl, member                MemberGone, and what follows for the round
    Evidence              sl, member                what an owner signed for a disputed shard; two such: Misbehaved
    ContractReset         swci, contract's org      the contract may be opened anew; ContractCleared
    ContractRebased       swci, contract's org      gives up a base that nobody can serve; BaseLost

Used by the ledger (which refuses a body that does not fit) and by wire/signed (which signs none that does not fit).
The rows of tasks, taskrunners and slots stand in `core/task_kinds`, those of roles in `core/role_kinds`, of datasets in
`core/datasets`.
Guarantees: after `check_body`, every field is there with its type and within its bounds, and there is no other; what
came with later rules than the given ones does not exist, in the same words in every release.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

from swarm.core.agreement import GIVEN_MAX, WEIGHT_MAX
from swarm.core.datasets import DATASET_FIELDS
from swarm.core.fields import (
    ADDRESS,
    ADDRESSES,
    CERTIFICATE,
    CONTRACT,
    COUNT_MAX,
    DIGEST,
    FIRST_RULES,
    FLAG,
    INCARNATION,
    REASON,
    UID,
    Field,
    bytes_of,
    is_map,
    list_of,
    optional,
    whole,
)
from swarm.core.interval import MEASURED_MAX
from swarm.core.joining_kinds import JOINING_FIELDS
from swarm.core.role_kinds import ROLE_FIELDS
from swarm.core.rules import KNOWN, has_kind
from swarm.core.task_kinds import INDEX, SLOT, TASK_FIELDS
from swarm.errors import BadInput

__all__ = ["COUNT_MAX", "FIELDS", "INTRODUCTIONS", "JOINING", "check_body", "check_fields", "check_kind", "known"]

TENSORS_MAX = 100_000
EPOCH_MAX = 2**20
RULES_MAX = 1_000_000
ROUND = Field("the number of a round", whole(0, COUNT_MAX))
ATTEMPT = Field("the number of an attempt", whole(0, 100))
RULES_VERSION = Field("a version of the ledger's rules", whole(FIRST_RULES, RULES_MAX))
SNAP = Field("the hash of a snap's entry (32 bytes)", bytes_of(32, 32))
ROLE = Field("a role", lambda value: value in ("sn", "sl", "swop", "swci"))


RATE_MAX, SEEN_MAX = 1 << 50, 1000
_PROOF = {"digest": bytes_of(32, 32), "signature": bytes_of(64, 64)}


def _is_proof(value: Any) -> bool:
    return is_map(value) and set(value) == set(_PROOF) and all(fits(value[name]) for name, fits in _PROOF.items())


PROOF = Field("a map of a shard's digest (32 bytes) and its owner's signature (64 bytes)", _is_proof)


def _rates(value: Any) -> bool:
    return is_map(value) and set(value) == {"up", "down"} and all(map(whole(1, RATE_MAX), value.values()))


def _seen(value: Any) -> bool:
    return is_map(value) and len(value) <= SEEN_MAX and all(UID.fits(u) and whole(1, RATE_MAX)(value[u]) for u in value)


def _counters(value: Any) -> bool:
    return is_map(value) and set(value) <= {"batches", "epochs"} and all(map(whole(0, COUNT_MAX), value.values()))


JOINING: dict[str, Field] = {
    "chain": Field("a certificate, with at most one intermediate", list_of(CERTIFICATE, 1, 2)),
    "node_key": Field("a node key (32 bytes)", bytes_of(32, 32)),
    "role": ROLE,
    "addresses": ADDRESSES,
    "incarnation": INCARNATION,
    "rules": Field("a version of rules after the first", whole(FIRST_RULES + 1, RULES_MAX), required=False),
    "after": Field("the index of an entry", whole(1, COUNT_MAX), required=False, since=5),
}
WEIGHT = Field(
    "a weight of 1 to 1000000",
    whole(1, WEIGHT_MAX),
    since=3,
    before=Field("a nodeWeightage of 1 to 100", whole(1, GIVEN_MAX)),
)

INTRODUCTIONS = ("Genesis", "NodeJoined", "ForcedRecovery")
"""Kinds that bring their author's certificates and node key: the author need not be known, or not yet."""

FIELDS: dict[str, dict[str, Field]] = {
    "Genesis": {
        "rules": RULES_VERSION,
        "anchors": Field("a list of CA certificates", list_of(CERTIFICATE, 1, 64)),
        "joined": Field("what NodeJoined holds", lambda value: _is_joining(value)),
        "created": Field("a time in ms", whole(0, COUNT_MAX)),
    },
    "OrganisationAdmitted": {"ca": Field("a CA certificate", CERTIFICATE)},
    "NodeJoined": JOINING,
    "NodeLeft": {},
    "NodeLost": {"uid": UID, "incarnation": INCARNATION, "reason": REASON},
    "Configuration": {"voters": Field("one to five uids of network nodes", list_of(UID.fits, 1, 5))},
    "ProtocolActivated": {"rules": RULES_VERSION},
    "ForcedRecovery": {
        **{name: JOINING[name] for name in ("chain", "node_key", "incarnation")},
        "epoch": Field("the number of an epoch", whole(1, EPOCH_MAX)),
        "uid": UID,
        "reason": REASON,
        "lost_after": Field("the index of an entry", whole(1, COUNT_MAX)),
    },
    "SnRemoved": {"uid": UID},
    "Enrolled": {
        "contract": CONTRACT,
        "schema": Field("a list of tensors", lambda value: isinstance(value, list) and len(value) <= TENSORS_MAX),
        "hash": Field("blake3 or sha256", lambda value: value in ("blake3", "sha256")),
        "initial_base": DIGEST,
        "options": Field("a map of options", is_map),
        "weight": WEIGHT,
        "syncFrequency": Field("a positive number of batches", whole(1, COUNT_MAX)),
        "data_address": ADDRESS,
        "leads": replace(FLAG, since=3),
        "slot": optional(SLOT),
        "fence": optional(INDEX),
    },
    "Offer": {
        "contract": CONTRACT,
        "round": ROUND,
        "base": DIGEST,
        "digest": DIGEST,
        "weight_permille": Field("a share of 1 to 1000", whole(1, 1000), required=False),
        "inactive": FLAG,
        "stop": FLAG,
        "counters": Field("counts of batches and epochs", _counters, required=False),
        "rates": Field("the rates 'up' and 'down' in bytes a second", _rates, required=False),
        "seen": Field("a map of uids to the bytes a second that came from there", _seen, required=False),
        "root": Field("a Merkle root (32 bytes)", bytes_of(32, 32), required=False),
        "measured": Field("a measurement, see core/interval", whole(0, MEASURED_MAX), required=False),
    },
    "WindowClosed": {"contract": CONTRACT, "round": ROUND},
    "Ready": {
        "contract": CONTRACT,
        "round": ROUND,
        "attempt": ATTEMPT,
        "digest": DIGEST,
        "shards": Field("a list of shard digests of 32 bytes", list_of(bytes_of(32, 32), 0, 1000), required=False),
        "snap": replace(SNAP, required=False, since=5),
    },
    "Suspect": {
        "contract": CONTRACT,
        "round": ROUND,
        "attempt": ATTEMPT,
        "uid": UID,
        "reason": REASON,
        "alive": replace(FLAG, since=5),
    },
    "DeadlinePassed": {"contract": CONTRACT, "round": ROUND, "attempt": ATTEMPT, "fewest": FLAG},
    "Missing": {"contract": CONTRACT, "digest": DIGEST},
    "Leave": {"contract": CONTRACT, "reason": REASON},
    "Evidence": {
        "contract": CONTRACT,
        "round": ROUND,
        "attempt": ATTEMPT,
        "snap": SNAP,
        "uid": UID,
        "shard": Field("the number of a shard", whole(0, 1000)),
        "first": PROOF,
        "second": optional(PROOF),
    },
    "ContractReset": {"contract": CONTRACT},
    "ContractRebased": {"contract": CONTRACT, "digest": DIGEST},
    **TASK_FIELDS,
    **JOINING_FIELDS,
    **ROLE_FIELDS,
    **DATASET_FIELDS,
}


def _is_joining(value: Any) -> bool:
    return is_map(value) and not _misfit("NodeJoined", value, KNOWN)


def check_body(kind: str, body: Any, version: int = KNOWN) -> None:
    """Raise BadInput, naming the field, unless the body is what its kind holds under this version of the rules."""
    check_kind(kind, version)
    check_fields(kind, body, version)


def check_fields(kind: str, body: Any, version: int) -> None:
    """The same for a kind that this version has."""
    misfit = _misfit(kind, body, version) if is_map(body) else "its body is no map"
    if misfit:
        raise BadInput(f"this {kind} proposal cannot be taken: {misfit}")


def known(kind: str, body: dict[str, Any], version: int) -> dict[str, Any]:
    """The body without the fields that this version of the rules does not have yet."""
    later = FIELDS[kind].keys() - _fields(kind, version).keys()
    return {name: value for name, value in body.items() if name not in later}


def check_kind(kind: str, version: int) -> None:
    """Raise BadInput unless this version of the rules has such a kind."""
    if kind not in FIELDS or not has_kind(kind, version):
        raise BadInput(
            f"a proposal of the kind {kind[:40]!r}, which rules version {version} of the ledger does not have",
            hint="if a newer release has it: it is taken once all nodes run that release, see swarm status",
        )


@cache
def _fields(kind: str, version: int) -> dict[str, Field]:
    """Those that it has under this version of the rules; whatever asks for them asks here."""
    return {name: field for name, ever in FIELDS[kind].items() if (field := ever.at(version))}


def _misfit(kind: str, body: dict[str, Any], version: int) -> str:
    fields = _fields(kind, version)
    if not body.keys() <= fields.keys():
        unknown = next(name for name in body if name not in fields)
        return f"unknown field {unknown[:40]!r}"
    for name, field in fields.items():
        if name not in body:
            if field.required:
                return f"the field '{name}' is missing"
        elif not field.fits(body[name]):
            return f"the field '{name}' has to be {field.expected}"
    return ""
