"""The member: what one learning node does about a contract, from "the program asks" to "the program has its answer".

Called by ``nodes/learning``, which performs what ``handle`` returns. The machine reads the contract as this node's own
replica of the ledger has it, and acts on nothing else. Guarantees: no ``Answer`` hands over merged weights before the
ledger has COMMITted their digest; nothing is offered on a base that this node does not hold; each ask is answered
exactly once, or the member gives up with a sentence.

    resting ──Asked──► offered ──SnapMade──► merging ──Merged──► ready ──Committed──► resting
                          │  ▲                  │ │                │
                          │  └──Aborted─────────┴─┼────────────────┘      (begin and end ask again; sync keeps its own)
                          │                       └──Committed──► overtaken ──Merged──► resting, ──Stalled──► fetching
                          └─ refused: the round began without it ──► late ──Committed──► fetching ──Fetched──► resting
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

from swarm.core.contract import Contract
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.member_steps import (
    Answer,
    Asked,
    BeginExchange,
    Effect,
    EndExchange,
    Event,
    Fetch,
    Fetched,
    FetchFailed,
    GiveUp,
    LedgerBack,
    LedgerLost,
    Merged,
    OfferJudged,
    Propose,
    Stalled,
    Tell,
    Ticked,
)
from swarm.errors import Refused, Unreachable

NOTE_EVERY_S = 10.0
FETCH_AGAIN_S = 2.0
ALONE_MAX = 10
"""Sync points that ``onTooFewPeers="local"`` may pass alone before it waits like the others."""


class Phase(Enum):
    RESTING = "resting"
    OFFERED = "offered"
    MERGING = "merging"
    READY = "ready"
    OVERTAKEN = "overtaken"
    """The others have committed; this node's own exchange goes on, and most often ends with the same bytes."""
    LATE = "late"
    FETCHING = "fetching"


EXCHANGING = (Phase.MERGING, Phase.READY)


class Member:
    """One learning node's part in one contract. ``holds`` is the digest of the committed model whose bytes it has."""

    def __init__(self, uid: str, contract: Contract, *, holds: str, checkin: str = "snapshot") -> None:
        self.uid = uid
        self.contract = contract
        self.holds = holds
        self.checkin = checkin
        self.phase = Phase.RESTING
        self.ask: Asked | None = None
        self.snap: SnapMade | None = None
        self.result = ""
        self.alone = 0
        self.batches_at_answer = 0
        self._ledger_lost: tuple[float, str] | None = None
        self._too_few_since: float | None = None
        self._stalled_here = False
        """Somebody's bytes do not come in this attempt, so it cannot end here."""
        self._unserved_since: float | None = None
        self._noted_s = 0.0
        self._fetch_again_s: float | None = None

    def handle(self, event: Event, now_s: float) -> list[Effect]:
        match event:
            case Asked():
                return self._asked(event, now_s)
            case OfferJudged():
                return self._judged(event)
            case SnapMade():
                return self._snapped(event)
            case Merged():
                return self._merged(event)
            case Stalled():
                return self._stalled(event)
            case Committed():
                return self._committed(event)
            case Aborted():
                return self._aborted(event)
            case Fetched():
                return self._fetched(event)
            case FetchFailed():
                return self._fetch_failed(event, now_s)
            case BaseLost():
                return self._base_lost(event)
            case Finished():
                return self._finished()
            case MemberGone():
                return self._gone(event)
            case ContractCleared():
                hint = "start the program again to enrol in the new one"
                return [GiveUp(Refused(f"contract {self.contract.name} was reset by a person", hint=hint))]
            case LedgerLost():
                self._ledger_lost = self._ledger_lost or (now_s, event.reason)
                return []
            case LedgerBack():
                self._ledger_lost = None
                return []
            case Ticked():
                return self._ticked(now_s)

    # ---- asking

    def _asked(self, ask: Asked, now_s: float) -> list[Effect]:
        assert self.ask is None, "the program asked twice without an answer"
        self.ask = ask
        self._too_few_since, self._unserved_since, self._noted_s = None, None, now_s
        if self._ledger_lost is not None:  # the wait begins here, however long the program has trained meanwhile
            self._ledger_lost = (now_s, self._ledger_lost[1])
        return self._pursue()

    def _pursue(self) -> list[Effect]:
        """The next step for the open ask: adopt what was missed, else offer."""
        assert self.ask is not None
        contract = self.contract
        if not contract.has_model:
            self.holds = contract.base  # nothing but the tensors' names and shapes
        if contract.finished or (self.ask.kind == "begin" and contract.has_model):
            return self._fetch(contract.base)
        if self.holds != contract.base:
            # An ended program still needs the base, to offer on it; a training one adopts it instead of offering.
            return self._fetch(contract.base)
        if self._may_go_alone():
            return self._go_alone()
        self.phase = Phase.OFFERED
        return [Propose("Offer", self._offer())]

    def _go_alone(self) -> list[Effect]:
        """An offer that was made already is replaced by the next one; its weights are not served meanwhile."""
        self.alone += 1
        note = f"too few peers ({self._missing()}): training on alone, {self.alone} of {ALONE_MAX}"
        return [self._answer("alone", note=note)]

    def _offer(self) -> dict[str, Any]:
        assert self.ask is not None
        return {
            "contract": self.contract.name,
            "round": self.contract.round,
            "base": self.contract.base,
            "digest": self.holds if self._source() == "base" else self.ask.digest,
            "inactive": self.ask.kind == "end" and self.checkin == "inactive",
            "stop": self.ask.kind == "end",
            "counters": {"batches": self.ask.batches, "epochs": self.ask.epochs},
        }

    def _source(self) -> Literal["own", "base"]:
        assert self.ask is not None
        return "base" if self.ask.kind == "end" and self.checkin == "active" and self.contract.has_model else "own"

    def _judged(self, event: OfferJudged) -> list[Effect]:
        if event.accepted or self.phase is not Phase.OFFERED or event.round != self.contract.round:
            return []
        if self.uid in self.contract.offers:  # it was made twice, around a time when this node counted as lost
            return []
        if self.contract.snap is not None or self.contract.finished:
            self.phase = Phase.LATE
            return []
        return [GiveUp(Refused(event.reason))]

    def _gone(self, event: MemberGone) -> list[Effect]:
        """This node counted as lost although it lives (its links were cut): its offer is void, so it offers again."""
        if event.uid != self.uid or event.what != "lost" or self.phase is not Phase.OFFERED:
            return []
        return [Propose("Offer", self._offer())]

    # ---- merging

    def _snapped(self, snap: SnapMade) -> list[Effect]:
        if self.ask is None or self.phase in (Phase.RESTING, Phase.FETCHING):
            return []
        if self.phase is Phase.OVERTAKEN:  # the others are a round ahead
            return [EndExchange(), *self._fetch(self.contract.base)]
        ends: list[Effect] = [EndExchange()] if self.phase in EXCHANGING else []
        if all(member.uid != self.uid for member in snap.members):
            self.phase, self.snap = Phase.LATE, None
            return ends
        self.phase, self.snap, self.result = Phase.MERGING, snap, ""
        self._stalled_here = False
        return [*ends, BeginExchange(snap, self._source())]

    def _merged(self, event: Merged) -> list[Effect]:
        if not self._current(event.round, event.attempt):
            return []
        ready = Propose("Ready", {**self._attempt(), "digest": event.digest})
        if self.phase is Phase.MERGING:
            self.phase, self.result = Phase.READY, event.digest
            return [ready]
        if event.digest != self.contract.base:
            return [EndExchange(), *self._fetch(self.contract.base)]
        assert self.snap is not None
        members, self.snap, self.holds = len(self.snap.members), None, event.digest
        return [ready, *self._settle("merged", members)]

    def _stalled(self, event: Stalled) -> list[Effect]:
        if not self._current(event.round, event.attempt):
            return []
        if self.phase is Phase.OVERTAKEN:
            return [EndExchange(), *self._fetch(self.contract.base)]
        self._stalled_here = True
        return [Propose("Suspect", {**self._attempt(), "uid": event.uid, "reason": event.reason})]

    def _current(self, round_: int, attempt: int) -> bool:
        return (
            self.phase in (Phase.MERGING, Phase.OVERTAKEN)
            and self.snap is not None
            and (self.snap.round, self.snap.attempt) == (round_, attempt)
        )

    def _attempt(self) -> dict[str, Any]:
        assert self.snap is not None
        return {"contract": self.contract.name, "round": self.snap.round, "attempt": self.snap.attempt}

    # ---- decided

    def _committed(self, event: Committed) -> list[Effect]:
        if self.ask is None:
            return []
        held, phase = self.result == event.digest, self.phase
        if phase is Phase.MERGING and self._current(event.round, event.attempt) and not self._stalled_here:
            self.phase = Phase.OVERTAKEN
            return []
        self.snap, self.result = None, ""
        if held and phase is Phase.READY:
            self.holds = event.digest
            return self._settle("merged", len(event.members))
        ends: list[Effect] = [EndExchange()] if phase in (Phase.MERGING, Phase.OVERTAKEN) else []
        return [*ends, *self._fetch(event.digest, event.signers)]

    def _aborted(self, event: Aborted) -> list[Effect]:
        if self.ask is None or self.phase in (Phase.RESTING, Phase.FETCHING, Phase.OVERTAKEN):
            return []
        ends: list[Effect] = [EndExchange()] if self.phase in EXCHANGING else []
        self.snap, self.result = None, ""
        if self.ask.kind == "sync":
            return [
                *ends,
                self._answer("kept", note=f"round {event.round} was aborted: {event.reason}; own weights kept"),
            ]
        return [*ends, Tell(f"round {event.round} was aborted: {event.reason}; asking again"), *self._pursue()]

    def _finished(self) -> list[Effect]:
        """Without a COMMIT of its own: nobody's weights count any more, so the base is final."""
        return self._pursue() if self.ask is not None and self.phase is Phase.OFFERED else []

    def _settle(self, how: Literal["merged", "adopted"], members: int) -> list[Effect]:
        """The node holds the base. An ended program waits for the final one, with its own weights offered anew."""
        assert self.ask is not None
        if self.ask.kind == "end" and not self.contract.finished:
            return self._pursue()
        note = ""
        if how == "adopted" and self.ask.kind == "sync":
            given_up = self.ask.batches - self.batches_at_answer
            note = f"missed a merge: adopted the model of round {self.contract.round - 1}, gave up {given_up} batches"
        return [self._answer(how, members=members, note=note)]

    # ---- catching up

    def _fetch(self, digest: str, holders: tuple[str, ...] = ()) -> list[Effect]:
        self.phase = Phase.FETCHING
        if self.holds == digest:
            return self._fetched(Fetched(digest))
        members = dict.fromkeys((*holders, *self.contract.holders(digest), *self.contract.live()))
        return [Fetch(digest, tuple(uid for uid in members if uid != self.uid))]

    def _fetched(self, event: Fetched) -> list[Effect]:
        if self.phase is not Phase.FETCHING or self.ask is None:
            return []
        self.holds, self._unserved_since = event.digest, None
        if event.digest != self.contract.base:  # another COMMIT came while the bytes were on their way
            return self._fetch(self.contract.base)
        return self._settle("adopted", 0)

    def _fetch_failed(self, event: FetchFailed, now_s: float) -> list[Effect]:
        if self.phase is not Phase.FETCHING:
            return []
        self._fetch_again_s = now_s + FETCH_AGAIN_S
        missing = Propose("Missing", {"contract": self.contract.name, "digest": event.digest})
        if self._unserved_since is not None:
            return [missing]  # said at the first try; `_fetching` goes on telling whom it waits for
        self._unserved_since = now_s
        return [Tell(f"the model {event.digest} could not be fetched: {event.reason}"), missing]

    def _base_lost(self, event: BaseLost) -> list[Effect]:
        if self.ask is None or self.phase is not Phase.FETCHING:
            return []
        self._unserved_since = None
        return [
            Tell(f"nobody holds the committed model any more; the base is {event.base} again"),
            *self._pursue(),
        ]

    # ---- waiting

    def _ticked(self, now_s: float) -> list[Effect]:
        if self.ask is None:
            return []
        if self._ledger_lost is not None:
            since, reason = self._ledger_lost
            return self._waiting(now_s, since, f"the ledger: {reason}")
        if self.phase is Phase.FETCHING:
            return self._fetching(now_s)
        if self.phase is not Phase.OFFERED:
            return []
        if not self._too_few():
            self._too_few_since = None
            return self._note(now_s, f"waiting for the offers of {self._missing()}")
        if self._may_go_alone():
            return self._go_alone()
        self._too_few_since = self._too_few_since if self._too_few_since is not None else now_s
        if self.contract.options.onTooFewPeers == "stop" and self.contract.has_model:  # who never came is waited for
            return [GiveUp(Unreachable(f"too few peers in contract {self.contract.name}: {self._missing()}"))]
        return self._waiting(now_s, self._too_few_since, f"peers: {self._missing()}")

    def _fetching(self, now_s: float) -> list[Effect]:
        if self._unserved_since is None or self._fetch_again_s is None or now_s < self._fetch_again_s:
            return []
        self._fetch_again_s = None
        whom = f"a peer that serves the model {self.contract.base}"
        return [*self._waiting(now_s, self._unserved_since, whom), *self._fetch(self.contract.base)]

    def _waiting(self, now_s: float, since_s: float, whom: str) -> list[Effect]:
        limit_s = self.contract.options.tooFewPeersSeconds
        if limit_s and now_s - since_s >= limit_s:
            hint = "onTooFewPeers and tooFewPeersSeconds of the callback say what to do about it"
            return [GiveUp(Unreachable(f"waited {limit_s} s in contract {self.contract.name} for {whom}", hint=hint))]
        left = f", {limit_s - (now_s - since_s):.0f} s left" if limit_s else ""
        return self._note(now_s, f"waiting for {whom}{left}")

    def _note(self, now_s: float, text: str) -> list[Effect]:
        if now_s - self._noted_s < NOTE_EVERY_S:
            return []
        self._noted_s = now_s
        return [Tell(text)]

    def _too_few(self) -> bool:
        return len(self.contract.live()) < self.contract.options.minPeers

    def _may_go_alone(self) -> bool:
        training = self.ask is not None and self.ask.kind == "sync"
        local = self.contract.options.onTooFewPeers == "local"
        return training and local and self._too_few() and self.alone < ALONE_MAX

    def _missing(self) -> str:
        """Whom this node waits for, by name; those who never enrolled have none."""
        contract = self.contract
        named = [str(contract.members[uid]) for uid in contract.waiting_for()]
        absent = contract.options.minPeers - len(contract.live())
        if absent > 0:
            named.append(f"{absent} more to enrol (minPeers {contract.options.minPeers})")
        return ", ".join(named) or "the ledger's decision"

    def _answer(
        self, how: Literal["merged", "adopted", "kept", "alone"], *, members: int = 0, note: str = ""
    ) -> Answer:
        assert self.ask is not None
        if how in ("merged", "adopted"):
            self.alone, self.batches_at_answer = 0, self.ask.batches
        self.phase, self.ask = Phase.RESTING, None
        decided = self.contract.round - (how != "alone")  # a decision, also an abort, opens the next round
        return Answer(how, decided, self.contract.base, members, self.contract.finished, note)
