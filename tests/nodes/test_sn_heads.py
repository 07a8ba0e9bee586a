"""What network nodes tell each other of themselves, and what follows: proofs, old copies, clocks."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.claims import Verified
from swarm.core.ledger import Ledger
from swarm.core.names import Identity, uid_of
from swarm.core.node import Node as LedgerNode
from swarm.core.node import Outcomes
from swarm.core.ordering import EPOCH_BITS, LogEntry
from swarm.errors import BadInput, SwarmError
from swarm.nodes import sn, sn_recovery
from swarm.nodes.sn_heads import Heads
from swarm.nodes.sn_recovery import Recovery, judged
from swarm.nodes.sn_removal import Removal
from swarm.nodes.sn_return import ComeBack
from swarm.runtime.authority import CertificateTree, issue
from swarm.runtime.clock import Clock
from swarm.runtime.control import Control
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Acquaintances, Credentials, Local
from swarm.wire.heads import read_evidence, sign_head
from swarm.wire.signed import make_entry

NETWORK = b"n" * 32
HERE = "127.0.0.1"
NOW_MS = 1_000_000_000_000
HOUR_MS = 3_600_000


def hash_of(index: int) -> bytes:
    return index.to_bytes(32, "big")


class Node:
    """Heads over a ledger of so many entries, and what it did."""

    def __init__(self, state: StateDirectory, entries: int) -> None:
        self.ended: list[SwarmError] = []
        self.judged: list[bool] = []
        self.proven: list[int] = []
        ledger = Ledger()
        self.driver: Any = SimpleNamespace(
            ledger=ledger,
            entry_at=self.entry_at,
            last_index=entries,
            voters=(),
            partners=(),
            judge_clock=self.judged.append,
            prove_epoch=self.proven.append,
            snapshots=SimpleNamespace(begin_epoch=lambda epoch, voters: None),
        )
        for peer in map(Peer, (1, 2)):
            ledger.nodes[peer.uid] = LedgerNode(Identity("org-a", bytes(32), "sn", "sn-1"), b"", (), Outcomes(b""))
        self.grow(entries)
        local: Any = SimpleNamespace(state=state, acquaintances=Acquaintances())
        self.acquaintances = local.acquaintances
        removal = Removal(self.driver, state.uid, self.ended.append)
        self.heads = Heads(local, Clock(wall_ms=lambda: NOW_MS), self.driver, removal, self.ended.append)
        self.heads.read()

    def entry_at(self, index: int, *, committed: bool = True) -> LogEntry | None:
        upto = self.driver.ledger.head_index if committed else self.driver.last_index
        return LogEntry(index, 1, hash_of(index), b"") if 0 < index <= upto else None

    def grow(self, entries: int) -> None:
        self.driver.ledger.head_index, self.driver.ledger.head_hash = entries, hash_of(entries)
        self.driver.last_index = entries

    def told(self, by: Peer, **fields: Any) -> dict[str, Any]:
        body = {"mine": b"", "yours": b"", "recovery": b"", "wall_ms": NOW_MS, **fields}
        reply: dict[str, Any] = trio.run(self.heads.answer, by.link, body)
        return reply


class Peer:
    def __init__(self, number: int) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.uid = uid_of(self.key.public_key().public_bytes_raw())
        self.link: Any = Link(self.key)

    def head(self, index: int, hash: bytes | None = None, epoch: int = 0) -> bytes:
        return sign_head(self.key, network_id=NETWORK, epoch=epoch, index=index, hash=hash or hash_of(index))


class Link:
    call: Any

    def __init__(self, key: Ed25519PrivateKey, start: int = 1) -> None:
        public = key.public_key().public_bytes_raw()
        incarnation = start.to_bytes(8, "big") + bytes(8)
        self.peer = SimpleNamespace(uid=uid_of(public), node_key=public, incarnation=incarnation)


@pytest.fixture
def state(tmp_path: Path):
    with StateDirectory(tmp_path) as state:
        state.set_network_id(NETWORK)
        yield state


def own_head(state: StateDirectory, index: int, hash: bytes | None = None, epoch: int = 0) -> bytes:
    return sign_head(state.node_key, network_id=NETWORK, epoch=epoch, index=index, hash=hash or hash_of(index))


# ---- two histories


def test_another_hash_of_a_committed_entry_is_kept_as_a_proof_and_told(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(7, b"x" * 32))
    (path,) = (state.path / "evidence").iterdir()
    evidence = read_evidence(path.read_bytes(), NETWORK)
    assert {evidence.one.uid, evidence.other.uid} == {state.uid, peer.uid}
    (note,) = node.heads.notes()
    assert note.startswith("this network has two histories: entry 7 is ")
    assert Node(state, 10).heads.notes() == [note]


def test_a_false_head_of_another_ends_nobody_also_not_who_decides_alone(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.driver.voters = node.driver.ledger.voting.uids = (state.uid,)
    for index in (1, 7, 10):
        node.told(peer, mine=peer.head(index, b"x" * 32))
    assert node.heads.evidence
    assert not node.ended


def test_what_differs_beyond_the_own_ledger_is_found_out_when_it_gets_there(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(12, b"x" * 32))
    node.told(peer, mine=peer.head(20))
    assert not node.heads.evidence
    node.grow(12)
    node.heads.applied()
    assert [each.one.index for each in node.heads.evidence] == [12]


def test_a_word_for_an_entry_that_never_comes_keeps_no_other_from_being_looked_at(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    for index in (2**50, 2**51, 12, 13):
        node.told(peer, mine=peer.head(index, b"x" * 32))
    assert len(node.heads._unchecked) == 1, "one of each node: nobody fills the memory"
    node.grow(12)
    node.heads.applied()
    assert [each.one.index for each in node.heads.evidence] == [12]


def test_two_words_of_one_node_for_one_entry_are_a_proof_against_it(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(30))
    node.told(peer, mine=peer.head(30, b"x" * 32))
    (evidence,) = node.heads.evidence
    assert evidence.one.uid == evidence.other.uid == peer.uid


def test_one_proof_of_who_lies_is_enough(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    for index in range(1, 10):
        node.told(peer, mine=peer.head(index, b"x" * 32))
    assert len(node.heads.notes()) == len(list((state.path / "evidence").iterdir())) == 1


def test_half_a_proof_that_a_crash_left_keeps_no_node_from_starting(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(7, b"x" * 32))
    (path,) = (state.path / "evidence").iterdir()
    path.with_name(f"{path.name}.part").write_bytes(b"")
    assert len(Node(state, 10).heads.notes()) == 1


def test_who_has_not_joined_shows_no_history_of_this_network(state: StateDirectory) -> None:
    node, stranger = Node(state, 10), Peer(3)
    node.told(stranger, mine=stranger.head(7, b"x" * 32))
    node.told(stranger, mine=stranger.head(12))
    assert not node.heads.evidence
    assert node.told(stranger)["yours"] == b""


def test_equal_histories_and_those_of_other_epochs_prove_nothing(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(7))
    node.told(peer, mine=peer.head(9, b"x" * 32, epoch=1))
    assert not node.heads.evidence
    assert not node.heads.notes()


def test_a_head_of_somebody_else_is_refused_and_its_link_may_not_speak_of_order(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    for fields in ({"mine": Peer(2).head(7)}, {"yours": Peer(2).head(7)}, {"mine": b"?"}, {"wall_ms": None}):
        with pytest.raises(BadInput):
            node.told(peer, **fields)
    assert not node.heads.hears(peer.link)
    node.told(peer, mine=peer.head(7))
    assert node.heads.hears(peer.link)


def test_a_stranger_speaks_of_order_only_to_who_is_behind_or_has_no_ledger_yet(state: StateDirectory) -> None:
    node, peer, stranger = Node(state, 10), Peer(1), Peer(3)
    node.told(stranger, mine=stranger.head(12))
    assert not node.heads.hears(stranger.link)
    node.told(peer, mine=peer.head(12))
    assert node.heads.hears(stranger.link)  # others may have come with the entries that this node has not
    node.grow(12)
    assert not node.heads.hears(stranger.link)
    node.driver.partners = (stranger.uid,)
    assert node.heads.hears(stranger.link)
    empty = Node(state, 0)
    empty.told(stranger)
    assert empty.heads.hears(stranger.link)


def test_who_was_removed_speaks_of_order_no_more(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer)
    assert node.heads.hears(peer.link)
    node.driver.ledger.nodes[peer.uid].state = "removed"
    assert not node.heads.hears(peer.link)


# ---- old copies


def test_the_last_word_of_each_is_given_back_to_it_also_after_a_restart(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, mine=peer.head(8))
    assert node.told(peer)["yours"] == peer.head(8)
    node.told(peer, mine=peer.head(6))
    assert node.told(peer)["yours"] == peer.head(8)
    node.heads.keep()
    assert Node(state, 10).told(peer)["yours"] == peer.head(8)


@pytest.mark.parametrize(("index", "hash", "why"), [(11, None, "ends at entry 10"), (9, b"x" * 32, "another entry")])
def test_an_own_word_that_the_ledger_does_not_bear_out_means_an_old_copy(
    state: StateDirectory, index: int, hash: bytes | None, why: str
) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.told(peer, yours=own_head(state, index, hash))
    (error,) = node.ended
    assert isinstance(error, ComeBack)
    assert "this state directory is an old copy" in error.message
    assert why in error.message


def test_the_word_of_who_decides_alone_for_what_it_sends_is_given_back_to_it(state: StateDirectory) -> None:
    node, peer, stranger = Node(state, 10), Peer(1), Peer(3)
    node.heads.take_word(peer.link, peer.head(11))
    node.heads.take_word(peer.link, peer.head(9))
    assert node.told(peer)["yours"] == peer.head(11)
    node.heads.take_word(stranger.link, stranger.head(12))
    node.heads.take_word(peer.link, stranger.head(12))
    assert (node.told(stranger)["yours"], node.told(peer)["yours"]) == (b"", peer.head(11))
    with pytest.raises(BadInput):
        node.heads.take_word(peer.link, b"?")


def test_who_sends_another_history_than_before_is_held_to_its_word(state: StateDirectory) -> None:
    """The heads that it exchanges may all be of one of them."""
    node, peer = Node(state, 10), Peer(1)
    node.heads.take_word(peer.link, peer.head(11))
    node.heads.take_word(peer.link, peer.head(11, b"x" * 32))
    (found,) = node.heads.evidence
    assert (found.one.raw, found.other.raw) == (peer.head(11), peer.head(11, b"x" * 32))


def test_only_what_this_key_has_signed_and_this_ledger_does_not_bear_out_shows_another_process(
    state: StateDirectory,
) -> None:
    node, peer = Node(state, 10), Peer(1)
    assert node.heads.shows_another(own_head(state, 11))
    assert node.heads.shows_another(own_head(state, 9, b"x" * 32))
    for nothing in (own_head(state, 10), own_head(state, 9, b"x" * 32, epoch=1), peer.head(11), b"?", b""):
        assert not node.heads.shows_another(nothing)
    node.told(peer, mine=peer.head(12))
    assert node.acquaintances.signed == {peer.link.peer.node_key: peer.head(12)}, "shown to who comes without it"


def test_an_own_word_that_the_ledger_bears_out_is_welcome(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    for index in (1, 10):
        node.told(peer, yours=own_head(state, index))
    assert not node.ended


def test_stored_and_not_yet_committed_entries_are_no_old_copy(state: StateDirectory) -> None:
    """As after a kill: what was signed as applied is stored, and not yet known again to be committed."""
    node, peer = Node(state, 10), Peer(1)
    node.driver.last_index = 12
    node.told(peer, yours=own_head(state, 12))
    assert not node.ended
    node.told(peer, yours=own_head(state, 11, b"x" * 32))
    (error,) = node.ended
    assert "another entry" in error.message


def test_a_recovery_that_nobody_signed_ends_nothing(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    node.driver.ledger.voting.uids = (state.uid,)
    forged = sn_entry(term=1 << EPOCH_BITS | 1)
    with pytest.raises(SwarmError, match="a forced recovery that nobody can have signed"):
        node.told(peer, recovery=forged)
    assert not node.ended


def test_an_earlier_recovery_shown_as_a_later_one_ends_nothing(state: StateDirectory, monkeypatch) -> None:
    """The proposal is signed, the term of the entry around it is not."""
    node, peer = Node(state, 10), Peer(1)
    voting = node.driver.ledger.voting
    voting.uids, voting.epoch = (state.uid,), 1
    body = {"epoch": 1, "uid": peer.uid, "reason": "", "lost_after": 10}
    signed = Verified(
        peer.uid, b"", 1, "ForcedRecovery", body, NETWORK, b"", Identity("org-a", bytes(32), "swci", "swci-1")
    )
    monkeypatch.setattr(sn_recovery, "verify_proposal", lambda *_: signed)
    with pytest.raises(BadInput, match="the forced recovery into epoch 1 as a later one"):
        node.told(peer, recovery=sn_entry(term=2 << EPOCH_BITS | 1))
    assert not node.ended


@pytest.mark.parametrize(("role", "network"), [("sn", NETWORK), ("sl", NETWORK), ("swci", b"o" * 32)])
def test_a_recovery_by_who_has_no_right_to_it_or_of_another_network_ends_nothing(
    state: StateDirectory, monkeypatch, role: str, network: bytes
) -> None:
    node, peer = Node(state, 10), Peer(1)
    ledger, identity = node.driver.ledger, Identity("org-a", bytes(32), role, f"{role}-1")
    ledger.network_id = NETWORK
    ledger.voting.uids, ledger.voting.sentinel = (state.uid,), peer.uid
    body = {"epoch": 1, "uid": peer.uid, "reason": "", "lost_after": 10}
    signed = Verified(Peer(2).uid, b"", 1, "ForcedRecovery", body, network, b"", identity)
    monkeypatch.setattr(sn_recovery, "verify_proposal", lambda *_: signed)
    with pytest.raises(SwarmError, match=r"only the role swci may|is for another network"):
        node.told(peer, recovery=sn_entry(term=1 << EPOCH_BITS | 1))
    assert not node.ended


def signed_recovery(node: Node, uid: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """An entry for which a person of the sentinel's organisation has signed."""
    ledger, swci = node.driver.ledger, Identity("org-a", bytes(32), "swci", "swci-1")
    ledger.network_id, ledger.voting.sentinel = NETWORK, uid
    body = {"epoch": 1, "uid": uid, "reason": "", "lost_after": 10}
    signed = Verified(Peer(2).uid, b"", 1, "ForcedRecovery", body, NETWORK, b"", swci)
    monkeypatch.setattr(sn_recovery, "verify_proposal", lambda *_: signed)
    return sn_entry(term=1 << EPOCH_BITS | 1)


def test_a_signed_recovery_is_believed_kept_and_shown_to_others(state: StateDirectory, monkeypatch) -> None:
    node, peer, other = Node(state, 10), Peer(1), Peer(2)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    for _ in range(2):
        node.told(peer, recovery=shown)
    assert (node.proven, node.ended) == ([1], [])
    assert node.told(other)["recovery"] == shown
    assert Node(state, 10).proven == [1], "also after a restart"
    assert not Node(state, 10).ended


def test_a_recovery_into_which_nobody_voted_here_ends_the_voter_and_proves_nothing(
    state: StateDirectory, monkeypatch
) -> None:
    node, peer = Node(state, 10), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    node.driver.ledger.voting.uids = (state.uid,)
    peer.link.call = hashes_of_10
    node.told(peer, recovery=shown)
    (error,) = node.ended
    assert isinstance(error, ComeBack)
    assert (error.common, node.proven) == (10, [])


def test_who_votes_by_an_entry_that_it_does_not_know_to_be_decided_ends_as_well(
    state: StateDirectory, monkeypatch
) -> None:
    """The recovery has put it out: it would follow, and nobody would send it a word."""
    node, peer = Node(state, 10), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    node.driver.voters = (peer.uid, state.uid, Peer(2).uid)
    peer.link.call = hashes_of_10
    node.told(peer, recovery=shown)
    (error,) = node.ended
    assert isinstance(error, ComeBack)
    assert node.proven == []


@pytest.mark.parametrize(("entries", "ends"), [(9, False), (10, False), (11, True), (20, True)])
def test_who_has_decided_otherwise_where_a_recovery_stands_ends_whether_it_votes_or_not(
    state: StateDirectory, monkeypatch, entries: int, ends: bool
) -> None:
    """Its entries might be compacted, so that what follows the recovery seems to fit to them; or it has joined by them
    only, so that nobody would send it a word."""
    node, peer = Node(state, 10), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    node.grow(entries)
    peer.link.call = hashes_of_10
    node.told(peer, recovery=shown)
    assert [type(error) for error in node.ended] == [ComeBack] * ends
    assert bool(node.proven) != ends


def test_who_has_taken_a_recovery_follows_none_that_others_still_show(state: StateDirectory, monkeypatch) -> None:
    """What one network node shows is read and judged while the own ledger goes on by what another one sends."""
    node, peer = Node(state, 10), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    recovery = judged(shown, node.driver.ledger, "sn-2")
    node.grow(15)
    node.driver.ledger.voting.epoch = recovery.epoch
    peer.link.call = hashes_of_10
    trio.run(node.heads._follow, recovery, peer.link)
    assert node.ended == []


async def hashes_of_10(verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
    return {"hash": hash_of(body["at"])}


def test_a_recovery_that_later_entries_allow_is_given_to_the_judge_and_its_word_not_believed(
    state: StateDirectory, monkeypatch
) -> None:
    """The promoted node may have joined, or its organisation, since this one was away."""
    node, peer = Node(state, 5), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    del node.driver.ledger.nodes[peer.uid]
    given: list[bytes] = []
    monkeypatch.setattr(node.heads.judge, "take", lambda link, raw: given.append(raw))
    with pytest.raises(SwarmError, match="is no network node of this ledger"):
        node.told(peer, recovery=shown)
    assert given == [shown]
    assert not node.proven
    assert not node.heads.hears(peer.link)


def test_who_decides_since_a_recovery_is_heard_though_the_own_ledger_ends_before_it_came(
    state: StateDirectory, monkeypatch
) -> None:
    node, promoted, later = Node(state, 5), Peer(3), Peer(4)
    shown = signed_recovery(node, Peer(1).uid, monkeypatch)
    node.heads._note_recovery(shown)
    node.heads._deciding = (promoted.uid,)
    node.told(promoted)
    node.told(later, mine=later.head(20))
    assert node.heads.hears(promoted.link)
    assert not node.heads.hears(later.link)
    node.told(promoted, mine=promoted.head(20, epoch=1))
    assert node.heads.hears(later.link), "others may have come with the entries that this node has not"
    node.driver.ledger.voting.epoch = 1
    assert not node.heads.hears(promoted.link), "from there on the ledger says who they are"


@pytest.mark.parametrize("answer", [{"hash": 7}, ["?"], None, SwarmError("lost")])
def test_a_voter_that_a_recovery_went_past_ends_also_when_nobody_says_what_it_has_in_common(
    state: StateDirectory, monkeypatch, answer: Any
) -> None:
    node, peer = Node(state, 10), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    node.driver.ledger.voting.uids = (state.uid,)

    async def call(verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        if isinstance(answer, SwarmError):
            raise answer
        return answer

    peer.link.call = call
    node.told(peer, recovery=shown)
    (error,) = node.ended
    assert isinstance(error, ComeBack)


def test_who_answers_slowly_keeps_no_voter_from_ending(state: StateDirectory, monkeypatch) -> None:
    """Each of its answers comes in time, and all of them would take longer than a try to judge the recovery has."""
    node, peer = Node(state, 2**20), Peer(1)
    shown = signed_recovery(node, peer.uid, monkeypatch)
    node.driver.ledger.voting.uids = (state.uid,)
    recovery = Recovery(shown, 1, 2**20, peer.uid, "swci-1 (org-a)", b"")

    async def slowly(verb: str, body: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        await trio.sleep(deadline_s - 0.1)
        return {"hash": b"x" * 32}

    async def scenario() -> None:
        peer.link.call = slowly
        with trio.move_on_after(sn_recovery.TRY_S):
            await node.heads._follow(recovery, peer.link)

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))
    (error,) = node.ended
    assert isinstance(error, ComeBack)
    assert 0 < error.common < 2**20, "as far as it has told it"


def test_who_began_behind_a_recovery_finds_it_in_its_log_and_shows_it(state: StateDirectory) -> None:
    node, peer, entry = Node(state, 20), Peer(1), sn_entry(term=1 << EPOCH_BITS | 1)
    voting, entries = node.driver.ledger.voting, [sn_entry(term=1)]
    voting.epoch, voting.lost_after = 1, 10
    asked: list[int] = []

    def entries_after(index: int, max_bytes: int) -> list[bytes]:
        asked.append(index)
        if not entries:
            raise SwarmError("it is in a snapshot only")
        return entries

    node.driver.entries_after = entries_after
    node.heads.keep()
    entries.clear()
    node.heads.keep()
    assert node.told(peer)["recovery"] == b""
    entries.append(entry)
    node.heads.keep()
    node.heads.keep()
    assert node.told(peer)["recovery"] == entry
    assert (state.path / "recovery").read_bytes() == entry
    assert asked == [10] * 3


def sn_entry(term: int) -> bytes:
    return make_entry(11, term, NOW_MS, hash_of(10), b"").raw


def test_the_hash_at_an_index_is_told_to_who_looks_for_the_last_common_entry(state: StateDirectory) -> None:
    node, peer = Node(state, 10), Peer(1)
    assert trio.run(node.heads.answer, peer.link, {"at": 4}) == {"hash": hash_of(4)}
    assert trio.run(node.heads.answer, peer.link, {"at": 11}) == {"hash": b""}


# ---- clocks


def test_r040_a_clock_far_from_the_voters_is_said_and_judged(state: StateDirectory) -> None:
    node, peers = Node(state, 10), [Peer(1), Peer(2)]
    node.driver.voters = (state.uid, *(peer.uid for peer in peers))
    for peer in peers:
        node.told(peer, wall_ms=NOW_MS - HOUR_MS)
    assert node.judged == [True, False]
    assert node.heads.notes() == ["the clock of this node is 60 min ahead of that of the voters: it will not lead"]
    for peer in peers:
        node.told(peer, wall_ms=NOW_MS + 1000)
    assert node.judged[-1]
    assert not node.heads.notes()


class Three:
    """Network nodes in this process, each with a clock of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tree = CertificateTree(path / "certificates", "1")
        issue(self.tree, organisation="org-a")
        self.wrong_ms = 0

    def credentials(self, role: str) -> Credentials:
        return Credentials.load(self.tree.certificate(role), self.tree.key(role), self.tree.capath)

    @asynccontextmanager
    async def running(self):
        """Their API ports; the wall clock of the first one goes as `wrong_ms` says."""
        async with AsyncExitStack() as stack:
            states = [stack.enter_context(StateDirectory(self.path / f"sn-{number}")) for number in range(3)]
            nursery = await stack.enter_async_context(trio.open_nursery())
            ports: list[int] = []
            for number, state in enumerate(states):
                clock = Clock(wall_ms=lambda: Clock().wall_ms() + self.wrong_ms) if number == 0 else Clock()
                sentinel = (HERE, ports[0]) if ports else None
                settings = sn.Settings(HERE, 0, 0, self.credentials("sn"), state, sentinel, clock=clock)
                nursery.start_soon(sn.run, settings)
                while not (state.path / "ready.json").exists():
                    await trio.sleep(0.01)
                ports.append(json.loads((state.path / "ready.json").read_text())["api_port"])
            yield ports
            nursery.cancel_scope.cancel()

    async def status(self, port: int) -> dict[str, Any]:
        with StateDirectory(self.path / "asking") as state:
            mesh = Mesh(Local(self.credentials("swci"), state))
            control = Control(mesh, {}, lambda peer, verb: None)
            async with mesh.run(listen=[]), control.run():
                link = await control.connect(HERE, port, deadline_s=5)
                answer: dict[str, Any] = await link.call("status", {}, deadline_s=5)
                return answer

    async def until(self, port: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            status = await self.status(port)
            if condition(status):
                return status
            await trio.sleep(0.1)


def play(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(60):
            await main()

    trio.run(bounded)


def test_r040_a_leader_whose_clock_jumps_an_hour_says_so_and_hands_over(tmp_path: Path) -> None:
    three = Three(tmp_path)

    async def main() -> None:
        async with three.running() as ports:
            before = await three.until(ports[0], lambda status: len(status["voters"]) == 3)
            assert before["role"] == "leader"
            three.wrong_ms = HOUR_MS
            status = await three.until(ports[0], lambda status: status["role"] != "leader")
            assert "the clock of this node is 60 min ahead of that of the voters: it will not lead" in status["notes"]
            after = await three.until(ports[1], lambda status: status["leader"] not in (None, before["leader"]))
            assert after["leader"] in before["voters"]
            three.wrong_ms = 0
            await three.until(ports[0], lambda status: not status["notes"])

    play(main)


def test_a_full_disk_ends_no_network_node_and_what_was_found_is_written_later(
    state: StateDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(name: str, data: bytes, fsync: bool = True) -> None:
        raise BadInput("No space left on device")

    node, peer, entry = Node(state, 5), Peer(1), sn_entry(term=1 << EPOCH_BITS | 1)
    with monkeypatch.context() as disk:
        disk.setattr(state, "write_atomic", full)
        node.told(peer, mine=peer.head(5, hash_of(99)))
        node.heads.recovered(entry)
        node.heads.keep()
    assert len(node.heads.evidence) == 1
    assert not (state.path / "heads").exists()
    node.heads.keep()
    assert (state.path / "recovery").read_bytes() == entry
    assert (state.path / "heads").exists()
    assert len(list((state.path / "evidence").iterdir())) == 1
