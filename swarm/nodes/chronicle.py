"""Ledger events as lines for the log: names instead of uids, one sentence each.

Used by ``nodes/sn``. Events that only machines care for have no line.
"""

from __future__ import annotations

from swarm.core.events import (
    Aborted,
    BaseLost,
    Committed,
    ContractCleared,
    ContractOpened,
    Event,
    Finished,
    MemberEnrolled,
    MemberGone,
    NodeGone,
    NodeKnown,
    OrganisationKnown,
    Recovered,
    RulesActivated,
    SnapMade,
    VotersChanged,
)
from swarm.core.ledger import Ledger


def line(event: Event, ledger: Ledger) -> str | None:
    match event:
        case OrganisationKnown():
            return f"organisation {event.label} is admitted"
        case NodeKnown():
            return f"{_who(event.uid, ledger)} joined ({event.how})"
        case NodeGone():
            return f"{_who(event.uid, ledger)} is gone: {event.reason}"
        case VotersChanged():
            return f"the ledger is decided by {', '.join(_who(uid, ledger) for uid in event.voters)}"
        case RulesActivated():
            return f"the ledger follows rules version {event.version} from here on"
        case Recovered():
            ended = ", ".join(_who(uid, ledger) for uid in event.ended)
            return (
                f"FORCED RECOVERY, epoch {event.epoch}: {_who(event.uid, ledger)} decides alone, {event.reason}; "
                f"what {ended} acknowledged behind entry {event.lost_after} is lost"
            )
        case ContractOpened() | ContractCleared() | MemberEnrolled() | MemberGone():
            return _membership(event, ledger)
        case SnapMade():
            return f"contract {event.contract}: round {event.round}.{event.attempt}, {len(event.members)} peers merge"
        case Committed():
            return f"contract {event.contract}: round {event.round} committed {event.digest}"
        case Aborted():
            return f"contract {event.contract}: round {event.round} aborted, {event.reason}"
        case BaseLost():
            return f"contract {event.contract}: nobody holds {event.digest} any more, the base is {event.base}"
        case Finished():
            return f"contract {event.contract}: finished with {event.digest}"
        case _:
            return None


def _membership(event: ContractOpened | ContractCleared | MemberEnrolled | MemberGone, ledger: Ledger) -> str:
    match event:
        case ContractOpened():
            return f"contract {event.contract}: opened by {_who(event.uid, ledger)}"
        case ContractCleared():
            return f"contract {event.contract}: reset by {_who(event.by, ledger)}"
        case MemberEnrolled():
            return f"contract {event.contract}: {_who(event.uid, ledger)} enrolled ({event.how})"
        case MemberGone():
            return f"contract {event.contract}: {_who(event.uid, ledger)} {event.what}, {event.reason}"


def _who(uid: str, ledger: Ledger) -> str:
    node = ledger.nodes.get(uid)
    return f"{node.identity.name} ({node.identity.organisation})" if node else uid
