"""Exchanging: what one member does in one attempt, from the snap to holding every byte of the result.

Driven by `runtime/exchange`, and by the simulator of whole swarms; it handles positions, never bytes. Guarantees: a
chunk is merged once, when every contributor of the snap has it here, in uid order and with the snap's weights whatever
came first; `Finish` comes once, when each byte of the result was merged here or verified as its owner's; who is blamed
owes bytes that did not come, or sent what cannot be used.

    scatter   Pull contributions to my shards ──► Merge chunk by chunk ──► Serve, and Sign each shard     ┐
    gather    Pull the others' shards from their owners, else from a member that holds them ──► verified  ├──► Finish

Methods that judge whole contributions come to it in stages; any other begins in the last one.

    measuring   Measure chunk by chunk, as contributions come          ──► all of mine is measured: Publish
    comparing   Pull what the other owners have published, as a shard  ──► all of it is here and verified: Weigh
    weighing    find out how to merge                                  ──► Weighed
    merging     as above

One pull at a time from a member for a purpose, and from few members at once, first from the next in the order of uids:
fifty that all turned to the same one, or to all others at once, would only wait for each other. What fails is blamed
once, and tried again while the attempt lasts: suspicion alone decides nothing. ``here`` outlives the attempt: the next
one begins with what of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from swarm.core import layout
from swarm.core.events import SnapMade
from swarm.core.exchanging_places import Lane, Place, chunks, others, owned, parts, places
from swarm.core.exchanging_silence import PATIENCE, SILENT_S, Silence, quiet_s
from swarm.core.exchanging_steps import (
    Arrived,
    Blame,
    Effect,
    Event,
    Failed,
    Finish,
    Held,
    Measure,
    Measured,
    Merge,
    Merged,
    Publish,
    Published,
    Pull,
    Serve,
    Sign,
    Spoilt,
    Stop,
    Ticked,
    Verified,
    Weigh,
    Weighed,
    What,
)
from swarm.core.spans import Range, Spans

AGAIN_S = 1.0
AT_ONCE = 8
"""Members that are pulled from at the same time for a purpose, not counting those that failed and are tried again."""
RELAYS = 3
"""Members that are asked for a shard of an owner that fails, before it is blamed; who is Ready is always asked."""

Stage = Literal["measuring", "comparing", "weighing", "merging"]


class Exchanging:
    """The part of ``uid`` in the attempt of ``snap``. ``kept``: what is here of whose contribution from before.

    ``judges``: the method needs to know how far apart the contributions are.
    """

    def __init__(
        self, snap: SnapMade, uid: str, nbytes: int, kept: Mapping[str, Spans] | None = None, *, judges: bool = False
    ) -> None:
        self.snap = snap
        self.uid = uid
        self.nbytes = nbytes
        self.shards = tuple(places(snap, uid, nbytes))
        self.mine = tuple(shard for shard in self.shards if shard.owner == uid)
        self.here: dict[str, Spans] = {}
        """What of each contribution is here, within my shards; members stand in the order in which they came."""
        self.held = Spans()
        """The bytes of the result that are merged here, or verified."""
        self.stage: Stage = "measuring" if judges else "merging"
        self.published = Spans()
        """What is here of what owners say about distances."""
        self.blamed: dict[str, str] = {}
        self.finished = False
        self._weights = {member.uid: member.weight for member in snap.members}
        self._contributors = [member.uid for member in snap.members if member.weight] if self.mine else []
        self._whole: set[str] = set()
        """Contributors whose bytes for my shards are all here and verified."""
        self._waiting = {start: stop for shard in self.mine for start, stop in chunks(shard)}
        """My chunks that wait for contributions."""
        self._working: dict[int, int] = {}
        """Those that are being measured or merged."""
        self._measured: dict[int, int] = {}
        """Those that are measured and not yet merged."""
        self._parts = parts(snap) if judges else []
        self._scattered_s = 0.0
        self._others = others(snap, uid)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._bad: set[str] = set()
        self._ready: list[str] = []
        self._silence = Silence()
        self._keep({**(kept or {}), uid: Spans([(0, nbytes)])})

    def _keep(self, kept: Mapping[str, Spans]) -> None:
        for uid in kept:
            if uid in self._contributors:
                self.here[uid] = Spans(r for shard in self.mine for r in kept[uid].within(shard.start, shard.stop))
                if not self._gaps(uid):
                    self._whole.add(uid)

    # ---- handling

    def begin(self, now_s: float) -> list[Effect]:
        self._expect("offer", {uid: self._gaps(uid) for uid in self._contributors})
        self._expect("distances", owned(self._parts))
        self._expect("shard", owned(self.shards))
        self._scattered_s = now_s + layout.expected_s(self.snap, self.nbytes)
        pulls = [effect for what in get_args(What) for effect in self._turn_to(what, now_s)]
        return [*pulls, *self._begin_work(list(self._waiting)), *self._compare(), *self._finish()]

    def _expect(self, what: What, pieces: Mapping[str, list[Range]]) -> None:
        for uid in self._others:
            if uid in pieces:
                self._lanes[what, uid] = Lane(what, uid, pieces[uid])

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        match event:
            case Arrived():
                return self._arrived(event, now_s)
            case Verified():
                return self._verified(event, now_s)
            case Failed():
                return self._failed(event, now_s)
            case Spoilt():
                self._bad.add(event.uid)
                return self._blame(event.uid, event.reason)
            case Measured():
                self._measured[event.start] = self._working.pop(event.start)
                return self._compare()
            case Published():
                return self._published()
            case Weighed():
                return self._weighed()
            case Merged():
                return self._merged(event)
            case Held():
                return self._held(event, now_s)
            case Ticked():
                self._excuse_pause(now_s)
                return [effect for lane in self._lanes.values() for effect in self._watch(lane, event.rtt_s, now_s)]

    @property
    def scattered(self) -> bool:
        """Whether all contributions to my shards are here."""
        return all(uid in self._whole for uid in self._contributors)

    def owed(self) -> dict[str, int]:
        """The bytes that are still to come of whose contribution or shard."""
        owed: dict[str, int] = {}
        for (_, uid), lane in self._lanes.items():
            missing = sum(stop - start for start, stop in lane.left)
            missing += lane.pull.stop - lane.upto if lane.pull else 0
            owed[uid] = owed.get(uid, 0) + missing
        return owed

    def kept(self) -> dict[str, Spans]:
        """What the next attempt may begin with: contributions as far as they are here, without any that is bad."""
        unsure = {uid for uid in self.here if uid not in self._whole and not self._gaps(uid)}
        return {uid: spans for uid, spans in self.here.items() if uid not in unsure | self._bad | {self.uid}}

    # ---- pulling

    def _turn_to(self, what: What, now_s: float) -> list[Effect]:
        """Turn to more members for this purpose, as many as there is room for."""
        lanes = [lane for lane in self._lanes.values() if lane.what == what]
        room = AT_ONCE - sum(lane.pull is not None for lane in lanes)
        fresh = [lane for lane in lanes if not lane.begun and lane.left][: max(room, 0)]
        for lane in fresh:
            lane.begun = True
        return [effect for lane in fresh for effect in self._next(lane, now_s)]

    def _next(self, lane: Lane, now_s: float, source: str = "") -> list[Effect]:
        """Pull what the lane has left, from its own member unless another ``source`` is to be tried."""
        if not lane.left or lane.pull is not None:
            return []
        start, stop = lane.left.pop(0)
        lane.pull = Pull(lane.what, lane.of, source or lane.of, start, stop)
        lane.upto, lane.moved_s, lane.heard_s, lane.again_s = start, now_s, now_s, None
        lane.stopping, lane.alive = "", False
        return [lane.pull]

    def _lane_of(self, pull: Pull) -> Lane | None:
        lane = self._lanes.get((pull.what, pull.of))
        return lane if lane is not None and lane.pull == pull else None

    def _arrived(self, event: Arrived, now_s: float) -> list[Effect]:
        lane, pull = self._lane_of(event.pull), event.pull
        if lane is None:
            return []
        if lane.what != "offer" or event.upto > lane.upto:
            self._silence.ends(lane, now_s)
        lane.heard_s = now_s
        if event.upto <= lane.upto:
            return []
        assert event.upto <= pull.stop, (event, lane)
        since, lane.upto, lane.moved_s = lane.upto, event.upto, now_s
        if pull.what != "offer":
            return []
        self.here.setdefault(pull.of, Spans()).add(pull.start, event.upto)
        return self._begin_work(list(self._starts(since, event.upto)))

    def _verified(self, event: Verified, now_s: float) -> list[Effect]:
        lane, pull = self._lane_of(event.pull), event.pull
        if lane is None:
            return []
        assert lane.upto == pull.stop, (event, lane)
        lane.pull, lane.tried, lane.failure = None, [], ""
        if pull.what == "shard":
            self.held.add(pull.start, pull.stop)
        elif pull.what == "distances":
            self.published.add(pull.start, pull.stop)
        elif not lane.left:
            self._whole.add(pull.of)
        return [*self._next(lane, now_s), *self._turn_to(pull.what, now_s), *self._compare(), *self._finish()]

    def _failed(self, event: Failed, now_s: float) -> list[Effect]:
        lane, pull = self._lane_of(event.pull), event.pull
        if lane is None:
            return []
        reason = lane.stopping or event.reason
        lane.pull, lane.again_s = None, now_s + AGAIN_S
        effects: list[Effect] = []
        if event.bad:
            self._bad.add(pull.source)
            effects += self._blame(pull.source, reason)
        if pull.what == "offer":
            gaps = list(self._here(pull.of).gaps(pull.start, pull.stop))
            lane.left = [*(gaps or [(pull.stop, pull.stop)]), *lane.left]  # all here, not verified: ask for the end
            return [*effects, *self._blame(pull.of, reason), *self._turn_to(pull.what, now_s)]
        lane.left.insert(0, (pull.start, pull.stop))  # from the beginning: who sent which part would not be known
        lane.tried.append(pull.source)
        if not lane.failure:
            lane.failure, lane.lived = reason, lane.alive and not event.bad
        if source := self._relay(lane):
            return [*effects, *self._next(lane, now_s, source)]
        return [*effects, *self._blame(lane.of, lane.failure, alive=lane.lived), *self._turn_to(pull.what, now_s)]

    def _relay(self, lane: Lane) -> str:
        """Who else may hold this owner's shard: those who are Ready, then some others; "" when all were asked."""
        others = [uid for uid in self._others if uid != lane.of][:RELAYS]
        candidates = [uid for uid in (*self._ready, *others) if uid not in (*lane.tried, *self._bad, self.uid)]
        return candidates[0] if candidates else ""

    def _held(self, event: Held, now_s: float) -> list[Effect]:
        self._ready.append(event.uid)
        if event.uid in (self.uid, *self._bad):
            return []
        idle = [lane for lane in self._lanes.values() if lane.what != "offer" and lane.begun and lane.pull is None]
        return [effect for lane in idle for effect in self._next(lane, now_s, event.uid)]

    # ---- watching

    def _excuse_pause(self, now_s: float) -> None:
        if pause_s := self._silence.pause_s(now_s):
            self._scattered_s += pause_s
            for lane in self._lanes.values():
                lane.moved_s = min(lane.moved_s + pause_s, now_s)
                lane.heard_s = min(lane.heard_s + pause_s, now_s)

    def _watch(self, lane: Lane, rtt_s: Mapping[str, float], now_s: float) -> list[Effect]:
        if lane.pull is None:
            return self._again(lane, now_s)
        waited_s = self._kept_waiting_s(lane, now_s) / PATIENCE
        silent_s = max(quiet_s(lane, now_s), waited_s)
        if lane.stopping or silent_s < SILENT_S:  # patience is never less, and takes a look at every lane
            return []
        if silent_s < self._silence.patience_s(lane, self._lanes.values(), rtt_s.get(lane.pull.source, 0.0), now_s):
            return []
        lane.alive = quiet_s(lane, now_s) < waited_s
        lane.stopping = f"no byte of its {lane.what} came for {now_s - lane.moved_s:.0f} s"
        return [Stop(lane.pull, lane.stopping)]

    def _kept_waiting_s(self, lane: Lane, now_s: float) -> float:
        """How long an owner that lives has kept this member waiting, which may be for reasons of its own."""
        if lane.what == "offer" or self._waiting or self._working:
            return 0.0
        if lane.what == "distances":  # it says nothing before it has everything
            return now_s - max(lane.moved_s, self._scattered_s)
        return now_s - lane.moved_s if self.stage == "merging" else 0.0

    def _again(self, lane: Lane, now_s: float) -> list[Effect]:
        if lane.again_s is None or now_s < lane.again_s or lane.of in self._bad:
            return []
        lane.tried, lane.failure = [], ""
        return self._next(lane, now_s)

    def _blame(self, uid: str, reason: str, *, alive: bool = False) -> list[Effect]:
        if uid in self.blamed:
            return []
        self.blamed[uid] = reason
        return [Blame(uid, reason, alive)]

    # ---- merging

    def _here(self, uid: str) -> Spans:
        return self.here[uid] if uid in self.here else Spans()

    def _gaps(self, uid: str) -> list[Range]:
        """What of this contribution is still to come."""
        return [gap for shard in self.mine for gap in self._here(uid).gaps(shard.start, shard.stop)]

    def _starts(self, start: int, stop: int) -> Iterator[int]:
        """The waiting chunks that have bytes in this range."""
        for shard in self.mine:
            yield from (first for first, _ in chunks(shard, start, stop) if first in self._waiting)

    def _begin_work(self, starts: list[int]) -> list[Effect]:
        """Begin with those of these chunks that every contributor has here."""
        effects: list[Effect] = []
        here = [self._here(uid) for uid in self._contributors]
        for start in starts:
            stop = self._waiting[start]
            if all(spans.covers(start, stop) for spans in here):
                self._working[start] = self._waiting.pop(start)
                effects.append((Merge if self.stage == "merging" else Measure)(start, stop, self._parties()))
        return effects

    def _parties(self) -> tuple[tuple[str, int], ...]:
        return tuple((uid, self._weights[uid]) for uid in sorted(self._contributors))

    def _compare(self) -> list[Effect]:
        """Go on to the next stages, if what they need is here."""
        effects: list[Effect] = []
        if self.stage == "measuring" and not (self._waiting or self._working):
            self.stage = "comparing"
            effects += [Publish()] if any(self._own_parts()) else []
        if self.stage == "comparing" and self.published.covers(0, self._parts[-1].stop if self._parts else 0):
            self.stage = "weighing"
            effects += [Weigh()]
        return effects

    def _published(self) -> list[Effect]:
        for part in self._own_parts():
            self.published.add(part.start, part.stop)
        return self._compare()

    def _own_parts(self) -> Iterator[Place]:
        return (part for part in self._parts if part.owner == self.uid and part.start < part.stop)

    def _weighed(self) -> list[Effect]:
        assert self.stage == "weighing", self.stage
        self.stage = "merging"
        self._working, self._measured = self._measured, {}
        merges = [Merge(start, stop, self._parties()) for start, stop in sorted(self._working.items())]
        return [*merges, *self._finish()]

    def _merged(self, event: Merged) -> list[Effect]:
        stop = self._working.pop(event.start)
        shard = next(shard for shard in self.mine if shard.start <= event.start < shard.stop)
        before = self._upto(shard)
        self.held.add(event.start, stop)
        upto = self._upto(shard)
        serve: list[Effect] = [Serve(shard.start, upto)] if upto > before else []
        sign: list[Effect] = [Sign(shard.start)] if upto == shard.stop else []
        return [*serve, *sign, *self._finish()]

    def _upto(self, shard: Place) -> int:
        return next((start for start, _ in self.held.gaps(shard.start, shard.stop)), shard.stop)

    # ---- the end

    def _finish(self) -> list[Effect]:
        if self.finished or not self.held.covers(0, self.nbytes):
            return []
        if self.stage != "merging" or not self.scattered:
            return []  # it is merged, and still may turn out to be something else than was offered
        self.finished = True
        return [Finish()]

    def check(self) -> None:
        """What holds between any two events."""
        members = {member.uid: member.weight for member in self.snap.members}
        counted = [uid for uid, weight in members.items() if weight]
        merged = [span for shard in self.mine for span in self.held.within(shard.start, shard.stop)]
        assert all(self._here(uid).covers(*span) for uid in counted for span in merged), "I4: merged without somebody"
        assert self._weights == members, "I11: weights are the snap's"
        under_way = self._waiting | self._working | self._measured
        assert not any(self.held.covers(*chunk) for chunk in under_way.items()), "I11: every chunk is merged once"
        assert not self.finished or self.held == Spans([(0, self.nbytes)]), "I6: Ready holds all bytes"
        assert not self.finished or self.scattered, "I5: all that was merged is what was offered"
        assert set(self.blamed) <= set(members), "only members are blamed"
        for lane in self._lanes.values():
            assert lane.pull is None or lane.pull.start <= lane.upto <= lane.pull.stop
