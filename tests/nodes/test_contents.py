"""Contents of a host: fetched, checked, unpacked, put in place; and what archives from others cannot do."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.server
import importlib
import io
import lzma
import os
import tarfile
import threading
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from swarm.core import operator_steps as o
from swarm.core.events import SlotAssigned
from swarm.core.task import Task
from swarm.engines.paths import source_of
from swarm.errors import BadInput, ModelError, SwarmError, Unreachable
from swarm.nodes import archive as reading
from swarm.nodes import contents as module
from swarm.nodes.contents import Cancelled, Contents
from swarm.nodes.preparing import Preparing
from swarm.nodes.unpacking import Limits, unpack
from swarm.wire.contents import MakeSwarmUserContent, Operation

MODEL = b"weights" * 1000


def tar_of(path: Path, *members: tuple[str, Any], mode: str = "w:gz") -> Path:
    """bytes: a file; text: a link; None: a directory; a TarInfo: itself."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, what in members:
            info = what if isinstance(what, tarfile.TarInfo) else tarfile.TarInfo(name)
            if isinstance(what, str):
                info.type, info.linkname = tarfile.SYMTYPE, what
            elif what is None:
                info.type = tarfile.DIRTYPE
            elif isinstance(what, bytes):
                info.size, info.mode = len(what), 0o4777
            tar.addfile(info, io.BytesIO(what) if isinstance(what, bytes) else None)
    return path


def target(file: Path, uri: str = "") -> str:
    return f"{uri or file.as_uri()}#sha256={hashlib.sha256(file.read_bytes()).hexdigest()}"


class Host:
    def __init__(self, directory: Path) -> None:
        self.volumes = directory / "volumes"
        self.told: list[str] = []
        self.cancelled = False
        self.contents = Contents(self.volumes, (0, 1), self.told.append, lambda: self.cancelled)

    def make(self, *operations: tuple[str, str, str], kind: Any = "BUILDCONTENT") -> str:
        listed = tuple(Operation(what, name, [{"Out": out}] if out else None) for what, name, out in operations)  # type: ignore[arg-type]
        return self.contents.make(MakeSwarmUserContent(kind, listed), "model")

    def files(self, place: str = "model") -> set[str]:
        return {str(path.relative_to(self.volumes / place)) for path in (self.volumes / place).rglob("*")}

    def refused(self, *operations: tuple[str, str, str], kind: type[SwarmError] = BadInput) -> str:
        before = self.files() if (self.volumes / "model").exists() else None
        with pytest.raises(kind) as caught:
            self.make(*operations)
        assert (self.files() if (self.volumes / "model").exists() else None) == before
        assert not list(self.volumes.glob(".*")), "something half made was left"
        return caught.value.message


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tar_of(tmp_path / "model.tgz", ("model", None), ("model/a.bin", MODEL), ("model/latest", "a.bin"))


def test_a_content_is_fetched_unpacked_and_put_in_place_of_the_one_before(host: Host, archive: Path) -> None:
    (host.volumes / "model").mkdir(parents=True)
    (host.volumes / "model/old").write_text("")
    said = host.make(("DOWNLOAD", target(archive), "m.tgz"), ("EXTRACT", "m.tgz", "in"))
    assert said.startswith("model: 2 files, ")
    assert host.files() == {"m.tgz", "in", "in/model", "in/model/a.bin", "in/model/latest"}
    assert (host.volumes / "model/in/model/latest").read_bytes() == MODEL
    assert (host.volumes / "model/in/model/a.bin").stat().st_mode & 0o7777 == 0o755  # no set-uid bit
    assert not list(host.volumes.glob(".*"))


def test_every_learning_node_has_a_copy_of_its_own_and_the_profile_names_the_volume(host: Host, archive: Path) -> None:
    host.make(("DOWNLOAD", target(archive), ""), ("EXTRACT", "model.tgz", ""), kind="SWARMCONTENT")
    places = [source_of("VOLUME", "model", "Src", volumes=host.volumes, node=node) for node in (0, 1, 2)]
    assert [place.name for place in places] == ["model@0", "model@1", "model"]
    assert [(place / "model/a.bin").exists() for place in places] == [True, True, False]
    (places[0] / "model/a.bin").write_bytes(b"")
    assert (places[1] / "model/a.bin").read_bytes() == MODEL


def test_a_copy_that_a_full_disk_refuses_leaves_nothing(
    host: Host, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copied(whole: Path, part: Path, symlinks: bool) -> None:
        part.mkdir()
        (part / "half").write_bytes(MODEL)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.shutil, "copytree", copied)
    with pytest.raises(BadInput, match="cannot be written on this host: No space left on device"):
        host.make(("DOWNLOAD", target(archive), ""), kind="SWARMCONTENT")
    assert not list(host.volumes.iterdir())


def test_a_download_that_a_full_disk_refuses_is_not_tried_again_and_leaves_nothing(
    host: Host, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, wanted = list[Path](), target(archive)

    def full(self: Path, mode: str) -> io.BufferedIOBase:
        opened.append(self)
        return open("/dev/full", "wb", buffering=0)

    monkeypatch.setattr(module.Path, "open", full)
    assert "cannot be written on this host: No space left on device" in host.refused(("DOWNLOAD", wanted, ""))
    assert len(opened) == 1
    assert not list(host.volumes.iterdir())


def test_other_bytes_than_the_tasks_are_not_used(host: Host, archive: Path) -> None:
    wanted = target(archive)
    archive.write_bytes(archive.read_bytes() + b"!")
    message = host.refused(("DOWNLOAD", wanted, ""), kind=ModelError)
    assert f"and the task says {wanted[-64:]}" in message


def test_a_file_that_is_not_there_and_an_archive_that_nobody_fetched_are_named(host: Host, tmp_path: Path) -> None:
    missing = f"{(tmp_path / 'no').as_uri()}#sha256={'0' * 64}"
    assert "could not be fetched" in host.refused(("DOWNLOAD", missing, ""), kind=Unreachable)
    assert "no DOWNLOAD before it has made this file" in host.refused(("EXTRACT", "m.tgz", ""))


def test_nobody_who_is_gone_is_worked_for(host: Host, archive: Path) -> None:
    host.cancelled = True
    with pytest.raises(Cancelled):
        host.make(("DOWNLOAD", target(archive), ""))
    assert not list(host.volumes.iterdir())


# ---- over HTTP


class Server(http.server.ThreadingHTTPServer):
    """Breaks off the first answers in the middle; then goes on, where asked to."""

    def __init__(self, data: bytes, breaks: int, ranges: bool = True) -> None:
        self.data, self.breaks, self.ranges = data, breaks, ranges
        self.asked: list[str | None] = []
        self.half_way, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/model.tgz"


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        asked = self.headers.get("Range")
        server.asked.append(asked)
        begin = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
        data = server.data[begin:]
        self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        half = len(data) // 2
        self.wfile.write(data[:half])
        server.half_way.set()
        server.go_on.wait(30)
        if len(server.asked) > server.breaks:
            self.wfile.write(data[half:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def serve(data: bytes, breaks: int = 0, ranges: bool = True) -> Server:
        server = Server(data, breaks, ranges)
        servers.append((server, threading.Thread(target=server.serve_forever)))
        servers[-1][1].start()
        return server

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_that_breaks_off_goes_on_where_it_ended_if_its_server_can(
    host: Host, archive: Path, serve: Any, ranges: bool
) -> None:
    server = serve(archive.read_bytes(), 2, ranges)
    host.make(("DOWNLOAD", target(archive, server.uri), ""))
    assert (host.volumes / "model/model.tgz").read_bytes() == archive.read_bytes()
    half = len(server.data) // 2
    assert server.asked[:2] == [None, f"bytes={half}-"]
    assert len(server.asked) == 3
    assert any("broke off" in line for line in host.told)


def test_one_that_breaks_off_every_time_is_given_up(host: Host, archive: Path, serve: Any) -> None:
    server = serve(archive.read_bytes(), 1000, False)
    assert "could not be fetched: " in host.refused(("DOWNLOAD", target(archive, server.uri), ""), kind=Unreachable)
    assert len(server.asked) == module.TRIES


def test_more_bytes_than_a_content_may_have_are_not_taken(
    host: Host, archive: Path, serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BYTES_MAX", 10)
    server = serve(archive.read_bytes())
    assert "has more than 10 bytes" in host.refused(("DOWNLOAD", target(archive, server.uri), ""))


@pytest.mark.parametrize("outcome", ["../out", "/tmp/out", "model/../../out", "..", ".", "", "model@0", "a b"])
def test_an_outcome_names_a_volume_and_nothing_outside(host: Host, archive: Path, outcome: str) -> None:
    outside = host.volumes.parent / "out"
    outside.mkdir()
    (outside / "theirs").write_text("")
    body = MakeSwarmUserContent("BUILDCONTENT", (Operation("DOWNLOAD", target(archive), None),))  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="not the name of a volume"):
        host.contents.make(body, outcome)
    assert [path.name for path in outside.iterdir()] == ["theirs"]
    assert not host.volumes.exists()


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:99999/x", "http://[::1/x", "http://a..b/x", "http://127.0.0.1:9/\u00e9", "file:///x%00"]
)
def test_a_uri_that_is_none_is_a_sentence(host: Host, uri: str) -> None:
    host.refused(("DOWNLOAD", f"{uri}#sha256={'0' * 64}", ""), kind=SwarmError)


def test_what_is_no_plain_file_is_not_read(host: Host, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        assert "is no plain file" in host.refused(("DOWNLOAD", f"{path.as_uri()}#sha256={'0' * 64}", "x"))


def test_what_a_file_of_this_host_holds_is_told_to_its_operator_alone(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("1234")
    digest = hashlib.sha256(b"1234").hexdigest()
    message = host.refused(("DOWNLOAD", f"{secret.as_uri()}#sha256={'0' * 64}", ""), kind=ModelError)
    assert digest not in message
    assert any(digest in line for line in host.told)


# ---- archives that mean harm


def special(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("x")
    info.type = kind
    return info


@pytest.mark.parametrize(
    "members",
    [
        [("../x", b"!")],
        [("/x", b"!")],
        [("a/../../x", b"!")],
        [("a\\..\\..\\x", b"!")],
        [("x", "/etc/passwd")],
        [("x", "..")],
        [("a/b/x", "../../../y")],
        [("x", "a/../../y")],
        [("x", ".."), ("x/y", b"!")],
        [("a", "."), ("a/x", "..")],
        [("a", "b"), ("b", None), ("a/x", "y")],
        [("x", special(tarfile.FIFOTYPE))],
        [("x", special(tarfile.CHRTYPE))],
        [("x", special(tarfile.LNKTYPE))],
    ],
    ids=lambda members: ",".join(name for name, _ in members),
)
def test_nothing_of_an_archive_gets_out_of_the_directory(tmp_path: Path, members: list[tuple[str, Any]]) -> None:
    archive = tar_of(tmp_path / "bad.tar", *members, mode="w")
    into = tmp_path / "into/here"
    with pytest.raises(BadInput, match=r"^bad.tar holds "):
        unpack(archive, into, Limits(1000), lambda: None)
    found = {path for path in tmp_path.rglob("*") if path.name in ("x", "y")}
    assert not {path for path in found if not path.is_relative_to(into)}
    assert all(Path(os.path.realpath(path)).is_relative_to(into) for path in into.rglob("*"))


def test_links_that_stay_are_kept_and_what_they_show_is_below(tmp_path: Path) -> None:
    members = [("a", "."), ("b", "a/a/c"), ("c", b"in"), ("d/e", "../c"), ("f", "d/../c")]
    archive = tar_of(tmp_path / "links.tar", *members[:4], mode="w")
    unpack(archive, tmp_path / "into", Limits(1000), lambda: None)
    assert {path.read_bytes() for path in (tmp_path / "into/b", tmp_path / "into/d/e")} == {b"in"}
    archive = tar_of(tmp_path / "links.tar", members[4], mode="w")
    with pytest.raises(BadInput, match="leads out"):
        unpack(archive, tmp_path / "into", Limits(1000), lambda: None)


def test_a_bomb_is_ended_by_what_it_unpacks_to(tmp_path: Path) -> None:
    bomb = tar_of(tmp_path / "bomb.tgz", ("x", b"\0" * 10_000_000))
    assert bomb.stat().st_size < 100_000
    with pytest.raises(BadInput, match=r"^bomb\.tgz unpacks to more than 1000000 bytes$"):
        unpack(bomb, tmp_path / "into", Limits(1_000_000), lambda: None)
    many = tar_of(tmp_path / "many.tgz", *((str(number), b"") for number in range(11)))
    with pytest.raises(BadInput, match="holds more than"):
        unpack(many, tmp_path / "into", Limits(1000, files=10), lambda: None)


def pax(name: str, attributes: int, size: int = 10) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.pax_headers = {f"x{number}": "v" * size for number in range(attributes)}
    return info


def sparse(blocks: int) -> bytes:
    """A file of GNU's old form, whose list of holes has no end."""
    head = tarfile.TarInfo("x")
    head.type = tarfile.GNUTYPE_SPARSE
    first = bytearray(head.tobuf(tarfile.GNU_FORMAT))
    first[482] = 1
    first[148:156] = b" " * 8
    first[148:156] = b"%06o\0 " % sum(first)
    hole = b"00000000001\0" * 2
    return bytes(first) + (hole * 21 + b"\1" + bytes(7)) * blocks


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
@pytest.mark.parametrize("kind", ["one", "all", "holes"])
def test_headers_take_no_more_memory_than_is_meant_for_them(tmp_path: Path, kind: str, mode: str) -> None:
    bomb = tmp_path / "bomb.tar"
    if kind == "holes":
        bomb.write_bytes(importlib.import_module({"xz": "lzma", "gz": "gzip"}.get(mode, mode)).compress(sparse(40_000)))
    elif kind == "one":
        tar_of(bomb, ("x", pax("x", 20, 1_000_000)), mode=f"w:{mode}")
    else:
        with tarfile.open(bomb, f"w:{mode}", format=tarfile.PAX_FORMAT, pax_headers=pax("", 101).pax_headers) as tar:
            tar.addfile(tarfile.TarInfo("x"))
    assert bomb.stat().st_size < 100_000
    tracemalloc.start()
    with pytest.raises(BadInput, match=r"^bomb.tar says more of its files than memory is spent on$"):
        unpack(bomb, tmp_path / "into", Limits(10**9), lambda: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_headers_of_many_members_are_not_kept(tmp_path: Path) -> None:
    many = tar_of(tmp_path / "many.tgz", *((str(number), pax(str(number), 1, 100_000)) for number in range(100)))
    tracemalloc.start()
    unpack(many, tmp_path / "into", Limits(10**9), lambda: None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_decompressor_takes_no_more_memory_than_is_meant_for_it(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = gzip.decompress(archive.read_bytes())
    compressed = tmp_path / "model.tar.xz"
    compressed.write_bytes(lzma.compress(plain) + bytes(8) + lzma.compress(b""))
    unpack(compressed, tmp_path / "good", Limits(10**6), lambda: None)
    assert (tmp_path / "good/model/latest").read_bytes() == MODEL
    monkeypatch.setattr(reading, "DECOMPRESSOR_MAX", 1 << 20)
    with pytest.raises(BadInput, match="cannot be unpacked: Memory usage limit exceeded"):
        unpack(compressed, tmp_path / "into", Limits(10**6), lambda: None)


def test_zips_are_unpacked_with_the_same_care(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = tmp_path / "good.zip", tmp_path / "bad.zip"
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a/", "")
        zipped.writestr("a/b", "in")
        link = zipfile.ZipInfo("a/c")
        link.external_attr = 0o120777 << 16
        zipped.writestr(link, "b")
    unpack(good, tmp_path / "into", Limits(1000), lambda: None)
    assert (tmp_path / "into/a/c").read_text() == "in"
    with zipfile.ZipFile(bad, "w") as zipped:
        zipped.writestr("../b", "out")
    with pytest.raises(BadInput, match="leads out"):
        unpack(bad, tmp_path / "into", Limits(1000), lambda: None)
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_LZMA) as zipped:
        zipped.writestr("b", "in")
    with pytest.raises(BadInput, match="in a form that is not unpacked"):
        unpack(bad, tmp_path / "into", Limits(1000), lambda: None)
    monkeypatch.setattr(reading, "DIRECTORY_MAX", 100)
    with pytest.raises(BadInput, match="says more of its files"):
        unpack(good, tmp_path / "into", Limits(1000), lambda: None)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"no archive", lambda data: b""])
def test_a_damaged_archive_is_said_to_be_one(tmp_path: Path, archive: Path, damage: Any) -> None:
    archive.write_bytes(damage(archive.read_bytes()))
    with pytest.raises(BadInput, match=r"^model.tgz (is neither|cannot be unpacked)"):
        unpack(archive, tmp_path / "into", Limits(10**6), lambda: None)


@pytest.mark.parametrize("size", [1 << 61, 1 << 80])
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE])
def test_a_size_that_cannot_be_is_a_damage(tmp_path: Path, size: int, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.size, info.type = size, kind
    (tmp_path / "bad.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024)
    with pytest.raises(BadInput, match=r"^bad.tar (is neither|cannot be unpacked)"):
        unpack(tmp_path / "bad.tar", tmp_path / "into", Limits(10**6), lambda: None)


# ---- as an operator's task


class Desk:
    """What `Preparing` asks of its operator."""

    profile: Any = type("Profile", (), {"nodes": [type("Node", (), {"idx": 0})]})

    def __init__(self, volumes: Path) -> None:
        self.volumes = volumes

    def python(self, environment: Any) -> str:
        return "python3"


def test_an_operator_answers_a_task_that_prepares_its_host_once(tmp_path: Path, archive: Path) -> None:
    heard: list[o.Event] = []
    desk: Any = Desk(tmp_path / "volumes")
    preparing = Preparing(desk, desk, heard.append)
    lease = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)
    operation = {"Operation": "DOWNLOAD", "Target": target(archive), "Options": None}
    for wanted in (operation, {**operation, "Target": f"{archive.as_uri()}#sha256={'0' * 64}"}):
        body = {"ContentType": "BUILDCONTENT", "OpsList": [wanted]}
        task = Task("task", "MAKE_SWARM_USER_CONTENT", "me", "ROOTTASK", "model", body, "", b"", 0)
        trio.run(preparing.prepare, lease, task)
    done, failed = heard
    assert isinstance(done, o.Prepared)
    assert (done.verdict.state, done.description[:15]) == ("done", "model: 1 files,")
    assert isinstance(failed, o.NotStarted)
    assert "and the task says 0000" in failed.why.reason


def test_a_place_that_cannot_be_made_fails_the_task_and_not_its_operator(tmp_path: Path) -> None:
    heard: list[o.Event] = []
    (tmp_path / "volumes").write_bytes(b"a file where the directory is to be")
    desk: Any = Desk(tmp_path / "volumes")
    wanted = f"file:///model.tgz#sha256={'0' * 64}"
    body = {"ContentType": "BUILDCONTENT", "OpsList": [{"Operation": "DOWNLOAD", "Target": wanted, "Options": None}]}
    task = Task("task", "MAKE_SWARM_USER_CONTENT", "me", "ROOTTASK", "model", body, "", b"", 0)
    lease = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)
    trio.run(Preparing(desk, desk, heard.append).prepare, lease, task)
    (failed,) = heard
    assert isinstance(failed, o.NotStarted)
    assert failed.why.reason == "the content model cannot be written on this host: File exists"


def test_a_reset_ends_what_is_under_way(tmp_path: Path, archive: Path, serve: Any) -> None:
    heard: list[o.Event] = []
    desk: Any = Desk(tmp_path / "volumes")
    preparing = Preparing(desk, desk, heard.append)
    server = serve(archive.read_bytes())
    server.go_on.clear()
    wanted = {"Operation": "DOWNLOAD", "Target": target(archive, server.uri), "Options": None}
    body = {"ContentType": "BUILDCONTENT", "OpsList": [wanted]}
    task = Task("task", "MAKE_SWARM_USER_CONTENT", "me", "ROOTTASK", "model", body, "", b"", 0)
    lease = SlotAssigned("12.0", "runner", 12, "task", "uid", 0, 12, 1)

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(preparing.prepare, lease, task)
            await trio.to_thread.run_sync(server.half_way.wait)
            preparing.end(11)
            preparing.end(12)
            server.go_on.set()

    trio.run(work)
    (answer,) = heard
    assert isinstance(answer, o.NotStarted)
    assert answer.why.reason == "it was ended before its end"
    assert not list((tmp_path / "volumes").iterdir())
