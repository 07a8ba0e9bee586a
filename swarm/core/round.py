"""The round: from "these members offer" to "this digest is the base", as every node derives it from the ledger.

Called by `core/contract`, which has checked who speaks and which round is meant. Guarantees (I1, I2, I4 and I9, which
`check` asserts): one decision a round, COMMIT or ABORT; COMMIT only with a majority of equal Readys of its attempt; one
set of contributors for all shards of an attempt; never fewer than minPeers members. Weights are integers. Whose offer
was in and is not in what was committed is named by an event: MemberGone or Aborted.

    collecting ──snap──► merging, attempt 0 ──member gone, deadline──► attempt 1 ... 3
                             │ q-th equal Ready                          │ fourth attempt fails, below minPeers,
                             ▼                                           ▼ two digests, only weights of 0 left
                         Committed                                    Aborted

After either the contract begins the next round: with a new number, and after ABORT with the same base.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, fields, replace
from enum import Enum
from typing import Any, Literal

from swarm.core import blame, layout, readys
from swarm.core.events import (
    Aborted,
    Committed,
    Contributor,
    Event,
    Finished,
    MemberGone,
    MemberReady,
    Offered,
    Shard,
    SnapMade,
)
from swarm.core.line import Line
from swarm.core.offer import Offer, Terms, not_brought
from swarm.core.readys import Difference
from swarm.core.tensors import split
from swarm.core.weightcap import capped
from swarm.errors import Refused

ATTEMPTS = 4


class Phase(Enum):
    COLLECTING = "collecting"
    MERGING = "merging"


HEARD: dict[Phase, frozenset[str]] = {
    Phase.COLLECTING: frozenset({"Offer", "WindowClosed"}),
    Phase.MERGING: frozenset({"Ready", "Suspect", "DeadlinePassed"}),
}
"""The kinds that mean something in each phase; the others are refused by name."""


@dataclass(slots=True)
class Attempt:
    snap: SnapMade
    ready: dict[str, tuple[str, tuple[bytes, ...]]] = field(default_factory=dict)
    suspects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of these, who says that whom it suspects gives signs of life."""

    @property
    def uids(self) -> tuple[str, ...]:
        return tuple(member.uid for member in self.snap.members)


def quorum(members: int) -> int:
    return members // 2 + 1


class Round:
    """One round of one contract. Methods validate, then change, then say what follows."""

    def __init__(self, number: int, base: str, terms: Terms) -> None:
        self.number = number
        self.base = base
        self.terms = terms
        self.offers: dict[str, Offer] = {}
        self.window_closed = False
        self.attempt: Attempt | None = None
        self.heeded: set[str] = set()
        """Whose word alone explained why others had to wait for it, so that somebody was dropped by it."""
        self.line = Line(terms.picks)
        """Who takes part, where not everybody does: while offers are collected it holds all live members."""
        self.takes_all = False
        """Too few have offered for as long as the contract bears: nobody is left out of this round for a doubt."""

    @property
    def phase(self) -> Phase:
        return Phase.MERGING if self.attempt else Phase.COLLECTING

    @property
    def ending(self) -> bool:
        """As many as there have to be have stopped, of the members (before the snap: of those that have offered)."""
        uids: Iterable[str] = self.attempt.uids if self.attempt else self.offers
        return sum(self.offers[uid].stop for uid in uids) >= self.terms.min_peers

    @property
    def _final(self) -> bool:
        """What this round commits is the last. Of a group (`core/level`) what its leader brings from above may be."""
        if self.terms.stage == "down":
            return any(offer.stop for offer in self.offers.values() if offer.weight)
        return self.ending and self.terms.stage == "single"

    # ---- collecting

    def offer(self, uid: str, offer: Offer) -> list[Event]:
        known = self.offers.get(uid)
        if known is not None and known.digest == offer.digest:  # another one replaces it: the member trained on alone
            raise Refused(f"{offer.name} has offered already in round {self.number} of contract {self.terms.contract}")
        self.offers[uid] = offer
        return [Offered(self.terms.contract, self.number, uid)]

    def close_window(self, left_out: Collection[str] = ()) -> None:
        few = len(self.offers) < self.terms.min_peers
        if few and (left_out or self.line.can_move_up()):
            self.takes_all = self.takes_all or bool(left_out)
            self.line.move_up(self.offers)
            return
        if few:
            raise Refused(
                f"the window of round {self.number} of contract {self.terms.contract} stays open: "
                f"{len(self.offers)} of at least {self.terms.min_peers} members have offered"
            )
        self.window_closed = True

    def awaited(self, live: Collection[str]) -> list[str]:
        """Whose offers the round lacks, of these members."""
        first = self.line.first(live)
        return [uid for uid in first if uid not in self.offers and (first is live or uid in live)]

    @property
    def is_full(self) -> bool:
        """Whether as many programs that train have offered as the contract's rounds begin with."""
        goal = self.terms.goal
        return 0 < goal <= sum(not offer.stop for offer in self.offers.values())

    def snap_if_due(self, live: Collection[str]) -> list[Event]:
        """The snap, once enough and all live members (or all in time) have offered; those passed over are dropped.

        Where there is a goal, it is due when that is reached, and the others go on training.
        """
        waiting = [] if self.attempt or self.is_full else self.awaited(live)
        if self.attempt or len(self.offers) < self.terms.min_peers or (waiting and not self.window_closed):
            return []
        if not any(offer.weight for offer in self.offers.values()):
            ends = self.ending and self.terms.stage == "single"
            return [Finished(self.terms.contract, self.base)] if ends else []
        late = f"had not offered in round {self.number} when its window closed"
        return [
            *(MemberGone(self.terms.contract, uid, "dropped", late) for uid in sorted(waiting)),
            self._begin(0, self.offers),
        ]

    # ---- merging

    def ready(
        self, uid: str, attempt: int, digest: str, shards: tuple[bytes, ...], *, settles: bool = False
    ) -> list[Event]:
        """``settles``: Readys that differ wait for those that tell which one is that of most (`core/readys`)."""
        now = self._member_speaks(uid, attempt, "Ready")
        if uid in now.ready:
            if now.ready[uid][0] != digest:
                raise Refused(f"{self._name(uid)} is ready with {now.ready[uid][0]} already, not with {digest}")
            return []
        now.ready[uid] = (digest, shards)
        events: list[Event] = [MemberReady(self.terms.contract, self.number, attempt, uid)]
        if not settles and (found := readys.first_difference(now.ready, now.snap, self._name)):
            return [*events, self._differ(found)]
        if settles and len(sides := readys.sides(now.ready)) > 1:
            missing, needed = len(now.uids) - len(now.ready), self._quorum(now)
            if readys.is_open(sides, needed, missing):
                return events
            found = readys.outvoted(now.ready, now.snap, needed, self._name, lambda uid: self.terms.members[uid].owner)
            return [*events, self._differ(found)]
        if len(now.ready) < self._quorum(now):
            return events
        if self.terms.stage == "down" and (took := not_brought(self.offers, now.snap, digest)):
            return [*events, self._abort(took)]
        signers = tuple(sorted(now.ready))
        where = (self.terms.contract, self.number, attempt)
        return [*events, Committed(*where, digest, now.uids, signers, self._final)]

    def suspect(self, uid: str, attempt: int, accused: str, *, alive: bool = False) -> list[Event]:
        now = self._member_speaks(uid, attempt, "Suspect")
        if accused not in now.uids:
            raise Refused(f"{accused} is suspected and is no member of attempt {attempt} of round {self.number}")
        if accused == uid:
            raise Refused(f"{self._name(uid)} cannot suspect itself: it may leave")
        accusers = now.suspects.get(accused, ())
        if uid in accusers:
            return []
        now.suspects[accused] = (*accusers, uid)
        if alive:
            now.waiting[accused] = (*now.waiting.get(accused, ()), uid)
        words = self._words(now)
        worst = max(sorted(words.against), key=lambda each: len(words.against[each]))
        count, others = len(words.against[worst]), len(now.uids) - 1
        if 2 * count <= others:
            return []
        return self._drop([worst], f"was suspected by {count} of {others} others", words)

    def pass_deadline(self, attempt: int, *, fewest: bool) -> list[Event]:
        """``fewest``: of two that suspect each other only one goes. Entries from before it was there say: both."""
        now = self._current(attempt, "DeadlinePassed")
        words = self._words(now)
        accused = blame.most_suspected(words.against, now.uids)
        if accused:
            most = len(words.against[accused[0]])
            accused = blame.fewest(words.against, now.uids, self.terms.min_peers) if fewest else accused
            return self._drop(accused, f"was suspected by {most} others at the deadline", words)
        absent = [uid for uid in now.uids if uid not in now.ready]
        if len(absent) == len(now.uids):
            return self._again(now.uids, f"nobody was ready at the deadline of attempt {attempt}")
        return self.without(absent, "dropped", f"was not ready at the deadline of attempt {attempt}")

    def without(
        self, gone: Collection[str], what: Literal["dropped", "lost", "restarted", "left", "excluded"], reason: str
    ) -> list[Event]:
        """The round goes on without them: their offers are void; in merging the next attempt begins."""
        members = self.attempt.uids if self.attempt else ()
        events: list[Event] = [MemberGone(self.terms.contract, uid, what, reason) for uid in sorted(gone)]
        left = [uid for uid in members if uid not in gone]
        if len(left) < len(members):
            names = ", ".join(self._name(uid) for uid in sorted(gone))
            events += self._again(left, f"{names} {reason}")
        else:
            for uid in gone:
                self.offers.pop(uid, None)
                self.line.leave(uid)
        return events

    def cancel(self, reason: str) -> list[Event]:
        """End the round if anybody has begun it."""
        return [self._abort(reason)] if self.offers else []

    # ---- how

    def _quorum(self, now: Attempt) -> int:
        """Who was left out through a word that others' were passed on by may be honest, and does not agree."""
        return min(quorum(len(now.uids) + len(self.heeded)), len(now.uids))

    def _words(self, now: Attempt) -> blame.Words:
        return blame.counted(now.suspects, now.waiting, self.heeded, now.uids)

    def _drop(self, accused: list[str], reason: str, words: blame.Words) -> list[Event]:
        through = sorted({owner for uid in accused for owner in words.through.get(uid, ())})
        self.heeded.update(through)
        names = ", ".join(self._name(uid) for uid in through)
        return self.without(accused, "dropped", f"{reason}, some of whom wait for {names}" if names else reason)

    def _begin(self, number: int, uids: Iterable[str]) -> SnapMade:
        chosen = sorted(uids)
        weights = self._weights(chosen)
        sharded = self.terms.sharded
        snap = SnapMade(
            self.terms.contract,
            self.number,
            number,
            tuple(self._contributor(uid, weights[uid]) for uid in chosen),
            self._shards(chosen) if sharded else (),
            "sharded" if sharded else "broadcast",
            self.base,
        )
        self.attempt = Attempt(snap)
        return snap

    def _contributor(self, uid: str, weight: int) -> Contributor:
        offer = self.offers[uid]
        return Contributor(uid, weight, offer.digest, offer.address, offer.rate, offer.root)

    def _weights(self, uids: list[str]) -> dict[str, int]:
        weights = {uid: self.offers[uid].weight for uid in uids}
        if self.terms.capped:
            weights = capped(weights, {uid: self.terms.members[uid].owner for uid in uids})
        if not self.terms.first:
            return weights
        active = [uid for uid in uids if weights[uid]]
        earliest = min(active, key=lambda uid: self.offers[uid].ordinal) if active else ""
        return {uid: weight if uid == earliest else 0 for uid, weight in weights.items()}

    def _shards(self, uids: list[str]) -> tuple[Shard, ...]:
        offers = {uid: self.offers[uid] for uid in uids}
        claims, seen = {u: o.rate for u, o in offers.items()}, {u: dict(o.seen) for u, o in offers.items()}
        ranges = split(self.terms.leaves, layout.shares(layout.believed(claims, seen)))
        return tuple(Shard(uid, start, stop) for uid, (start, stop) in zip(uids, ranges, strict=True) if start < stop)

    def _again(self, uids: Collection[str], reason: str) -> list[Event]:
        assert self.attempt is not None
        number = self.attempt.snap.attempt + 1
        if len(uids) < self.terms.min_peers:
            return [self._abort(f"{reason}; {len(uids)} of at least {self.terms.min_peers} members are left")]
        if number >= ATTEMPTS:
            return [self._abort(f"{reason}, in the last of {ATTEMPTS} attempts")]
        if not any(self.offers[uid].weight for uid in uids):
            return [self._abort(f"{reason}; all who are left have weight 0")]
        return [self._begin(number, uids)]

    def _abort(self, reason: str) -> Aborted:
        uids: Iterable[str] = self.attempt.uids if self.attempt else self.offers
        attempt = self.attempt.snap.attempt if self.attempt else 0
        return Aborted(self.terms.contract, self.number, reason, tuple(sorted(uids)), attempt)

    def _differ(self, found: Difference) -> Aborted:
        named = {each.name: getattr(found, each.name) for each in fields(found)}
        return replace(self._abort(found.reason), **named)

    def _current(self, attempt: int, kind: str) -> Attempt:
        assert self.attempt is not None
        current = self.attempt.snap.attempt
        if attempt != current:
            raise Refused(f"this {kind} is for attempt {attempt} of round {self.number}, which is in attempt {current}")
        return self.attempt

    def _member_speaks(self, uid: str, attempt: int, kind: str) -> Attempt:
        now = self._current(attempt, kind)
        if uid not in now.uids:
            raise Refused(f"{uid} says {kind} and is no member of attempt {attempt} of round {self.number}")
        return now

    def _name(self, uid: str) -> str:
        return self.offers[uid].name if uid in self.offers else uid

    # ---- keeping

    def to_state(self) -> dict[str, Any]:
        names = [each.name for each in fields(Offer)]
        said = {uid: [getattr(offer, name) for name in names] for uid, offer in sorted(self.offers.items())}
        offers = [[uid, *(values if values[-1] else values[:-1])] for uid, values in said.items()]  # no doubts: as ever
        now = self.attempt
        attempt = now and [
            now.snap.attempt,
            now.snap.entry,
            list(now.uids),
            [[uid, digest, list(shards)] for uid, (digest, shards) in now.ready.items()],
            [[accused, list(accusers)] for accused, accusers in now.suspects.items()],
            *([[[accused, list(accusers)] for accused, accusers in now.waiting.items()]] if now.waiting else []),
        ]
        head = {"number": self.number, "base": self.base, "closed": self.window_closed}
        heeded = {"heeded": sorted(self.heeded)} if self.heeded else {}
        everybody = {"takes_all": True} if self.takes_all else {}
        return {**head, **heeded, **everybody, "offers": offers, "attempt": attempt, **self.line.to_state()}

    @classmethod
    def from_state(cls, state: dict[str, Any], terms: Terms) -> Round:
        new = cls(state["number"], state["base"], terms)
        new.offers = {uid: Offer(*rest) for uid, *rest in state["offers"]}
        new.window_closed = state["closed"]
        new.heeded = set(state.get("heeded", ()))
        new.takes_all = state.get("takes_all", False)
        new.line.restore(state)
        if state["attempt"]:
            number, entry, uids, ready, suspects, *waiting = state["attempt"]
            new._begin(number, uids)
            assert new.attempt is not None
            new.attempt.snap = replace(new.attempt.snap, entry=entry)
            new.attempt.ready = {uid: (digest, tuple(shards)) for uid, digest, shards in ready}
            new.attempt.suspects = {accused: tuple(accusers) for accused, accusers in suspects}
            new.attempt.waiting = {accused: tuple(by) for each in waiting for accused, by in each}
        return new

    def check(self) -> None:
        """The invariants that hold between any two entries."""
        now = self.attempt
        if now is None:
            assert set(self.offers) <= set(self.line.first(self.offers)), "I4: only who was picked offers"
            return
        uids, snap = now.uids, now.snap
        assert all(set(by) <= set(now.suspects[uid]) for uid, by in now.waiting.items()), "who waits suspects"
        assert not self.terms.picks or len(uids) <= self.terms.picks, "I4: as many as the contract says"
        assert list(uids) == sorted(set(uids)), "I4: members once each, by uid"
        assert set(uids) <= set(self.offers), "I8: members have offered on this base"
        assert len(uids) >= self.terms.min_peers, "I9: at least minPeers members"
        assert snap.base == self.base, "I8: merged on the newest base"
        assert 0 <= snap.attempt < ATTEMPTS, "I10: attempts end"
        assert any(member.weight for member in snap.members), "I11: somebody's weights count"
        assert set(now.ready) <= set(uids), "I2: only members are ready"
        most = max(map(len, readys.sides(now.ready)), default=0)
        assert most < self._quorum(now), "I1: the q-th equal Ready ends the round"
        assert len(now.ready) < len(now.uids), "I2: two digests end the round"
        for member in snap.members:
            offer = self.offers[member.uid]
            assert (member.digest, member.root) == (offer.digest, offer.root), "I5: what is merged is what was offered"
            lowered = self.terms.capped and member.weight <= offer.weight
            assert member.weight in (0, offer.weight) or lowered, "I11: with the weight that was offered"
            assert not self.terms.full or offer.root, "I5: every leaf is committed to before it moves"
        if snap.topology == "sharded":
            leaves = [leaf for shard in snap.shards for leaf in (shard.first_leaf, shard.stop_leaf)]
            assert (leaves[0], leaves[-1]) == (0, self.terms.leaves), "I4: every leaf in a shard"
            assert leaves[1:-1:2] == leaves[2:-1:2], "I4: every leaf in exactly one shard"
            assert {shard.owner for shard in snap.shards} <= set(uids), "I4: members own the shards"
