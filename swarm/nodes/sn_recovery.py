"""Forced recoveries that other network nodes show: judged before any word of the epoch that they begin is believed.

Used by ``nodes/sn_heads``. Guarantees: what ``judged`` returns was signed by somebody who had the right to it, by the
ledger that it is given. A ``Judge`` makes that of the own ledger and of entries that it verifies, so that a node that
is behind can judge what only later entries allow: after any number of tries, since it keeps what it has; one network
node after the other, each for a bounded time and in bounded memory, since nobody has ordered those entries yet; nothing
of what nobody has signed, or signed for another place; and no organisation keeps another from being heard.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

import trio

from swarm.core import policy
from swarm.core.claims import Verified
from swarm.core.ledger import Ledger
from swarm.core.ordering import epoch_of
from swarm.core.snapshot import restored, taken
from swarm.core.voters import SKIPS
from swarm.errors import BadInput, Refused, SwarmError, Unreachable
from swarm.runtime.change import Change
from swarm.runtime.control import Link
from swarm.runtime.replica import Replica
from swarm.wire.signed import Entry, decode_entry, introduced, verify_proposal

ANSWER_S = 5.0
TRY_S = 30.0
AGAIN_S = 10.0
CASES_MAX = 4
LACKED_MAX = 1 << 20
"""Nobody is that far behind: it would read entries for an hour before it takes part."""
READ_MAX = 1 << 30
"""Bytes of entries: as many as so many of them have."""
GROWN_MAX = 16 << 20
"""Bytes by which the state may grow meanwhile: ten thousand nodes and more. In memory it takes several times that."""
MEASURE_EVERY = 4 << 20
"""Bytes of entries read from one look at the state's size to the next."""

log = logging.getLogger("swarm.SN")


@dataclass(frozen=True, slots=True)
class Recovery:
    raw: bytes
    epoch: int
    index: int
    uid: str
    """Who decides from there on."""
    author: str
    anchor: bytes
    """Of the author's organisation."""


def judged(raw: bytes, ledger: Ledger, who: str, were: Collection[str] = (), time_ms: int = 0) -> Recovery:
    """The forced recovery that ``who`` shows. Raises SwarmError when nobody with the right to it can have signed it, as
    far as this ledger knows. ``were``: who counts as an admitted network node. ``time_ms``: nobody has signed the time
    of an entry, and whose certificate had expired by then counts for nobody either; network nodes have none, since all
    have to judge as the ledger does that goes on."""
    entry = decode_entry(raw)
    claim = verify_proposal(entry.proposal, ledger, max(entry.time, time_ms))
    if not isinstance(claim, Verified) or claim.kind != "ForcedRecovery" or claim.identity is None:
        raise BadInput(f"{who} shows a forced recovery that nobody can have signed")
    _check_place(entry, claim.body["epoch"], claim.body["lost_after"], who)
    if claim.body["epoch"] - ledger.epoch > SKIPS + 1:
        raise BadInput(f"{who} shows a forced recovery from epoch {ledger.epoch} into epoch {claim.body['epoch']}")
    ledger.must_take_recovery(replace(claim, body={**claim.body, "epoch": ledger.epoch + 1}), were)
    by = claim.identity
    return Recovery(raw, claim.body["epoch"], entry.index, claim.body["uid"], str(by), by.anchor)


def must_be_worth_it(raw: bytes, ledger: Ledger, who: str) -> None:
    """Raise what stands against a recovery that only later entries than the ledger's can allow, before any is read:
    whoever signed it signed it for this network and this place, and is none who may not, as far as this ledger knows.
    """
    entry = decode_entry(raw)
    proposal = introduced(entry.proposal, ledger)
    if proposal.kind != "ForcedRecovery" or proposal.network_id != ledger.network_id:
        raise BadInput(f"{who} shows as a forced recovery what is none of this network")
    _check_place(entry, proposal.body["epoch"], proposal.body["lost_after"], who)
    claim = verify_proposal(entry.proposal, ledger, entry.time)  # else its organisation may have come later
    if isinstance(claim, Verified) and claim.identity and not policy.allowed(claim.kind, claim.identity.role):
        raise Refused(f"{who} shows a forced recovery that {claim.identity} has signed, which may sign none")
    if (lacked := entry.index - ledger.head_index) > LACKED_MAX:
        raise BadInput(
            f"{who} shows a forced recovery {lacked} entries behind this ledger's last, at most {LACKED_MAX} are read",
            hint="if it is right, start this node with --rejoin",
        )


def _check_place(entry: Entry, epoch: int, lost_after: int, who: str) -> None:
    """Nobody has signed the term and the index of an entry; what its author has signed says both."""
    if epoch != epoch_of(entry.term):
        raise BadInput(f"{who} shows the forced recovery into epoch {epoch} as a later one")
    if lost_after != entry.index - 1:
        raise BadInput(f"{who} shows the forced recovery behind entry {lost_after} as entry {entry.index}")


@dataclass(slots=True)
class Case:
    """What one network node shows, and how far its entries have been read for it. Of another recovery it is another
    case: what is read for one is no ledger before the other."""

    link: Link
    raw: bytes
    index: int
    replica: Replica | None = None
    read: int = 0
    """Bytes of entries, for this replica."""
    measure_at: int = 0
    state_max: int = 0

    def head(self, own: Ledger) -> int:
        return self.replica.head_index if self.replica is not None else own.head_index

    async def ledger_before(self, own: Ledger) -> Ledger:
        """The ledger as it was before the recovery: the own one, and what the other side has behind it. Raises
        SwarmError; what was read until then is kept."""
        if self.head(own) < own.head_index:
            self.replica = None
        while self.head(own) < self.index - 1:
            raws = await self._read(self.head(own))
            if self.replica is None:
                if decode_entry(raws[0]).prev_hash != own.head_hash:  # before anything is copied for it
                    raise BadInput(f"the entries of {self.link.peer} do not go on where this ledger ends")
                begin = taken(own, 0, own.voters)
                self.replica = Replica.begun(restored(begin), 0, {})
                self.read, self.measure_at, self.state_max = 0, MEASURE_EVERY, len(begin.state) + GROWN_MAX
            for raw in raws[: self.index - 1 - self.replica.head_index]:
                self.replica.take(raw)
                self._count(len(raw), self.replica)
                await trio.lowlevel.checkpoint()
        return self.replica.ledger if self.replica is not None else own

    def _count(self, nbytes: int, replica: Replica) -> None:
        """Nobody has to be right who shows entries: they may be no ledger's, and made to fill this node's memory."""
        self.read += nbytes
        replica.chains.clear()  # nobody acts on the word of these nodes
        if self.read >= self.measure_at or replica.head_index == self.index - 1:
            self.measure_at += MEASURE_EVERY
            if self.read > READ_MAX or len(replica.taken().state) > self.state_max:
                raise BadInput(
                    f"{self.link.peer} shows a forced recovery behind {self.read} bytes of entries, which are more, or "
                    "make more of the state, than this node reads for it; if it is right, start this node with --rejoin"
                )

    async def _read(self, after: int) -> list[bytes]:
        try:
            reply = await self.link.call("snapshot", {"after": after}, deadline_s=ANSWER_S)
        except SwarmError as error:  # it may have begun with a snapshot, and fetch them itself
            raise Unreachable(f"{self.link.peer} does not give entry {after + 1}: {error.message}") from error
        match reply:
            case {"entries": []}:
                raise Unreachable(f"{self.link.peer} does not have entry {after + 1} yet")
            case {"entries": [*raws]} if all(isinstance(raw, bytes) for raw in raws):
                return raws
        raise BadInput(f"the entries of {self.link.peer} cannot be read")


class Judge:
    """``follow`` takes what was found good, and the link over which it came."""

    def __init__(self, ledger: Callable[[], Ledger], follow: Callable[[Recovery, Link], Awaitable[None]]) -> None:
        self._ledger, self._follow = ledger, follow
        self._cases: dict[str, Case] = {}
        """By the uid of who shows it; the next one first."""
        self._found_false: dict[str, tuple[bytes, str]] = {}
        """By the uid of who showed it; and what was found."""
        self._come = Change()

    def take(self, link: Link, raw: bytes) -> None:
        """A recovery that the own ledger does not bear out, and later entries may. Raises what stands against it."""
        uid, who = link.peer.uid, str(link.peer)
        false, found = self._found_false.get(uid, (b"", ""))
        if false == raw:
            raise BadInput(f"{who} shows a forced recovery that its own entries do not bear out: {found}")
        must_be_worth_it(raw, self._ledger(), who)
        case = self._cases.get(uid)
        if case is not None and case.raw == raw:
            case.link = link
        elif case is not None or len(self._cases) < CASES_MAX or self._make_room(link):
            self._cases[uid] = Case(link, raw, decode_entry(raw).index)
        else:
            return  # it shows it again
        self._come.tell()

    def _make_room(self, link: Link) -> bool:
        """Who is gone shows it no longer. Who is admitted goes before a stranger, whose certificate may be all that it
        has of this network; and before one of an organisation that is heard more often than its own will be."""
        known = {other for other, _ in self._ledger().sns()}
        of = Counter(case.link.peer.identity.organisation for case in self._cases.values())
        heard = of[link.peer.identity.organisation] + 1
        for uid, case in sorted(
            self._cases.items(), key=lambda each: (not each[1].link.closed.is_set(), each[0] in known)
        ):
            often = of[case.link.peer.identity.organisation] > heard
            if case.link.closed.is_set() or (link.peer.uid in known and (uid not in known or often)):
                del self._cases[uid]
                return True
        return False

    async def run(self) -> None:
        while True:
            uid = next((uid for uid, case in self._cases.items() if not case.link.closed.is_set()), None)
            if uid is None:
                await self._come.wait()
            elif not await self._try(uid, self._cases[uid]):
                await trio.sleep(AGAIN_S)

    async def _try(self, uid: str, case: Case) -> bool:
        """Whether it was judged good. One that proved false, or whose entries did, is not looked at again."""
        who = str(case.link.peer)
        self._cases[uid] = self._cases.pop(uid)  # the others have their turn first
        try:
            with trio.move_on_after(TRY_S) as scope:
                ledger = await case.ledger_before(self._ledger())
                if self._cases.get(uid) is not case:  # it shows another one by now
                    return True
                await self._follow(judged(case.raw, ledger, who), case.link)
                self._forget(uid, case)
                self._cases = {
                    uid: other
                    for uid, other in self._cases.items()
                    if not other.link.closed.is_set() and other.raw != case.raw
                }
            if scope.cancelled_caught:
                log.warning(
                    "the forced recovery that %s shows at entry %d: waited %g s for its entries, and has read them up "
                    "to entry %d; it goes on from there in %g s",
                    *(who, case.index, TRY_S, case.head(self._ledger()), AGAIN_S),
                )
            return not scope.cancelled_caught
        except Unreachable as error:
            log.warning("the forced recovery that %s shows at entry %d waits: %s", who, case.index, error.message)
        except SwarmError as error:
            log.warning("the forced recovery that %s shows: %s", who, error.message)
            self._forget(uid, case)
            self._found_false[uid] = case.raw, error.message
            if len(self._found_false) > CASES_MAX:
                del self._found_false[next(iter(self._found_false))]
        return False

    def _forget(self, uid: str, case: Case) -> None:
        if self._cases.get(uid) is case:
            del self._cases[uid]
