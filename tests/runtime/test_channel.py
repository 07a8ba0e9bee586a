"""The channel between real processes: one program and its learning node, in order and in every disorder."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from swarm.core.tensors import Schema
from swarm.errors import (
    BadInput,
    IdentityError,
    InternalError,
    ModelError,
    Refused,
    SwarmError,
    Unreachable,
)
from swarm.nodes.slotdirectory import SlotDirectory
from swarm.runtime import channel, channel_server
from swarm.runtime.channel import Channel
from swarm.runtime.channel_socket import place, shared_memory
from swarm.wire import frame, tensorbytes
from swarm.wire.messages import Open, Sync
from tests.runtime.channel_node import Running, running

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "flag": np.array(True)}
SCHEMA = Schema.of(ARRAYS)
REQUEST = Open("demo", {"minPeers": 2}, 1, 10, "snapshot", SCHEMA.to_wire())
SYNC = Sync("sync", 128, 1, {})


@pytest.fixture
def node(tmp_path):
    with running(tmp_path / "channel") as started:
        yield started


@contextlib.contextmanager
def program(name: str, node: Running):
    command = [sys.executable, "-m", "tests.runtime.ml_program", name]
    environment = {**os.environ, **node.environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def dial(node: Running, on_note=lambda level, text: None, **keywords) -> Channel:
    return Channel(node.server.path, node.server.token, on_note, **keywords)


def opened(node: Running, on_note=lambda level, text: None, **keywords) -> Channel:
    connection = dial(node, on_note, **keywords)
    connection.open(REQUEST, SCHEMA.nbytes)
    tensorbytes.pack(SCHEMA, ARRAYS, connection.out)
    return connection


@contextlib.contextmanager
def in_thread(function, *args):
    """Runs ``function`` beside; the list it yields has its result or its SwarmError after the block."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(function(*args))
        except SwarmError as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield outcome
    thread.join(10)
    assert outcome, "it still waits"


# ---- in order


def test_a_program_trains_with_numpy_alone_and_ends_with_the_final_model(node):
    node.node.merge = lambda arrays: {**arrays, "w": arrays["w"] + 1}
    node.node.answer = lambda number, request: {"training_over": number >= 4}
    with program("train", node) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "final 6.0 int64 ()" in out
    assert "foreign modules: []" in out
    assert [request.kind for request in node.node.syncs] == ["begin", "sync", "sync", "sync", "end"]
    assert [request.batches for request in node.node.syncs] == [0, 10, 20, 30, 30]
    assert node.node.syncs[1].metrics == {"loss": 0.5}
    assert node.node.gone_event.wait(5)
    assert node.node.gone_sessions[0].said_bye


def test_tensors_pass_through_unnamed_memory_that_is_used_again_every_round(node):
    connection = opened(node)
    before = (connection.out.obj, connection.incoming.obj)
    node.node.merge = lambda arrays: {**arrays, "w": arrays["w"] * 2}
    for _ in range(3):
        connection.sync(SYNC)
        merged = tensorbytes.views(SCHEMA, connection.incoming)
        np.testing.assert_array_equal(merged["w"], ARRAYS["w"] * 2)
    assert (connection.out.obj, connection.incoming.obj) == before
    assert connection.incoming.readonly
    maps = Path("/proc/self/maps").read_text()
    assert "/memfd:swarm-weights (deleted)" in maps
    connection.close()


def test_shared_memory_cannot_be_shrunk_or_grown_under_the_other_side():
    descriptor = shared_memory(8192)
    try:
        for size in (0, 1 << 20):
            with pytest.raises(PermissionError):
                os.ftruncate(descriptor, size)
    finally:
        os.close(descriptor)


def test_notes_reach_the_programs_log_in_order(node):
    notes = []
    connection = opened(node, lambda level, text: notes.append((level, text)))
    node.node.notes = [("info", "waiting for peers: 1 of 2"), ("warning", "sl-2 (org-b) is slow")]
    connection.sync(SYNC)
    assert notes == node.node.notes
    connection.close()


def test_a_long_round_is_waited_for_while_the_node_gives_signs_of_life(node):
    connection = opened(node, silence_s=0.5)
    node.node.hold = node.call(channel_server.trio.Event)
    with in_thread(connection.sync, SYNC) as outcome:
        assert node.node.busy.wait(5)
        assert not threading.Event().wait(1.0)  # twice the silence that would be too much
        node.call(node.node.hold.set)
    assert outcome[0].how == "merged"
    connection.close()


def test_nothing_named_is_left_behind(tmp_path):
    with running(tmp_path / "channel") as node:
        connection = opened(node)
        connection.sync(SYNC)
        connection.close()
        assert (tmp_path / "channel").stat().st_mode & 0o777 == 0o700
        assert Path(node.server.path).stat().st_mode & 0o777 == 0o600
    assert list((tmp_path / "channel").iterdir()) == []


def test_no_descriptor_is_left_by_a_session_however_it_ends(node):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    opened(node).close()
    assert node.node.gone_event.wait(5)
    before = descriptors()
    for _ in range(3):
        node.node.gone_event.clear()
        connection = dial(node)
        connection._send(REQUEST)  # and does not wait for the answer
        connection.close()
        assert node.node.gone_event.wait(5)
        node.node.gone_event.clear()
        opened(node).close()
        assert node.node.gone_event.wait(5)
    deadline = time.monotonic() + 5  # the server closes its socket right after it told the handler
    while descriptors() > before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert descriptors() <= before


def test_a_socket_left_by_a_killed_node_is_replaced(tmp_path):
    (tmp_path / "channel").mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "channel" / "socket"))
    with running(tmp_path / "channel") as node:
        opened(node).close()


def test_where_the_state_directorys_path_is_too_long_a_private_short_one_is_used(tmp_path):
    with running(tmp_path / ("long-" * 20)) as node:
        assert len(node.server.path) <= channel.PATH_MAX
        directory = Path(node.server.path).parent
        assert directory.stat().st_mode & 0o777 == 0o700
        opened(node).close()
    assert not directory.exists()


def test_a_path_that_no_socket_can_have_is_refused_with_its_length():
    path = "/" + "x" * 120
    with pytest.raises(BadInput, match="the channel's socket path has 121 bytes, expected 1 to 107: /xxx"):
        Channel(path, "", lambda level, text: None)


# ---- errors of the handler


@pytest.mark.parametrize(
    "error", [Refused("minPeers: the contract has 3, this node has 2", hint="use 3"), ModelError("m")]
)
def test_the_nodes_error_is_the_same_error_in_the_program(node, error):
    connection = dial(node)
    node.node.fail_open = error
    with pytest.raises(type(error), match=error.message) as caught:
        connection.open(REQUEST, SCHEMA.nbytes)
    assert caught.value.hint == error.hint
    node.node.fail_open = None
    connection.open(REQUEST, SCHEMA.nbytes)  # a refusal does not end the session
    node.node.fail_sync = error
    with pytest.raises(type(error), match=error.message):
        connection.sync(SYNC)
    connection.close()


def test_a_nodes_own_mistake_is_an_internal_error_in_the_program_and_the_node_lives_on(node):
    connection = opened(node)
    node.node.fail_sync = ExceptionGroup("nursery", [ValueError("broken")])
    with pytest.raises(InternalError, match=r"sl-1 \(org-a\) failed with ValueError: broken"):
        connection.sync(SYNC)
    node.node.fail_sync = None
    assert connection.sync(SYNC).how == "merged"
    connection.close()


def test_r058_a_schema_that_is_impossible_is_refused_before_the_node_enrols_or_takes_memory(node):
    connection = dial(node)
    huge = Open("demo", {}, 1, 10, "snapshot", [["w", "float32", [1 << 31, 1 << 31]]])
    with pytest.raises(ModelError, match="is not possible"):
        connection.open(huge, 64)
    assert node.node.opens == []
    connection.close()


# ---- who may come in


def test_without_a_channel_the_sentence_says_how_to_start():
    with pytest.raises(Unreachable) as caught:
        channel.connect({}, lambda level, text: None)
    assert caught.value.message == (
        'no swarm learning node: start with "swarm run -- python train.py", or set SWARM_LOOPBACK=true to train alone'
    )


def test_a_path_where_nobody_listens_is_named(tmp_path):
    with pytest.raises(Unreachable, match=f"no learning node answers at {tmp_path}/socket"):
        channel.connect({"SWARM_CHANNEL": f"{tmp_path}/socket"}, lambda level, text: None)


def test_a_wrong_token_is_refused_and_none_is_needed_by_the_same_user(node):
    with pytest.raises(IdentityError, match=r"SWARM_CHANNEL_TOKEN is not the token of sl-1 \(org-a\)"):
        Channel(node.server.path, "0" * 32, lambda level, text: None)
    Channel(node.server.path, "", lambda level, text: None).close()


def test_another_user_needs_the_token(node, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(IdentityError, match=f"a program of user {os.geteuid()} asked .* serves programs of user 12345"):
        Channel(node.server.path, "", lambda level, text: None)
    dial(node).close()


def test_a_second_program_is_refused_while_the_first_is_there(node):
    connection = opened(node)
    with program("train", node) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert f"sl-1 (org-a) serves process {os.getpid()} and refused process {process.pid}" in err
    assert connection.sync(SYNC).how == "merged"
    connection.close()


def test_a_newer_session_of_the_same_program_takes_over_and_the_older_is_told(node):
    older = opened(node)
    newer = opened(node)
    with pytest.raises(Refused, match=r"this session with .* is over: the program opened another session"):
        older.sync(SYNC)
    assert newer.sync(SYNC).how == "merged"
    assert [session.gone_reason for session in node.node.gone_sessions] == ["the program opened another session"]
    newer.close()


def test_a_forked_child_is_refused_and_the_parent_goes_on(node):
    with program("forks", node) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "is a fork of the training program" in out
    assert "parent merged" in out
    assert [arrays["w"][0, 0] for arrays in node.node.received] == [1.0, 3.0]


def test_a_forked_child_that_writes_to_the_socket_ends_the_session_with_a_sentence(node):
    with program("fork_writes_to_the_socket", node) as process:
        out, err = process.communicate(timeout=30)
    assert f"wrote on the channel of process {process.pid}" in out, err
    assert node.node.gone_event.wait(5)
    assert f"wrote on the channel of process {process.pid}" in node.node.gone_sessions[0].gone_reason


@pytest.mark.parametrize(
    "noise",
    [b"\xff\xff\xff\xff", b"\0\0\0\1\xc1", frame.pack({"type": "sync"}), frame.pack([1, 2]), b"GET / HTTP/1.1\r\n\r\n"],
    ids=["over the cap", "no msgpack", "wrong message", "no map", "http"],
)
def test_noise_is_answered_with_an_error_and_the_node_lives_on(node, noise):
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10)
        stranger.connect(node.server.path)
        stranger.sendall(noise)
        received = b"".join(iter(lambda: stranger.recv(4096), b""))
    (answer,) = frame.Decoder().feed(received)
    assert answer["type"] == "error"
    opened(node).close()


def test_a_connection_without_a_hello_is_closed(node, monkeypatch):
    monkeypatch.setattr(channel_server, "HELLO_S", 0.05)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.settimeout(10)
        silent.connect(node.server.path)
        assert b"no Hello on the channel" in silent.recv(4096)
        assert silent.recv(4096) == b""


def test_r057_a_frame_over_the_cap_is_not_buffered(node):
    before = psutil.Process().memory_info().rss
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.settimeout(10)
        stranger.connect(node.server.path)
        stranger.sendall(struct.pack(">I", (1 << 32) - 1) + bytes(1024))
        assert b"at most 1048576" in stranger.recv(4096)
    assert psutil.Process().memory_info().rss - before < 16 << 20


# ---- ends


def test_a_program_that_is_killed_ends_its_session_even_when_a_child_still_holds_the_socket(node):
    with program("until_killed", node) as process:
        child = next(int(line.split()[1]) for line in process.stdout if line.startswith("child"))
        try:
            process.send_signal(signal.SIGKILL)
            assert node.node.gone_event.wait(10)
            assert psutil.pid_exists(child)
        finally:
            os.kill(child, signal.SIGKILL)
    assert f"the program (process {process.pid}) ended without a goodbye" in node.node.gone_sessions[0].gone_reason


def test_the_nodes_work_is_cancelled_when_the_program_is_killed_while_it_waits(node):
    node.node.hold = node.call(channel_server.trio.Event)
    with program("train", node) as process:
        assert node.node.busy.wait(20)
        process.kill()
        assert node.node.cancelled.wait(10)
        assert node.node.gone_event.wait(10)
    assert not node.node.gone_sessions[0].said_bye


def test_ctrl_c_while_it_waits_ends_a_program_at_once_and_in_order(node):
    node.node.hold = node.call(channel_server.trio.Event)
    with program("train", node) as process:
        assert node.node.busy.wait(20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode in (130, -signal.SIGINT), err
    assert "KeyboardInterrupt" in err
    assert node.node.cancelled.wait(5)
    assert node.node.gone_event.wait(5)
    assert not node.node.gone_sessions[0].said_bye


@pytest.mark.parametrize(("name", "code"), [("raises", 1), ("exits", 3)])
def test_a_program_that_fails_ends_at_once_and_its_node_knows(node, name, code):
    with program(name, node) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert node.node.gone_event.wait(5)
    assert node.node.gone_sessions[0].withdrew is None
    assert not node.node.gone_sessions[0].said_bye


def test_r055_weights_that_are_not_finite_never_leave_and_the_node_hears_why(node):
    with program("diverges", node) as process:
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 7
    assert 'the weights in tensor "w" are not finite (NaN or infinity), so they cannot be merged' in out
    assert node.node.gone_event.wait(5)
    withdrew = node.node.gone_sessions[0].withdrew
    assert (withdrew.code, withdrew.reason) == (7, node.node.gone_sessions[0].gone_reason)
    assert [request.kind for request in node.node.syncs] == ["begin"]


def test_a_node_that_ends_is_named_with_what_it_was_doing_and_its_last_words(tmp_path):
    with contextlib.ExitStack() as stack:
        node = stack.enter_context(running(tmp_path / "channel"))
        noted = threading.Event()
        connection = opened(node, lambda level, text: noted.set())
        node.node.notes = [("info", "waiting for peers: 1 of 2")]
        node.node.hold = node.call(channel_server.trio.Event)
        with in_thread(connection.sync, SYNC) as outcome:
            assert noted.wait(5)
            stack.close()
    assert str(outcome[0]) == (
        "learning node sl-1 (org-a) ended while merging at batch 128; its last words: waiting for peers: 1 of 2"
    )
    assert isinstance(outcome[0], Unreachable)
    with pytest.raises(Unreachable, match=r"the session with learning node sl-1 \(org-a\) is closed"):
        connection.sync(SYNC)


def test_a_silent_node_is_given_up_after_the_deadline(tmp_path):
    with running(tmp_path / "channel", alive_s=60) as node:
        connection = opened(node, silence_s=0.2)
        node.node.hold = node.call(channel_server.trio.Event)
        with pytest.raises(Unreachable, match=r"0.2 s without a sign of life from .* while merging at batch 128"):
            connection.sync(SYNC)


def test_a_program_that_does_not_read_keeps_nobody_waiting(node):
    connection = opened(node)
    connection._send(SYNC)
    node.node.notes = [("info", "x" * 4000)] * 500
    node.node.hold = node.call(channel_server.trio.Event)
    connection.close()
    assert node.node.gone_event.wait(10)


@pytest.mark.parametrize("how", ["started again", "cleared away"])
def test_where_a_killed_nodes_socket_lay_goes_with_the_next_start_or_with_its_slot(tmp_path, monkeypatch, how):
    state = tmp_path / ("a" * channel.PATH_MAX) / "sl"
    killed = place(state / "channel")
    path = killed.__enter__()  # and nothing is heard of it again
    Path(path).touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # another one than it had
    if how == "started again":
        with place(state / "channel") as again:
            assert Path(again).parent.is_dir()
    else:
        SlotDirectory(state.parent, None).clear()
    assert not Path(path).parent.exists()
    assert not list(tmp_path.rglob("elsewhere"))


def test_a_place_that_cannot_be_kept_is_said_in_one_sentence_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    state = tmp_path / ("a" * channel.PATH_MAX)
    state.write_text("no directory")
    with pytest.raises(BadInput, match=r"no channel at .*: Not a directory"), place(state / "channel"):
        pass
    assert not list((tmp_path / "tmp").iterdir())
