"""Code that is published and fetched by its hash: what arrives is what was named, or nothing is there."""

import contextlib
import functools
import hashlib
from types import SimpleNamespace

import pytest
import trio

from swarm.core.task import Task
from swarm.errors import BadInput, Refused, SwarmError
from swarm.nodes import codestore
from swarm.nodes.code import digest_of, manifest_of
from swarm.nodes.codefetch import fetch, listed, publish
from swarm.nodes.codestore import CodeStore
from swarm.nodes.participant import ParticipantNode
from swarm.nodes.roleprogram import lay_out
from swarm.runtime.statedir import StateDirectory
from swarm.wire import manifest


def in_loop(test):
    @functools.wraps(test)
    def run(**fixtures):
        trio.run(functools.partial(test, **fixtures))

    return run


def caller(role="sl"):
    return SimpleNamespace(peer=SimpleNamespace(uid=f"uid-{role}", identity=SimpleNamespace(role=role)))


def asking(store, role="sl"):
    async def ask(verb, body):
        return await store.handlers()[verb](caller(role), body)

    return ask


def files(code):
    return [(each.hash, (code / each.name).read_bytes()) for each in manifest_of(code).files]


class Tasks:
    def __init__(self, *hashes):
        rows = [(f"t{n}", {"CodeHash": each}) for n, each in enumerate(hashes)]
        self.tasks = {name: Task(name, "RUN_SWARM", "a", "ROOTTASK", "o", body, "", b"", 0) for name, body in rows}


@pytest.fixture
def code(tmp_path):
    directory = tmp_path / "code"
    for name, text in {"trainer/main.py": "print('trains')\n" * 40_000, "other/main.py": "x", "shared.py": ""}.items():
        place = directory / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return directory


@pytest.fixture
def store(tmp_path):
    return CodeStore(tmp_path / "store", Tasks, lambda: [])


@in_loop
async def test_what_was_published_is_fetched_whole_or_for_one_role(code, store, tmp_path):
    await publish(asking(store, "swci"), files(code), manifest_of(code))
    found = await listed(asking(store), digest_of(code))
    await fetch(asking(store), found.files, tmp_path / "all")
    assert digest_of(tmp_path / "all") == digest_of(code)
    await fetch(asking(store), found.of_role("other", ["trainer", "other"]), tmp_path / "mine")
    assert sorted(each.name for each in (tmp_path / "mine").iterdir()) == ["other", "shared.py"]


@in_loop
async def test_what_was_fetched_for_a_role_runs_again_without_asking_and_not_when_it_was_changed(code, store, tmp_path):
    await publish(asking(store, "swci"), files(code), manifest_of(code))
    program = SimpleNamespace(role=SimpleNamespace(Name="trainer"), roles=("trainer", "other"), author="alice")

    async def nobody(verb, body):
        raise AssertionError(f"asked for {verb} {body}")

    with StateDirectory(tmp_path / "state") as state:
        for ask in (asking(store), nobody):
            node = SimpleNamespace(state=state, _ask=ask)
            place, digest = await ParticipantNode._fetched(node, program, digest_of(code))
            lay_out(tmp_path / "work", place, digest)
    assert sorted(each.name for each in (tmp_path / "work").iterdir()) == ["shared.py", "trainer"]
    (place / "shared.py").write_text("print('as somebody has changed it')")
    with pytest.raises(BadInput, match="has changed: its hash is"):
        lay_out(tmp_path / "work", place, digest)
    assert (tmp_path / "work" / "shared.py").read_text() == ""


@in_loop
async def test_one_network_node_fetches_for_its_participants_what_another_one_took(code, store, tmp_path):
    async def call(verb, body, *, deadline_s):
        return await store.handlers()[verb](caller("sn"), body)

    await publish(asking(store, "swci"), files(code), manifest_of(code))
    second = CodeStore(tmp_path / "second", Tasks, lambda: [SimpleNamespace(call=call)])
    await fetch(asking(second), (await listed(asking(second), digest_of(code))).files, tmp_path / "all")
    assert digest_of(tmp_path / "all") == digest_of(code)
    with pytest.raises(Refused, match="no network node that can be asked holds the code"):
        await asking(second, "sn")("code", {"hash": "sha256:" + "0" * 64, "at": 0})


@in_loop
async def test_a_file_that_is_another_leaves_nothing_behind(code, store, tmp_path):
    await publish(asking(store, "swci"), files(code), manifest_of(code))
    found = await listed(asking(store), digest_of(code))
    place = tmp_path / "store" / hashlib.sha256(b"x").hexdigest()
    place.write_bytes(b"y")
    with pytest.raises(BadInput, match=r"other/main.py of the code came as other bytes"):
        await fetch(asking(store), found.files, tmp_path / "all")
    place.write_bytes(b"x" * 1000)
    with pytest.raises(BadInput, match="is no piece of it, or over 1 bytes"):
        await fetch(asking(store), found.files, tmp_path / "all")
    assert not [each for each in tmp_path.iterdir() if each.name.startswith("all")]


@in_loop
async def test_what_is_taken_has_the_hash_that_it_was_sent_as(store, tmp_path):
    body = {"hash": manifest.digest_of(b"right"), "size": 5, "at": 0, "data": b"wrong"}
    with pytest.raises(BadInput, match="has the hash"):
        await asking(store, "swci")("code_put", body)
    assert list((tmp_path / "store").iterdir()) == []
    for bad in ({"hash": "sha256:../../etc"}, {"size": 1 << 40}, {"at": -1}, {"data": b"too long"}, {"data": "text"}):
        with pytest.raises(SwarmError):
            await asking(store, "swci")("code_put", {**body, **bad})


@in_loop
async def test_what_no_task_names_makes_room(code, store, tmp_path, monkeypatch):
    """With room for less than both: the code that a task names stays, whatever comes."""
    ask = asking(store, "swci")
    await publish(ask, files(code), manifest_of(code))
    other = tmp_path / "more"
    other.mkdir()
    (other / "train.py").write_bytes(b"#" * 1000)
    used = sum(max(each.stat().st_size, codestore.BLOCK) for each in (tmp_path / "store").iterdir())
    monkeypatch.setattr(codestore, "ROOM", used + 500)
    monkeypatch.setattr(codestore, "SHARES", 1)
    store._ledger = lambda: Tasks(digest_of(code))
    with pytest.raises(Refused, match="takes no more"):
        await publish(ask, files(other), manifest_of(other))
    monkeypatch.setattr(codestore, "SHARES", 2)  # now it is over the share of its organisation
    await publish(ask, files(other), manifest_of(other))
    assert (await listed(asking(store), digest_of(other))).files[0].name == "train.py"
    with pytest.raises(Refused):
        await fetch(asking(store), manifest_of(code).files, tmp_path / "gone")


@in_loop
async def test_a_piece_that_was_sent_twice_counts_once(store):
    data = bytes(range(256)) * 2000
    first = {"hash": manifest.digest_of(data), "size": len(data), "at": 0, "data": data[: codestore.PIECE]}
    ask = asking(store, "swci")
    assert (await ask("code_put", first))["have"] == codestore.PIECE
    assert (await ask("code_put", first))["have"] == codestore.PIECE
    rest = {**first, "at": codestore.PIECE, "data": data[codestore.PIECE :]}
    assert (await ask("code_put", rest))["have"] == len(data)
    assert (await ask("code_put", first))["have"] == len(data)
    await trio.lowlevel.checkpoint()


@in_loop
async def test_what_was_begun_small_has_no_more_room_than_there_is(store, tmp_path, monkeypatch):
    monkeypatch.setattr(codestore, "ROOM", 3 * codestore.PIECE)
    piece, ask = bytes(codestore.PIECE), asking(store, "swci")

    def part(number, at, data):
        body = {"hash": f"sha256:{number:064x}", "size": 2 * codestore.PIECE, "at": at, "data": data}
        return ask("code_put", body)

    for number in range(8):
        await part(number, 0, b"x")
    for number in range(8):
        with contextlib.suppress(Refused):
            await part(number, 1, piece)
        assert sum(each.stat().st_size for each in (tmp_path / "store").iterdir()) <= codestore.ROOM
