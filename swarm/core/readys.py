"""Readys: which result most members of an attempt hold, and what it means that others hold another one.

Used by `core/round`. Two results that cannot both be right end the round: an owner may have sent different members
different shards, and then nobody can tell which of them is the merge. Up to the fourth version of the rules the first
Ready that differs does; since then others are waited for, until it is clear which result most members hold. Guarantees:
who holds that one is never named as outvoted; where there is no clear majority (of two members there never is) nobody
is, nor where not all tell what they hold of each shard: an owner may have sent them different ones, and nobody could
show it. No more shards are named than all members can show signatures for. What being outvoted means: `core/doubts`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from swarm.core import blame
from swarm.core.events import SnapMade

Readys = Mapping[str, tuple[str, tuple[bytes, ...]]]
"""By who is Ready: the digest of the whole result, and those of the shards."""
Name = Callable[[str], str]
SHOWN_MAX = 64 * 64
"""Each member may show each shard that is named: so much Evidence comes of one round at most."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Field by field as in `events.Aborted`."""

    reason: str
    disputed: tuple[int, ...]
    said: tuple[tuple[int, bytes], ...] = ()
    outvoted: tuple[str, ...] = ()
    untold: bool = False


def sides(ready: Readys) -> list[list[str]]:
    """Who holds the same, the most first. Where not all tell of their shards, the whole alone counts."""
    told = _all_tell(ready)
    by: dict[object, list[str]] = {}
    for uid, (digest, pieces) in ready.items():
        by.setdefault((digest, pieces if told else ()), []).append(uid)
    return sorted(by.values(), key=len, reverse=True)


def is_open(found: Sequence[Sequence[str]], needed: int, missing: int) -> bool:
    """Whether so many that are not Ready yet may still decide which side is that of most."""
    return len(found[0]) < needed <= len(found[0]) + missing


def first_difference(ready: Readys, snap: SnapMade, name: Name) -> Difference | None:
    """Of the newest Ready from one before it."""
    pieces = {said for _, said in ready.values() if said}
    if len({digest for digest, _ in ready.values()}) == 1 and len(pieces) <= 1:
        return None
    *_, (other, second) = ready.items()
    one = next(uid for uid, said in ready.items() if said != second)
    return _between(ready, one, [other], snap, name, len(second[1]))


def outvoted(ready: Readys, snap: SnapMade, needed: int, name: Name, owner: Callable[[str], str]) -> Difference:
    """Of all from those that most hold, if they are a clear majority: as many members as a COMMIT takes, and no fewer
    organisations than the others are of. Where nobody owns a shard (all merge all themselves) nobody has to tell."""
    most, *rest = sides(ready)
    others = [uid for side in rest for uid in side]
    found = _between(ready, most[0], others, snap, name, SHOWN_MAX // len(snap.members))
    said = tuple((piece, told) for piece in found.disputed for told in _said_by_owner(ready, snap, piece))
    clear = len(most) >= needed and len(set(map(owner, most))) >= len(set(map(owner, others)))
    untold = bool(snap.shards) and not _all_tell(ready)
    if not clear or untold:
        return Difference(found.reason, found.disputed, said, untold=untold)
    who = ", ".join(name(uid) for uid in sorted(others))
    reason = f"{found.reason}; {len(most)} hold {ready[most[0]][0]}, and the next rounds go on without {who}"
    return Difference(reason, found.disputed, said, tuple(sorted(others)))


def _all_tell(ready: Readys) -> bool:
    return all(pieces for _, pieces in ready.values())


def _between(ready: Readys, one: str, others: Sequence[str], snap: SnapMade, name: Name, most: int) -> Difference:
    """Names the shards that one of the others holds differently, if they said what they hold; else who holds what.
    Where these are more than ``most``, of each of the others as many: so who makes up many hides nobody's only one."""
    (first, pieces), (second, _) = ready[one], ready[others[0]]
    who = f"{name(one)} and {name(others[0])} hold different results, {first} and {second}"
    if first == second:
        who = f"{name(one)} and {name(others[0])} hold {first} and were told different distances"
    if not pieces or len(pieces) not in (len(snap.shards), 2 * len(snap.shards)):
        return Difference(who, ())
    turns = zip_longest(*(blame.differing(pieces, ready[other][1]) for other in others))
    disputed = sorted(list(dict.fromkeys(piece for turn in turns for piece in turn if piece is not None))[:most])
    owners = ", ".join(name(uid) for uid in dict.fromkeys(map(snap.owner_of, disputed)))
    return Difference(f"{who}; they differ in the shards of {owners}" if owners else who, tuple(disputed))


def _said_by_owner(ready: Readys, snap: SnapMade, piece: int) -> tuple[bytes, ...]:
    """What the owner of this piece holds of it by its own Ready, if it has said so."""
    _, pieces = ready.get(snap.owner_of(piece), ("", ()))
    return pieces[piece : piece + 1]
