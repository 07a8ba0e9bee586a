"""A model is what its digest says, wherever it comes from: the own disk, another member, a late change's origin."""

from __future__ import annotations

import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import trio

from swarm.core.member_steps import Fetch, Fetched, Rebase
from swarm.core.tensors import Schema
from swarm.errors import ModelError, Refused
from swarm.nodes.fetching import Fetching, fetched
from swarm.nodes.models import ModelFile, Models
from swarm.nodes.rebasing import rebased
from swarm.runtime import hashing
from swarm.runtime.data import Region, Stop, Want
from tests.runtime.data_nodes import nodes, until

SCHEMA = Schema.of({"weights": np.zeros(1000, np.float32)})


@pytest.fixture
def model() -> tuple[bytes, str]:
    content = np.random.default_rng(1).random(SCHEMA.nbytes // 4, np.float32).tobytes()
    return content, hashing.digest(SCHEMA, memoryview(content), "sha256")


def contract(**members: Any) -> Any:
    return SimpleNamespace(name="a-contract", hash="sha256", schema=SCHEMA, momenta=None, members=members)


def stored(directory, content: bytes, digest: str) -> Models:
    """As an earlier process left it."""
    models = Models(directory, SCHEMA.nbytes)
    hold(models, content, digest)
    return Models(directory, SCHEMA.nbytes)


def hold(models: Models, content: bytes, digest: str) -> ModelFile:
    file = models.incoming()
    file.bytes[:] = content
    models.hold(file, digest)
    return file


def damaged(content: bytes) -> bytes:
    return content[:9] + bytes([content[9] ^ 1]) + content[10:]


def test_what_an_earlier_process_left_whole_is_taken_from_disk(tmp_path, model) -> None:
    content, digest = model
    file = fetched(contract(), stored(tmp_path, content, digest), None, Fetch(digest, ()), Stop())  # type: ignore[arg-type]
    assert bytes(file.bytes) == content


def test_r038_a_damaged_model_counts_as_missing_and_is_fetched_from_who_has_it_whole(
    tmp_path, organisation, model, caplog
) -> None:
    content, digest = model
    models = stored(tmp_path / "models", damaged(content), digest)
    with nodes(tmp_path, organisation, 3) as (reader, liar, holder):
        liar.shelf["model", 0] = Region.complete(memoryview(damaged(content)))
        holder.shelf["model", 0] = Region.complete(memoryview(content))
        members = {one.uid: SimpleNamespace(data_address=one.address) for one in (liar, holder)}
        file = fetched(contract(**members), models, reader.client, Fetch(digest, (liar.uid, holder.uid)), Stop())
        assert bytes(file.bytes) == content
        assert f"the model {digest} is damaged on disk" in caplog.text
        assert f"in place of the model {digest}: others are asked" in caplog.text
        with pytest.raises(Refused, match="sent sha256:"):
            fetched(contract(**members), models, reader.client, Fetch(digest, (liar.uid,)), Stop())


@pytest.mark.parametrize("ends", ["another is wanted", "cancelled"])
def test_a_model_from_a_silent_holder_is_given_up_when_another_is_wanted_or_its_program_is_over(
    tmp_path, organisation, model, ends
) -> None:
    """Of rounds that are committed while one holder stands still, none may cost a thread and a file more, nor wait for
    that one first."""
    content, digest = model
    models = Models(tmp_path / "models", SCHEMA.nbytes)
    happened: list[Any] = []
    asked = threading.Semaphore(0)

    def no_byte_yet(want: Want) -> Region:
        asked.release()
        return Region(memoryview(content))

    async def main() -> None:
        with nodes(tmp_path, organisation, 3) as (reader, silent, holder):
            silent.shelf["model", 0] = no_byte_yet
            holder.shelf["model", 0] = Region.complete(memoryview(content))
            members = {one.uid: SimpleNamespace(data_address=one.address) for one in (silent, holder)}
            fetching = Fetching(contract(**members), models, reader.client, happened.append)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(fetching.fetch, Fetch("sha256:older", (silent.uid, holder.uid)), fetching.anew())
                await trio.to_thread.run_sync(partial(asked.acquire, timeout=60.0))
                if ends == "cancelled":
                    nursery.cancel_scope.cancel()
                else:
                    await fetching.fetch(Fetch(digest, (silent.uid, holder.uid)), fetching.anew())
            await trio.to_thread.run_sync(until, lambda: len(list((tmp_path / "models").iterdir())) == len(happened))

    trio.run(main)
    assert not asked.acquire(blocking=False)
    assert happened == ([] if ends == "cancelled" else [Fetched(digest)])


def test_r038_a_late_change_is_not_told_from_a_damaged_model(tmp_path, model) -> None:
    content, origin = model
    base = hashing.digest(SCHEMA, memoryview(bytes(SCHEMA.nbytes)), "sha256")
    models = stored(tmp_path, damaged(content), origin)
    hold(models, bytes(SCHEMA.nbytes), base)
    with pytest.raises(ModelError, match="from which the program trained, is not here any more"):
        rebased(contract(), models, memoryview(content), Rebase(origin, base))
    hold(models, content, origin)
    assert bytes(rebased(contract(), models, memoryview(content), Rebase(origin, base))[0].bytes) == bytes(
        SCHEMA.nbytes
    )
