"""The member: what one learning node does about a contract, from "the program asks" to "the program has its answer".

Called by ``nodes/learning``, which performs what ``handle`` returns. The machine reads the contract as this node's own
replica of the ledger has it, and acts on nothing else. Guarantees: no ``Answer`` hands over merged weights before the
ledger has COMMITted their digest (I7); nothing is offered on a base that this node does not hold (I8); each ask is
answered exactly once, or the member gives up with a sentence; a change that does not count is told to its program.

    resting ──Asked──► offered ──SnapMade──► merging ──Merged──► ready ──Committed──► resting
              │ ▲         │  ▲                  │ │                │
              │ │         │  └──Aborted─────────┴─┼────────────────┘      (begin and end ask again; sync keeps its own)
              │ │         │                       └──Committed──► overtaken ──Merged──► resting, ──Stalled──► fetching
              │ │         └─ refused: the round began without it ──► late ──Committed──► fetching
              │ │   a base that is not here ──► fetching ──FetchFailed──► behind ──Ticked──► fetching
              │ └─ Fetched: begin, or too late to count              │
              │   the round takes others ──► sitting out ──Committed──► fetching
              │   the group has merged, and this leads it ──► climbing ──Lifted──► offered, refused ──► climbing
              └─ the others are ahead ──► rebasing ◄── Fetched ──────┘
                                            └──Rebased──► offered, with less weight
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from swarm.core import contributing
from swarm.core import member_steps as m
from swarm.core.ascent import Ascent
from swarm.core.catchup import CatchUp
from swarm.core.contract import Contract
from swarm.core.events import Aborted, BaseLost, Committed, ContractCleared, Finished, MemberGone, SnapMade
from swarm.core.lineage import Lineage
from swarm.core.part import Part
from swarm.core.patience import Patience
from swarm.core.phase import EXCHANGING, Phase
from swarm.errors import Refused

__all__ = ["Member", "Phase"]
DOUBTED = (
    "this round goes on without this node, whose result was lately another than that of most others: "
    "compare its release, memory and disk with theirs if that happens again"
)


class Member:
    """One learning node's part in one contract.

    ``holds``: the digest of the committed model whose bytes it has. ``origin``: of the one that the program's weights
    descend from, when it has trained before this member was made.
    """

    def __init__(
        self, uid: str, contract: Contract, *, holds: str, origin: str = "", checkin: str = "snapshot"
    ) -> None:
        self.uid = uid
        self.contract = contract
        self.holds = holds
        self.checkin = checkin
        self.phase = Phase.RESTING
        self.ask: m.Asked | None = None
        self.part: Part | None = None
        self.lineage = Lineage(uid, contract, origin or holds)
        self._ascent = Ascent(uid, contract)
        self._patience = Patience(contract)
        self._catchup = CatchUp(uid, contract, self.lineage, self._patience)
        self._given = contributing.Given()
        """To the round that the open ask is in, as it was when the last step was chosen."""
        self._now_s = 0.0
        self._handlers: dict[type, Callable[[Any], list[m.Effect]]] = {
            m.Asked: self._asked, m.OfferJudged: self._judged, m.Ticked: self._ticked, m.Lifted: self._lifted,
            m.Merged: self._merged, m.Owed: self._told_owed, m.Stalled: self._stalled,
            m.Fetched: self._fetched, m.FetchFailed: self._fetch_failed,
            m.Rebased: self._rebased, m.RebaseFailed: self._rebase_failed,
            SnapMade: self._snapped, Committed: self._committed, Aborted: self._aborted, MemberGone: self._gone,
            BaseLost: self._base_lost, Finished: self._finished, ContractCleared: self._cleared,
            m.LedgerLost: self._ledger, m.LedgerBack: self._ledger,
        }  # fmt: skip

    def handle(self, event: m.Event, now_s: float) -> list[m.Effect]:
        self._now_s = now_s
        if isinstance(event, SnapMade | Committed | Aborted) and event.round < self._given.round:
            return []  # the contract, as it is here, was past that when this node's step was chosen
        return self._handlers[type(event)](event)

    # ---- asking

    def _asked(self, ask: m.Asked) -> list[m.Effect]:
        assert self.ask is None, "the program asked twice without an answer"
        self.ask = ask
        self._patience.begin(self._now_s)
        self._catchup.anew()
        self.lineage.asked(ask.batches)
        return self._pursue()

    def _pursue(self) -> list[m.Effect]:
        """The next step for the open ask: catch up with what was missed, then offer."""
        assert self.ask is not None
        contract = self.contract
        self._given = contributing.nothing(contract)
        if not contract.has_model:
            self.holds = contract.base  # nothing but the tensors' names and shapes
        if self._given.down and self.holds == contract.base:
            return self._descend()
        if self._catchup.comes_first(self.ask, self.holds):
            return self._fetch(contract.base)
        if self._patience.may_go_alone(self.ask):
            return self._go_alone()
        if contract.sits_out(self.uid):
            self.phase = Phase.SITTING_OUT
            return [m.Tell(DOUBTED)] if self.uid in contract.left_out() else []
        source = contributing.source(self.ask, contract, self.lineage, self.checkin)
        if source == "rebased" and not self.lineage.on_base:
            self.phase = Phase.REBASING
            return [m.Rebase(self.lineage.origin, contract.base)]
        self.phase = Phase.OFFERED
        return [m.Propose("Offer", self._offer())]

    def _go_alone(self) -> list[m.Effect]:
        """An offer that was made already is replaced by the next one; its weights are not served meanwhile."""
        return [self._answer("alone", note=self._patience.go_alone())]

    def _offer(self) -> dict[str, Any]:
        assert self.ask is not None
        assert self.holds == self.contract.base, "I8: offers are on the newest base, and it is here"
        of = (self.ask, self.contract, self.lineage, self.checkin)
        body = contributing.offer(*of, uid=self.uid, lifted=self._ascent.lifted)
        down = contributing.down(self.contract)
        changes = not down and contributing.source(*of) != "base"
        self._given = contributing.Given(self.contract.round, down, body["digest"], changes)
        return body

    def _descend(self) -> list[m.Effect]:
        """The group has merged: it takes what comes from above, which its leader has to bring first."""
        climb = self._ascent.climb()
        self.phase = Phase.CLIMBING if climb else Phase.OFFERED
        return [climb or m.Propose("Offer", self._offer())]

    def _lifted(self, event: m.Lifted) -> list[m.Effect]:
        if self.phase is not Phase.CLIMBING:
            return []
        self._ascent.lifted = event
        return self._pursue()

    def _judged(self, event: m.OfferJudged) -> list[m.Effect]:
        if self.phase is not Phase.OFFERED or event.round != self.contract.round:
            return []  # that offer is past
        if self.uid in self.contract.offers:
            return []  # it was made twice, around a time when this node counted as lost
        if event.accepted:
            return self._counted_again()
        if self.contract.snap is not None or self.contract.finished:
            return self._passed_over(event.round)
        if self._given.down and self._ascent.refused():
            return self._descend()
        return [m.GiveUp(Refused(event.reason))]

    def _counted_again(self) -> list[m.Effect]:
        """It was gone when its round was drawn, or left out of it: its offer said only that it is there."""
        return self._pursue() if self.contract.snap is None and not self.contract.finished else []

    def _passed_over(self, round_: int) -> list[m.Effect]:
        untold = self.phase is Phase.OFFERED
        self.phase = Phase.LATE
        if not untold:
            return []
        return [m.Tell(f"round {round_} began without this node's weights: waiting for what it decides")]

    def _gone(self, event: MemberGone) -> list[m.Effect]:
        """An offer of this node is void; where it waits for a snap (its links were cut, it lives) it offers again."""
        if event.uid != self.uid or self.ask is None:
            return self._pursue() if self._is_next() else []  # in the place of who is gone
        if event.what == "excluded":
            return [m.GiveUp(Refused(f"this node is excluded from contract {self.contract.name}: it {event.reason}"))]
        if self.phase in EXCHANGING:
            reach = "; if that happens in every round, see that the others reach its --host-ip and --sl-fs-port"
            hint = reach if event.what == "dropped" else ""
            return [m.Tell(f"this round goes on without this node's weights: it {event.reason}{hint}")]
        if event.what == "lost" and self.phase is Phase.SITTING_OUT:
            return [m.Tell(f"this node {event.reason}"), *self._pursue()]
        if event.what != "lost" or self.phase is not Phase.OFFERED:
            return []
        if self.holds != self.contract.base:  # decided meanwhile: that is on its way here
            return [m.Tell(f"this node {event.reason}")]
        return [m.Tell(f"this node {event.reason}: offering again"), m.Propose("Offer", self._offer())]

    def _is_next(self) -> bool:
        out = self.phase is Phase.SITTING_OUT and self.contract.round == self._given.round
        return out and not self.contract.sits_out(self.uid)

    # ---- merging

    def _snapped(self, snap: SnapMade) -> list[m.Effect]:
        if self.phase not in (Phase.OFFERED, Phase.LATE, Phase.OVERTAKEN, *EXCHANGING):
            return []
        if self.phase is Phase.OVERTAKEN:  # the others are a round ahead
            return [m.EndExchange(), *self._fetch(self.contract.base)]
        ends = self._ends()
        before = self.part
        self.part = None
        if all((member.uid, member.digest) != (self.uid, self._given.digest) for member in snap.members):
            return [*ends, *self._passed_over(snap.round)]
        assert self.ask is not None
        self.phase = Phase.MERGING
        self.part = Part(snap, self.uid, self.ask.digest, self.holds)
        slow = before.retried(self.part, self.contract.schema.nbytes) if before else []
        return [*ends, m.BeginExchange(snap, self.part.source), *slow]

    def _merged(self, event: m.Merged) -> list[m.Effect]:
        part = self._current(event.round, event.attempt)
        if part is None:
            return []
        ready = part.ready(event, self.contract.doubts.told_max)
        if self.phase is Phase.MERGING:
            self.phase = Phase.READY
            part.result = event.digest
            return [ready]
        if event.digest != self.contract.base:
            return [m.EndExchange(), *self._fetch(self.contract.base)]
        self.part = None
        self.holds = event.digest
        return [ready, *self._caught_up(len(part.snap.members))]

    def _stalled(self, event: m.Stalled) -> list[m.Effect]:
        part = self._current(event.round, event.attempt)
        if part is None:
            return []
        if self.phase is Phase.OVERTAKEN:
            return [m.EndExchange(), *self._fetch(self.contract.base)]
        part.stalled = True
        return [part.suspect(event.uid, event.reason, alive=event.alive)]

    def _told_owed(self, event: m.Owed) -> list[m.Effect]:
        part = self._current(event.round, event.attempt)
        return part.told(event.owed) if part else []

    def _ends(self) -> list[m.Effect]:
        return [m.EndExchange()] if self.phase in EXCHANGING else []

    def _current(self, round_: int, attempt: int) -> Part | None:
        """The part in this attempt, while it is not done."""
        doing = self.phase in (Phase.MERGING, Phase.OVERTAKEN)
        return self.part if doing and self.part and self.part.is_of(round_, attempt) else None

    # ---- decided

    def _committed(self, event: Committed) -> list[m.Effect]:
        if self.ask is None:
            return []
        phase, part = self.phase, self.part
        decided = part if part and part.is_of(event.round, event.attempt) else None
        if self._given.changes and decided and decided.weight:
            self.lineage.count(event.digest)
        if phase is Phase.SITTING_OUT and self.ask.kind == "sync":
            self.lineage.give_up()
        if phase is Phase.MERGING and decided and not decided.stalled:
            self.phase = Phase.OVERTAKEN
            return []
        if phase is Phase.FETCHING and self._catchup.goes_on:
            return []
        self.part = None
        if phase is Phase.READY and part and part.result == event.digest:
            self.holds = event.digest
            return self._caught_up(len(event.members))
        ends: list[m.Effect] = [m.EndExchange()] if phase in (Phase.MERGING, Phase.OVERTAKEN) else []
        return [*ends, *self._fetch(event.digest, event.signers)]

    def _aborted(self, event: Aborted) -> list[m.Effect]:
        if self.phase not in (Phase.OFFERED, Phase.LATE, Phase.SITTING_OUT, *EXCHANGING):
            return []
        assert self.ask is not None
        ends = self._ends()
        shown = self.part.shown(event) if self.part else []
        self.part = None
        if self.ask.kind == "sync" and not self._given.down:
            note = f"round {event.round} was aborted: {event.reason}; own weights kept"
            return [*shown, *ends, self._answer("kept", note=note)]
        text = f"round {event.round} was aborted: {event.reason}; asking again"
        return [*shown, *ends, m.Tell(text), *self._pursue()]

    def _finished(self, event: Finished) -> list[m.Effect]:
        """Without a COMMIT of its own: nobody's weights count any more, so the base is final."""
        return self._pursue() if self.phase in (Phase.OFFERED, Phase.SITTING_OUT) else []

    def _cleared(self, event: ContractCleared) -> list[m.Effect]:
        hint = "start the program again to enrol in the new one"
        return [m.GiveUp(Refused(f"contract {self.contract.name} was reset by a person", hint=hint))]

    def _caught_up(self, members: int) -> list[m.Effect]:
        """The node holds a committed model: of so many members' weights, if it has merged it itself."""
        assert self.ask is not None
        if self.holds != self.contract.base:  # the others are ahead of what was told here
            return self._fetch(self.contract.base)
        if self._catchup.offers(self.ask):
            return self._pursue()
        if self._catchup.unmerged(self.ask):
            return [self._answer("adopted", note=self.lineage.of_adopted())]
        if members:
            return [self._answer("merged", members=members)]
        return [self._answer("adopted")]

    # ---- catching up

    def _fetch(self, digest: str, holders: tuple[str, ...] = ()) -> list[m.Effect]:
        self.phase = Phase.FETCHING
        self.part = None
        fetch = self._catchup.fetch(digest, holders)
        return self._fetched(m.Fetched(digest)) if self.holds == digest else [fetch]

    def _is_on_its_way(self, digest: str) -> bool:
        return self.phase is Phase.FETCHING and digest == self._catchup.wanted

    def _fetched(self, event: m.Fetched) -> list[m.Effect]:
        if not self._is_on_its_way(event.digest):
            return []
        self.holds = event.digest
        self._catchup.anew()
        return self._caught_up(0)

    def _fetch_failed(self, event: m.FetchFailed) -> list[m.Effect]:
        if not self._is_on_its_way(event.digest):
            return []
        self.phase = Phase.BEHIND
        return self._catchup.failed(event.reason, self._now_s)

    def _base_lost(self, event: BaseLost) -> list[m.Effect]:
        self.lineage.lose(event.digest)
        if self.phase not in (Phase.FETCHING, Phase.BEHIND, Phase.SITTING_OUT):
            return []
        self._catchup.anew()
        return [m.Tell(f"nobody holds the committed model any more; the base is {event.base} again"), *self._pursue()]

    def _rebased(self, event: m.Rebased) -> list[m.Effect]:
        if self.phase is not Phase.REBASING:
            return []
        if event.base != self.contract.base:
            return self._pursue()
        self.lineage.move(event.base, event.digest)
        return [m.Tell(self.lineage.of_offered_anew()), *self._pursue()]

    def _rebase_failed(self, event: m.RebaseFailed) -> list[m.Effect]:
        if self.phase is not Phase.REBASING:
            return []
        self.lineage.give_up()
        return [m.Tell(f"the change cannot be put on the model {event.base}: {event.reason}"), *self._caught_up(0)]

    # ---- waiting

    def _ledger(self, event: m.LedgerLost | m.LedgerBack) -> list[m.Effect]:
        self._patience.ledger_is(self._now_s, event.reason if isinstance(event, m.LedgerLost) else "")
        return []

    def _ticked(self, event: m.Ticked) -> list[m.Effect]:
        if self.ask is None:
            return []
        if self._patience.ledger is not None:
            return self._patience.for_ledger(self._now_s)
        if self.phase is Phase.BEHIND and self._catchup.is_due(self._now_s):
            return [*self._catchup.waits(self._now_s), *self._fetch(self.contract.base)]
        if self._is_next():
            return self._pursue()
        if self.phase not in (Phase.OFFERED, Phase.SITTING_OUT):
            return []
        if not self._patience.too_few:
            return self._patience.for_offers(self._now_s)
        if self._patience.may_go_alone(self.ask):
            return self._go_alone()
        return self._patience.for_peers(self._now_s)

    def _answer(
        self, how: Literal["merged", "adopted", "kept", "alone"], *, members: int = 0, note: str = ""
    ) -> m.Answer:
        assert self.ask is not None
        if how in ("merged", "adopted"):
            assert self.holds == self.contract.base, "I7: only the committed base is handed over, and it is here"
            self.lineage.handed_over()
            self._patience.alone = 0
        self.phase = Phase.RESTING
        self.ask = None
        newest = self.contract.kept.newest if how in ("merged", "adopted") else None  # later rounds came to nothing
        decided = newest.round if newest else self.contract.round - (how != "alone")
        return m.Answer(how, decided, self.contract.base, members, self.contract.finished, note)

    # ---- the invariants

    def check(self) -> None:
        """What holds between any two events; see also where an Offer or an Answer is made."""
        assert (self.ask is None) == (self.phase is Phase.RESTING), "I10: whoever asked is being answered"
        merging = self.phase in (*EXCHANGING, Phase.OVERTAKEN)
        assert (self.part is not None) == merging, "I4: who merges knows with whom"
        if self.part is not None:
            assert self.uid in {member.uid for member in self.part.snap.members}, "I4: only members merge"
            assert bool(self.part.result) == (self.phase is Phase.READY), "I6: who is ready holds a whole result"
