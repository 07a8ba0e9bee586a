"""Blame: from what the members of an attempt say about each other, who is left out of the next one.

Used by `core/round`. A Suspect says: no bytes come from there to me. Where that is so between two members, one of them
has to go, and not both. Guarantees: names come in the order of uids; the same words give the same names on every node.

A contribution may be bad for one owner only, by what it holds there or by never coming. Then that owner alone sees it,
and all others see an owner that lives and merges nothing. So their words are passed on to whom it suspects (`counted`).
An owner that makes this up has an honest member dropped by it, once: its word does so once a round, and the second time
the words of those who wait for it stay with itself. So one that lies costs a round at most one that does not.

Who blames whom is decided by progress, on the member (`core/exchanging`, `core/member`): signs of life are no bytes. An
owner that only lives is suspected by everybody who has merged its own shard and still waits; if so many wait that
nobody can tell, the attempt ends at its deadline, and the next one begins with each member naming who owed it most.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

CLEARLY = 1.5
"""Who holds up a contribution holds up everybody's shards too, which then owe half of what they were to send."""
Suspects = Mapping[str, tuple[str, ...]]
"""Who suspects whom: accused to accusers."""


@dataclass(frozen=True, slots=True)
class Words:
    """Suspicion as it counts: ``against`` whom by whom, and ``through`` whose word some of that was passed on."""

    against: Suspects
    through: Suspects


def counted(suspects: Suspects, waiting: Suspects, heeded: Collection[str], uids: Sequence[str]) -> Words:
    """``waiting``: of ``suspects``, who says of whom that it lives. ``heeded``: whose word had somebody dropped before.

    Who suspects most of the others is believed as little as whom most of them suspect.
    """
    against = {uid: list(by) for uid, by in suspects.items()}
    through: dict[str, tuple[str, ...]] = {}
    for owner, accusers in waiting.items():
        named = [uid for uid, by in suspects.items() if owner in by and owner not in waiting.get(uid, ())]
        if owner in heeded or not named or 2 * len(named) > len(uids) - 1:
            continue
        cause = named[0]
        for uid in accusers:
            if uid != cause:
                against[owner].remove(uid)
                against[cause] += [] if uid in against[cause] else [uid]
                through[cause] = (*(each for each in through.get(cause, ()) if each != owner), owner)
    return Words({uid: tuple(by) for uid, by in against.items()}, through)


def most_suspected(suspects: Suspects, uids: Sequence[str]) -> list[str]:
    """The members that most Suspects name; nobody when that is everybody."""
    most = max(map(len, suspects.values()), default=0)
    named = [uid for uid in uids if most and len(suspects.get(uid, ())) == most]
    return named if len(named) < len(uids) else []


def fewest(suspects: Suspects, uids: Sequence[str], least: int) -> list[str]:
    """Of those that most Suspects name, as few as leave none of them suspected by a member that stays.

    After the first no more than leave ``least`` members.
    """
    named = most_suspected(suspects, uids)
    against = {uid: set(suspects[uid]) for uid in named}
    gone: list[str] = []
    while any(against.values()) and not (gone and len(uids) - len(gone) <= least):
        worst = max(against, key=lambda uid: (len(against[uid]), _says(suspects, uid), uid))
        del against[worst]
        for accusers in against.values():
            accusers.discard(worst)
        gone.append(worst)
    return sorted(gone)


def _says(suspects: Suspects, uid: str) -> int:
    """How many this member suspects: who has trouble with many is more likely its cause."""
    return sum(uid in accusers for accusers in suspects.values())


def furthest_behind(owed: Mapping[str, int], due: Mapping[str, int]) -> str:
    """Who, of what it was to send, still owes a part clearly larger than the others' middle one; "" when all are slow.

    A link that all share makes everybody late alike, and to leave somebody out would not help. It takes three to tell.
    """
    parts = {uid: owed.get(uid, 0) / nbytes for uid, nbytes in sorted(due.items()) if nbytes}
    if len(parts) < 2:
        return ""
    worst = max(parts, key=lambda uid: parts[uid])
    others = sorted(part for uid, part in parts.items() if uid != worst)
    return worst if parts[worst] > CLEARLY * others[len(others) // 2] else ""


def differing(first: Sequence[bytes], second: Sequence[bytes]) -> tuple[int, ...]:
    """The shards, by number, of which two members hold different bytes; none when they did not say what they hold."""
    if len(first) != len(second):
        return ()
    return tuple(index for index, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
