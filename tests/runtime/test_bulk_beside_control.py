"""Weights in bulk and control links share a process, its interpreter and its cores: the links must not feel it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import trio

from swarm.core.pulse import MISSED_MAX
from swarm.core.tensors import Schema
from swarm.runtime.control import BEAT_S, Link
from tests.certificates import leaf
from tests.handshakes import GOOD, A, B, node
from tests.runtime.data_nodes import nodes
from tests.runtime.test_control import echo, linked
from tests.runtime.test_exchange import Attempt

MB = 10**6
BULK_S = BEAT_S * (MISSED_MAX + 1)
"""Long enough for a link to be given up, if its signs of life were held up by what else the process does."""


@pytest.mark.slow
@pytest.mark.alone
def test_links_answer_and_live_while_four_members_exchange_a_hundred_megabytes_each(tmp_path: Path, organisation):
    schema = Schema.of({"a": np.zeros(25 * MB, np.float32)})
    generator = np.random.default_rng(7)
    models = [{"a": generator.random(25 * MB, np.float32)} for _ in range(4)]
    answered_s: list[float] = []
    rounds = 0

    async def call_on(link: Link, bulk_ended: trio.Event) -> None:
        while not bulk_ended.is_set():
            began_s = monotonic()
            await link.call("echo", {"n": len(answered_s)}, deadline_s=BEAT_S)
            answered_s.append(monotonic() - began_s)
            await trio.sleep(0.02)

    def exchange() -> None:
        attempt = Attempt(members, schema, models, [1] * 4, "sharded")
        try:
            attempt.start()
            assert {attempt.outcomes.get(timeout=60)[1] for _ in members} == {"done"}
        finally:
            attempt.end()

    async def act(link: Link) -> None:
        nonlocal rounds
        bulk_ended, began_s = trio.Event(), monotonic()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call_on, link, bulk_ended)
            while monotonic() - began_s < BULK_S:
                await trio.to_thread.run_sync(exchange)
                rounds += 1
            bulk_ended.set()
        assert not link.closed.is_set(), link.reason

    with nodes(tmp_path / "nodes", organisation, 4) as members:
        server, client = node(tmp_path, GOOD, [A, B]), node(tmp_path, leaf(B, "SL-1"), [A, B])
        linked(server, client, {"echo": echo}, act, seconds=180)
    worst = sorted(answered_s)[-1]
    print(f"{rounds} rounds of 4 x 100 MB; {len(answered_s)} calls beside them, the slowest {worst:.3f} s")
    assert worst < BEAT_S, "a call waited for longer than signs of life are apart"
