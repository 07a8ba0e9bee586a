"""Whom a contract waits for before it goes on: names for people.

Called by `core/patience` for the log of who waits, and by `nodes/status`. Guarantee: as long as there are too few,
somebody is named, or how many have yet to enrol; a state is told in one word.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.names import told_apart

NAMED_MAX = 5
MAY_COME_BACK = ("lost", "restarted", "dropped")
HERE = ("live", *MAY_COME_BACK)


def names(contract: Contract) -> list[str]:
    """All of them: who has to come back or to enrol first, then whose word the round lacks."""
    return [*absent(contract), *lacking(contract)]


def lacking(contract: Contract) -> list[str]:
    """Whose word the round lacks."""
    called = _called(contract)
    return [called[uid] for uid in contract.waiting_for()]


def _called(contract: Contract) -> dict[str, str]:
    """How members are printed: told apart from those that are here, or may come back, by the same name."""
    every = {uid: str(member) for uid, member in contract.members.items()}
    return every | told_apart({uid: every[uid] for uid, m in contract.members.items() if m.state in HERE})


def absent(contract: Contract) -> list[str]:
    """Who has to come, or to come back, before the contract can go on; empty while enough are there."""
    if contract.finished:
        return []
    options = contract.options
    lacking = options.minPeers - len(contract.live())
    said = _gone(contract, lacking) if lacking > 0 else []
    if (new := lacking - _may_come_back(contract)) > 0:
        said.append(f"{new} more to enrol")
    if said:
        said[-1] += f" (minPeers {options.minPeers})"
    if unled(contract):
        said.append(f"a leader that merges in contract {options.upper} for this group")
    return said


def unled(contract: Contract) -> bool:
    """Nobody is there to bring what comes from above."""
    leaders = (m for m in contract.members.values() if m.leads and m.state in ("live", "dropped"))
    return contract.level.stage == "down" and not any(leaders)


def _may_come_back(contract: Contract) -> int:
    return sum(member.state in MAY_COME_BACK for member in contract.members.values())


def _gone(contract: Contract, lacking: int) -> list[str]:
    """Who was there, the newest first; last those in whose name somebody else is there by now."""
    there = {str(contract.members[uid]) for uid in contract.live()}
    gone = [(uid, member) for uid, member in contract.members.items() if member.state in MAY_COME_BACK]
    gone.sort(key=lambda each: (str(each[1]) in there, -each[1].ordinal))
    called = _called(contract)
    named = [f"{called[uid]} {member.state}" for uid, member in gone[:NAMED_MAX]]
    if more := len(gone) - len(named):
        named.append(f"{more} more")
    return [f"{lacking} of: {', '.join(named)}"] if len(gone) > lacking else named
