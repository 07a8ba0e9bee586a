"""The handshake on plain sockets: who is let in, who is not, and what both sides say."""

from __future__ import annotations

import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarm.core.rules import KNOWN
from swarm.errors import IdentityError, Outdated, Replaced, SwarmError, Unreachable
from swarm.runtime.credentials import NO_CHECK_TIME
from swarm.runtime.tls import Local, Peer, handshake_socket
from swarm.wire import binding, frame
from tests.certificates import DAY, NOW, Pair, leaf
from tests.handshakes import CASES, GOOD, NETWORK, A, B, node

Outcome = Peer | SwarmError


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialler = socket.create_connection(server.getsockname())
        listener, _ = server.accept()
        with dialler, listener:
            yield dialler, listener


def meet(pair: tuple[socket.socket, socket.socket], dialler: Local, listener: Local, **more: Any) -> list[Outcome]:
    """[what the dialler got, what the listener got]"""

    def side(sock: socket.socket, local: Local, dials: bool, options: dict[str, Any]) -> Outcome:
        try:
            tls, peer = handshake_socket(sock, local, dialler=dials, **options)
        except SwarmError as error:
            return error
        with tls:
            # A dialler learns of a refusal that came after its own handshake by its first read.
            tls.settimeout(5)
            tls.sendall(b"hello") if not dials else None
            if dials and tls.recv(5) != b"hello":
                return Unreachable("closed")
        return peer

    of_dialler, of_listener = more.pop("of_dialler", {}), more.pop("of_listener", {})
    with ThreadPoolExecutor(2) as pool:
        futures = [
            pool.submit(side, pair[0], dialler, True, of_dialler | more),
            pool.submit(side, pair[1], listener, False, of_listener | more),
        ]
        return [future.result(15) for future in futures]


@pytest.fixture
def good(tmp_path: Path) -> Local:
    return node(tmp_path, GOOD, [A, B])


def test_two_organisations_meet(pair: Any, tmp_path: Path, good: Local) -> None:
    other = node(tmp_path, leaf(B, "SL-1", uris=["swarm://b/sl/sl-1"], key="p256"), [A, B])
    of_dialler, of_listener = meet(pair, other, good)
    assert isinstance(of_dialler, Peer)
    assert isinstance(of_listener, Peer)
    assert (str(of_dialler.identity), str(of_listener.identity)) == ("swarm://a/sn/sn-1", "swarm://b/sl/sl-1")
    assert of_dialler.uid == good.state.uid
    assert of_listener.peer_id == other.state.peer_id
    assert of_listener.incarnation == other.state.incarnation
    assert of_listener.starts == 1


@pytest.mark.parametrize("key", ["ed25519", "p256", "rsa2048", "rsa4096"])
def test_every_promised_key_type_meets(pair: Any, tmp_path: Path, good: Local, key: str) -> None:
    of_dialler, of_listener = meet(pair, node(tmp_path, leaf(A, key=key), [A]), good)
    assert isinstance(of_dialler, Peer)
    assert isinstance(of_listener, Peer)


def test_hpes_form_meets(pair: Any, tmp_path: Path, good: Local) -> None:
    of_dialler, of_listener = meet(pair, good, node(tmp_path, leaf(B, "SN-1", hpe=True), [A, B]))
    assert isinstance(of_listener, Peer)
    assert isinstance(of_dialler, Peer)
    assert str(of_dialler.identity) == "swarm://b/sn/sn-1"


@pytest.mark.parametrize("bad_dials", [True, False], ids=["as dialler", "as listener"])
@pytest.mark.parametrize("name", CASES)
def test_refused(pair: Any, tmp_path: Path, name: str, bad_dials: bool) -> None:
    case = CASES[name]
    presented = case.present()
    bad = node(tmp_path, presented, [A, B])
    good = node(tmp_path, GOOD, [A, B], crls=case.crls(presented))
    options = {"roles": ("sn", "sl")}
    if bad_dials:
        of_bad, of_good = meet(pair, bad, good, of_listener=options)
    else:
        of_good, of_bad = meet(pair, good, bad, of_dialler=options)
    assert isinstance(of_good, IdentityError), of_good
    assert_says(of_good, case.sentence)
    assert isinstance(of_bad, SwarmError), of_bad
    assert_says(of_bad, case.told)


@pytest.mark.parametrize(
    ("presented", "told"),
    [
        (leaf(A, start=NOW - 9 * DAY, end=NOW - DAY), "it says that it has expired"),
        (leaf(A, start=NOW + DAY), "it says that it is bad: not valid yet, or damaged"),
    ],
    ids=["expired", "not yet valid"],
)
def test_what_an_earlier_release_says_of_times_is_understood(
    pair: Any, tmp_path: Path, good: Local, presented: Pair, told: str
) -> None:
    for context in (good.credentials.server_context(), good.credentials.client_context()):
        context.verify_flags &= ~NO_CHECK_TIME
    of_bad, _ = meet(pair, node(tmp_path, presented, [A, B]), good)
    assert_says(of_bad, f"refused this node's certificate CN=SN-1: {told}")


def assert_says(outcome: Outcome, pattern: str) -> None:
    assert isinstance(outcome, SwarmError), outcome
    assert re.search(pattern, outcome.message), outcome.message


def test_another_network_is_refused_on_both_sides(pair: Any, tmp_path: Path, good: Local) -> None:
    other = node(tmp_path, leaf(A, "SN-2"), [A], network=b"\2" * 32)
    of_dialler, of_listener = meet(pair, other, good)
    assert_says(of_listener, r"belongs to network 0202020202020202, this node to 0101010101010101")
    assert_says(of_dialler, r"refused this node: .*belongs to network 0202020202020202")


def test_two_nodes_without_network_are_refused(pair: Any, tmp_path: Path) -> None:
    one, other = (node(tmp_path, leaf(A, name), [A], network=b"") for name in ("SN-1", "SN-2"))
    of_dialler, of_listener = meet(pair, one, other)
    assert_says(of_listener, "neither this node nor .* belongs to a network yet")
    assert_says(of_dialler, "neither this node nor .* belongs to a network yet")
    assert one.state.network_id == b""


def test_a_dialler_without_network_keeps_the_listeners(pair: Any, tmp_path: Path, good: Local) -> None:
    new = node(tmp_path, leaf(A, "SN-2"), [A], network=b"")
    of_dialler, _ = meet(pair, new, good)
    assert isinstance(of_dialler, Peer)
    assert of_dialler.network_id == new.state.network_id == NETWORK
    assert (new.state.path / "network").read_text().strip() == NETWORK.hex()


def test_another_protocol_version_is_refused_on_both_sides(
    pair: Any, tmp_path: Path, good: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_hello = binding._own_hello

    def newer(own: binding.Side) -> binding.Hello:
        """As release 2 would speak: only the new node's hello says so."""
        hello = own_hello(own)
        if own.leaf != new.credentials.leaf:
            return hello
        raw = hello.raw.replace(b"\xa7version\x01", b"\xa7version\x02")
        return replace(hello, raw=raw)

    new = node(tmp_path, leaf(A, "SN-2"), [A])
    monkeypatch.setattr(binding, "_own_hello", newer)
    of_dialler, of_listener = meet(pair, new, good)
    assert_says(of_listener, "speaks protocol 2, this node speaks protocol 1")
    assert_says(of_dialler, "refused this node: .*speaks protocol 2, this node speaks protocol 1")


BEHIND = f"knows rules version {KNOWN} of the ledger, this network follows version {KNOWN + 1}"


def test_a_release_that_does_not_know_the_rules_that_hold_is_refused_on_both_sides(
    pair: Any, tmp_path: Path, good: Local
) -> None:
    good.acquaintances.rules = KNOWN + 1
    older = node(tmp_path, leaf(A, "SN-2"), [A])
    of_dialler, of_listener = meet(pair, older, good)
    assert_says(of_listener, f"runs a release that {BEHIND}")
    assert_says(of_dialler, f"refused this node: .*{BEHIND}")
    assert isinstance(of_dialler, Outdated)
    assert not of_dialler.unproved, "whom it called has signed it"
    assert "install the release" in of_dialler.hint
    assert not isinstance(of_listener, Outdated), "it is not its own release that is old"


def test_a_release_that_does_not_know_the_rules_that_hold_is_told_so_when_it_is_called(
    pair: Any, tmp_path: Path, good: Local
) -> None:
    good.acquaintances.rules = KNOWN + 1
    of_dialler, of_listener = meet(pair, good, node(tmp_path, leaf(A, "SN-2"), [A]))
    assert_says(of_dialler, BEHIND)
    assert isinstance(of_listener, Outdated)


def test_another_node_than_the_expected_is_refused(pair: Any, tmp_path: Path, good: Local) -> None:
    dialler = node(tmp_path, leaf(A, "SN-2"), [A])
    of_dialler, of_listener = meet(pair, dialler, good, of_dialler={"expected_uid": "someone-else"})
    assert_says(of_dialler, rf"is node {good.state.peer_id} \(uid {good.state.uid}\), expected someone-else")
    assert_says(of_listener, "refused this node: .*expected someone-else")


def test_a_false_or_replayed_proof_is_refused(
    pair: Any, tmp_path: Path, good: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dialler signs the transcript of another conversation."""
    other, transcript = node(tmp_path, leaf(A, "SN-2"), [A]), binding.Binding._transcript

    def recorded(self: binding.Binding, side: str) -> bytes:
        signed = transcript(self, side)
        is_the_others = self._own.leaf == other.credentials.leaf
        return signed[:-1] + b"?" if is_the_others and side == "dialler" else signed

    monkeypatch.setattr(binding.Binding, "_transcript", recorded)
    _, of_listener = meet(pair, other, good)
    assert_says(of_listener, "did not prove that it holds its node key in this conversation")


def test_ones_own_key_is_refused(pair: Any, good: Local) -> None:
    of_dialler, of_listener = meet(pair, good, good)
    assert_says(of_listener, "came with this node's own key")
    assert_says(of_dialler, "came with this node's own key")


def test_a_node_key_under_another_identity_is_refused(tmp_path: Path, good: Local) -> None:
    first = node(tmp_path, leaf(A, "SN-2"), [A], state="shared")
    assert isinstance(meet(_pair(), first, good)[1], Peer)
    first.state.close()
    second = node(tmp_path, leaf(A, "SN-3"), [A], state="shared")
    of_dialler, of_listener = meet(_pair(), second, good)
    assert_says(of_listener, "swarm://a/sn/sn-3 at .* uses a node key that is known as swarm://a/sn/sn-2")
    assert_says(of_dialler, "refused this node: .*known as swarm://a/sn/sn-2")


def test_a_renewed_certificate_of_the_same_name_is_welcome(tmp_path: Path, good: Local) -> None:
    first = node(tmp_path, leaf(A, "SN-2"), [A], state="shared")
    assert isinstance(meet(_pair(), first, good)[1], Peer)
    first.state.close()
    renewed = node(tmp_path, leaf(A, "SN-2", key="p256"), [A], state="shared")
    assert isinstance(meet(_pair(), renewed, good)[1], Peer)


def test_an_ended_incarnation_is_refused(tmp_path: Path, good: Local) -> None:
    older = node(tmp_path, leaf(A, "SN-2"), [A], state="shared")
    of_listener = meet(_pair(), older, good)[1]
    assert isinstance(of_listener, Peer)
    newer = (2).to_bytes(8, "big") + os.urandom(8)
    good.acquaintances.learn(of_listener.node_key, of_listener.identity, newer)
    good.acquaintances.signed[of_listener.node_key] = b"a head"
    of_dialler, refusal = meet(_pair(), older, good)
    assert_says(refusal, "has been replaced: start 1 of its node key came, start 2 has taken its place")
    assert_says(of_dialler, "refused this node: .*has been replaced")
    assert isinstance(of_dialler, Replaced)
    assert of_dialler.proof == b"a head"
    assert not isinstance(refusal, Replaced), "it is about the other one"


def test_who_calls_an_ended_incarnation_is_not_ended_by_it(tmp_path: Path, good: Local) -> None:
    older = node(tmp_path, leaf(A, "SN-2"), [A], state="shared")
    of_dialler = meet(_pair(), good, older)[0]
    assert isinstance(of_dialler, Peer)
    good.acquaintances.learn(of_dialler.node_key, of_dialler.identity, (2).to_bytes(8, "big") + os.urandom(8))
    refusal, of_listener = meet(_pair(), good, older)
    assert_says(refusal, "has been replaced: start 1 of its node key came, start 2 has taken its place")
    assert not isinstance(refusal, Replaced), "an old copy of a directory would take others with it"
    assert isinstance(of_listener, Replaced)


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        dialler = socket.create_connection(server.getsockname())
        return dialler, server.accept()[0]


# ---- strangers: no certificate, other protocols, silence, floods


def stranger(pair: Any, good: Local, act: Callable[[socket.socket], None], **more: Any) -> Outcome:
    """What the listening honest node says of a dialler that does as it likes."""
    actor = threading.Thread(target=act, args=(pair[0],))
    actor.start()
    try:
        tls, peer = handshake_socket(pair[1], good, dialler=False, **more)
        tls.close()
        return peer
    except SwarmError as error:
        return error
    finally:
        actor.join(10)


def without_certificate(version: ssl.TLSVersion) -> Callable[[socket.socket], None]:
    def act(sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        try:
            with context.wrap_socket(sock) as tls:
                tls.recv(1)
        except OSError:
            pass

    return act


def test_no_certificate_is_refused(pair: Any, good: Local) -> None:
    assert_says(stranger(pair, good, without_certificate(ssl.TLSVersion.TLSv1_3)), "presented no certificate")


def test_tls_1_2_is_refused(pair: Any, good: Local) -> None:
    assert_says(stranger(pair, good, without_certificate(ssl.TLSVersion.TLSv1_2)), r"does not speak TLS 1\.3 here")


def test_another_protocol_is_refused(pair: Any, good: Local) -> None:
    assert_says(stranger(pair, good, lambda sock: sock.sendall(b"GET / HTTP/1.1\r\n\r\n")), r"does not speak TLS 1\.3")


def test_silence_ends_at_the_deadline(pair: Any, good: Local) -> None:
    before = time.monotonic()
    outcome = stranger(pair, good, lambda sock: None, deadline_s=0.3)
    assert isinstance(outcome, Unreachable)
    assert_says(outcome, "did not finish the handshake within 0.3 s")
    assert time.monotonic() - before < 3


def test_a_drip_ends_at_the_deadline_too(pair: Any, good: Local) -> None:
    """One byte at a time never lets a single read time out: the deadline is for the whole."""
    stop = threading.Event()

    def drip(sock: socket.socket) -> None:
        try:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            while not stop.wait(0.05):
                sock.sendall(b"\0")
        except OSError:
            pass

    timer = threading.Timer(3, stop.set)
    timer.start()
    try:
        assert_says(stranger(pair, good, drip, deadline_s=0.5), "did not finish the handshake within 0.5 s|TLS")
    finally:
        stop.set()
        timer.cancel()


def test_a_flood_is_cut_at_16_kib(pair: Any, good: Local) -> None:
    def flood(sock: socket.socket) -> None:
        record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + b"\0" * 16380
        try:
            for _ in range(100):
                sock.sendall(record)
        except OSError:
            pass

    outcome = stranger(pair, good, flood)
    assert isinstance(outcome, SwarmError)


def test_an_end_in_the_middle_is_unreachable(pair: Any, good: Local) -> None:
    outcome = stranger(pair, good, lambda sock: sock.close())
    assert isinstance(outcome, Unreachable)
    assert_says(outcome, "closed the connection during the handshake")


def test_a_certificate_without_the_binding_is_not_enough(pair: Any, tmp_path: Path, good: Local) -> None:
    """TLS done with a good certificate, then something else than Hello."""
    other = node(tmp_path, leaf(A, "SN-2"), [A])

    def act(sock: socket.socket) -> None:
        with other.credentials.client_context().wrap_socket(sock) as tls:
            tls.sendall(frame.pack(["proof", b"x" * 64]))
            try:
                told.append(frame.Decoder().feed(tls.recv(4096)))
            except OSError as error:
                told.append(error)

    told: list[Any] = []
    assert_says(stranger(pair, good, act), "sent something else than the next step of the handshake")
    assert told[0][0][0] == "refused"


def test_data_right_behind_the_diallers_proof_is_not_lost(pair: Any, tmp_path: Path, good: Local) -> None:
    other = node(tmp_path, leaf(A, "SN-2"), [A])

    def act(sock: socket.socket) -> None:
        tls, _ = handshake_socket(sock, other, dialler=True)
        with tls:
            tls.sendall(b"x" * 100_000)

    actor = threading.Thread(target=act, args=(pair[0],))
    actor.start()
    tls, _ = handshake_socket(pair[1], good, dialler=False)
    with tls:
        received = 0
        while received < 100_000:
            received += len(tls.recv(65536))
    actor.join()


def test_the_socket_is_closed_after_a_refusal(pair: Any, good: Local) -> None:
    stranger(pair, good, lambda sock: sock.close())
    assert pair[1].fileno() == -1
