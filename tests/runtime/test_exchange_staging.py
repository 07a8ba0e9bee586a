"""Room for contributions is used again, keeps what came of a round, and waits for who may still write there."""

from __future__ import annotations

import dataclasses
import mmap
import threading

import numpy as np
import pytest

from swarm.core.events import Contributor, SnapMade
from swarm.core.spans import Spans
from swarm.runtime.data import Stop
from swarm.runtime.exchange_staging import Staging

MIB = 1 << 20
NBYTES = 64 * MIB


def snap(uids: str, round_: int = 1, digests: str = "") -> SnapMade:
    digest_of = dict(zip(uids, digests or uids, strict=True))
    members = tuple(Contributor(uid, 1000, digest_of[uid], "127.0.0.1:1") for uid in uids)
    return SnapMade("c", round_, 0, members, (), "sharded", "base")


def entered(staging: Staging, made: SnapMade, first: int, last: int) -> dict[str, Spans]:
    return staging.enter(made, [member.uid for member in made.members if member.uid != "me"], [(first, last)])


def test_what_is_kept_of_a_member_is_there_in_the_next_attempt_and_not_in_the_next_round() -> None:
    staging, here = Staging(NBYTES), Spans([(MIB, 2 * MIB)])
    made = snap("abm")
    assert entered(staging, made, MIB, 4 * MIB) == {}
    staging.room("a")[MIB : 2 * MIB] = b"a" * MIB
    staging.leave(made, {"a": here, "b": here}, [])
    assert entered(staging, snap("am"), MIB, 3 * MIB) == {"a": here}, "b is no member any more"
    assert bytes(staging.room("a")[MIB : 2 * MIB]) == b"a" * MIB
    staging.leave(made, {"a": here}, [])
    assert entered(staging, snap("am", digests="xm"), MIB, 3 * MIB) == {}, "a has offered something else meanwhile"
    staging.leave(made, {"a": here}, [])
    assert entered(staging, snap("am", round_=2), MIB, 3 * MIB) == {}


def test_a_round_uses_the_memory_of_the_one_before_also_for_another_member() -> None:
    staging = Staging(NBYTES)
    entered(staging, snap("ab"), 0, MIB)
    before = {id(staging._maps["a"]), id(staging._maps["b"])}
    entered(staging, snap("ac", round_=2), 0, MIB)
    assert {id(staging._maps["a"]), id(staging._maps["c"])} == before


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="needs madvise")
def test_memory_is_taken_for_the_own_shards_only_and_given_back_when_they_move() -> None:
    staging = Staging(NBYTES)
    entered(staging, snap("a"), 16 * MIB, 32 * MIB)
    room = staging.room("a")
    assert resident(room) == 0
    room[16 * MIB : 32 * MIB] = b"a" * (16 * MIB)
    assert 16 * MIB <= resident(room) < 24 * MIB
    entered(staging, snap("a", round_=2), 28 * MIB, 44 * MIB)
    assert 4 * MIB <= resident(room) < 8 * MIB
    assert bytes(room[28 * MIB : 32 * MIB]) == b"a" * (4 * MIB), "what both have in common stays"


def test_the_next_attempt_waits_for_a_transfer_that_still_writes() -> None:
    staging, stop, written = Staging(NBYTES), Stop(), threading.Event()

    made = snap("a")
    entered(staging, made, 0, MIB)
    order: list[str] = []
    settled = threading.Thread(target=lambda: (staging.settle(), order.append("settled")))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("swarm.runtime.data_client.wake", lambda sock: written.set())
        with stop.receiving(object()):  # type: ignore[arg-type]
            stop.set()
            staging.leave(made, {}, [stop.settle])
            settled.start()
            assert written.wait(5), "it was woken"
            order.append("written")
        settled.join(5)
    assert order == ["written", "settled"]


def resident(room: memoryview) -> int:
    """How many bytes of this room are in memory."""
    page, first = mmap.PAGESIZE, np.frombuffer(room, np.uint8).ctypes.data
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(first // page * 8)
        pages = np.frombuffer(pagemap.read(len(room) // page * 8), np.uint64)
    return int(np.count_nonzero(pages >> 63)) * page


def test_what_is_kept_is_nothing_on_another_base() -> None:
    staging, here = Staging(NBYTES), Spans([(MIB, 2 * MIB)])
    entered(staging, snap("am"), MIB, 3 * MIB)
    staging.leave(snap("am"), {"a": here}, [])
    assert entered(staging, dataclasses.replace(snap("am"), base="another"), MIB, 3 * MIB) == {}


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="needs madvise")
def test_shards_that_begin_and_end_within_pages_keep_them_when_others_move() -> None:
    staging = Staging(NBYTES)
    entered(staging, snap("a"), 0, 4 * MIB)
    room = staging.room("a")
    room[: 4 * MIB] = b"a" * (4 * MIB)
    entered(staging, snap("a", round_=2), MIB + 8, 3 * MIB + 16)
    assert bytes(room[MIB + 8 : 3 * MIB + 16]) == b"a" * (2 * MIB + 8)
    assert bytes(room[MIB - mmap.PAGESIZE : MIB]) == bytes(mmap.PAGESIZE), "the page before is given back"
