"""Certificates, keys and rights: situations 41 to 46, 52, 53 and 93."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, PrivateFormat

from swarm.core.events import Outcome
from swarm.core.ledger import Ledger
from swarm.core.rules import KNOWN
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local, handshake_socket
from swarm.wire.signed import Entry, make_entry, sign_proposal, verify
from tests.bad_input.messages import Told, case, refused
from tests.bad_input.stage import Stage, identity, until
from tests.certificates import (
    CLIENT,
    CODE_SIGNING,
    DAY,
    NOW,
    PEM,
    OrganisationFiles,
    Pair,
    authority,
    crl,
    leaf,
    make_organisation,
    write,
)

# ---- a node's own files


def loaded(stage: Stage, pair: Callable[[OrganisationFiles], Pair]) -> Told:
    """What a node is told that is started with this certificate of organisation a."""
    files = write(pair(stage.a), stage.new("files"))
    return refused(lambda: Credentials.load(*files, stage.a.capath))


def start_with(stage: Stage, **other: Path) -> Told:
    files = {"cert": stage.a.cert("sn"), "key": stage.a.key("sn"), "capath": stage.a.capath, **other}
    return refused(lambda: Credentials.load(**files, expect_roles=("sn",)))


FAULTS: dict[str, Callable[[OrganisationFiles], Pair]] = {
    "expired": lambda a: leaf(a.ca, start=NOW - 9 * DAY, end=NOW - DAY),
    "not yet valid": lambda a: leaf(a.ca, start=NOW + DAY),
    "usage without digitalSignature": lambda a: leaf(a.ca, usage=("key_encipherment",)),
    "extended usage of a client only": lambda a: leaf(a.ca, purposes=[CLIENT]),
    "extended usage of something else": lambda a: leaf(a.ca, purposes=[CODE_SIGNING]),
    "CA:TRUE": lambda a: leaf(a.ca, ca_flag=True),
    "unknown critical extension": lambda a: leaf(a.ca, critical="1.2.3.4"),
    "chain of four": lambda a: leaf(authority("low", signed_by=authority("between", signed_by=a.ca))),
    "100 KiB": lambda a: leaf(a.ca, padding=100 * 1024),
    "RSA 16384": lambda a: leaf(a.ca, key="rsa16384"),
    "RSA 1024": lambda a: leaf(a.ca, key="rsa1024"),
    "another curve": lambda a: leaf(a.ca, key="p384"),
    "signed by nobody in capath": lambda a: leaf(authority("CA-X")),
    "name of another organisation": lambda a: leaf(a.ca, uris=["swarm://b/sn/sn-1"]),
    "two swarm names": lambda a: leaf(a.ca, uris=["swarm://a/sn/sn-1", "swarm://a/sn/sn-2"]),
    "SAN and CN disagree": lambda a: leaf(a.ca, "SN-1", uris=["swarm://a/sn/sn-2"]),
    "no role": lambda a: leaf(a.ca, "www.example.org"),
    "an unknown role": lambda a: leaf(a.ca, "boss", uris=["swarm://a/boss/boss"]),
    "a name with a space": lambda a: leaf(a.ca, "SN-one two"),
}
for fault, made in FAULTS.items():
    case(f"r046 certificate: {fault}")(lambda stage, made=made: loaded(stage, made))  # type: ignore[misc]


@case("r046 certificate: revoked")
def _(stage: Stage) -> Told:
    own = make_organisation(stage.new("r"), "a", ["sn"])
    revoked = leaf(own.ca)
    (own.capath / "a.crl.pem").write_bytes(crl(own.ca, revoked))
    files = write(revoked, stage.new("files"))
    return refused(lambda: Credentials.load(*files, own.capath))


@case("r052 key that others can read")
def _(stage: Stage) -> Told:
    cert, key = write(leaf(stage.a.ca), stage.new("files"))
    key.chmod(0o644)
    return start_with(stage, cert=cert, key=key)


@case("r053 key of another certificate")
def _(stage: Stage) -> Told:
    return start_with(stage, key=stage.a.key("sl"))


@case("r093 passphrase on the key")
def _(stage: Stage) -> Told:
    pair = leaf(stage.a.ca)
    cert, key = write(pair, stage.new("files"))
    key.write_bytes(pair.key.private_bytes(PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")))
    return start_with(stage, cert=cert, key=key)


@case("r093 certificate of another role: run-sn")
def _(stage: Stage) -> Told:
    from swarm.cli.run_sn import command

    return stage.command(command, "--sentinel", "--host-ip", "127.0.0.1", *identity(stage.a, "sl"))


@case("r093 certificate of another role: run-sl")
def _(stage: Stage) -> Told:
    from swarm.cli.run_sl import command_line

    return stage.command(command_line, "--sn-ip", "127.0.0.1", *identity(stage.a, "swci"), "--", "true")


@case("r093 capath that is not there")
def _(stage: Stage) -> Told:
    return start_with(stage, capath=stage.new("capath"))


@case("r093 capath without a CA")
def _(stage: Stage) -> Told:
    capath = stage.new("capath")
    capath.mkdir(parents=True)
    return start_with(stage, capath=capath)


@case("capath with a node's certificate")
def _(stage: Stage) -> Told:
    capath = stage.new("capath")
    capath.mkdir(parents=True)
    (capath / "sn-2.pem").write_bytes(stage.a.cert("sn").read_bytes())
    return start_with(stage, capath=capath)


@case("capath with something else")
def _(stage: Stage) -> Told:
    capath = stage.new("capath")
    capath.mkdir(parents=True)
    (capath / "readme.pem").write_text("put the CAs here\n")
    return start_with(stage, capath=capath)


@case("revocation list of nobody")
def _(stage: Stage) -> Told:
    own = make_organisation(stage.new("r"), "a", ["sn"])
    (own.capath / "x.crl.pem").write_bytes(crl(authority("CA-X"), leaf(own.ca)))
    return refused(lambda: Credentials.load(own.cert("sn"), own.key("sn"), own.capath))


@case("certificate file that is not there")
def _(stage: Stage) -> Told:
    return start_with(stage, cert=stage.new("sn-1-cert.pem"))


@case("key file that is not there")
def _(stage: Stage) -> Told:
    return start_with(stage, key=stage.new("sn-1-key.pem"))


@case("certificate file that is a key")
def _(stage: Stage) -> Told:
    return start_with(stage, cert=stage.a.key("sn"))


@case("key file that is a certificate")
def _(stage: Stage) -> Told:
    cert, key = write(leaf(stage.a.ca), stage.new("files"))
    key.write_bytes(cert.read_bytes())
    return start_with(stage, cert=cert, key=key)


# ---- the other side's


class Meeting:
    """A dialler and a listener of organisation a that shake hands over a socket; what each is told."""

    def __init__(self, stage: Stage, *, network: bytes = b"\1" * 32) -> None:
        self.stage = stage
        self.listener = self.node(stage.a, network)
        self.dialler = self.node(stage.a, network)

    def node(self, of: OrganisationFiles, network: bytes, role: str = "sl") -> Local:
        state = StateDirectory(self.stage.new("node"))
        state.close()  # its lock; what a handshake needs is in memory
        if network:
            state.set_network_id(network)
        return Local(Credentials.load(of.cert(role), of.key(role), of.capath), state)

    def told(self, **of_dialler: Any) -> dict[str, Told | None]:
        """By side."""
        said: dict[str, Told | None] = {}

        def side(name: str, sock: socket.socket, local: Local, **options: Any) -> None:
            def shake() -> None:
                tls, _ = handshake_socket(sock, local, dialler=name == "dialler", **options)
                with tls:
                    tls.settimeout(5)
                    if name == "dialler":
                        tls.recv(1)  # a refusal after its own handshake

            try:
                said[name] = refused(shake)
            except (AssertionError, OSError):
                said[name] = None

        with socket.create_server(("127.0.0.1", 0)) as server:
            dialled = socket.create_connection(server.getsockname())
            accepted, _ = server.accept()
        threads = [
            threading.Thread(target=side, args=("dialler", dialled, self.dialler), kwargs=of_dialler),
            threading.Thread(target=side, args=("listener", accepted, self.listener)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        return said


def at(side: str, said: dict[str, Told | None]) -> Told:
    told = said[side]
    assert told is not None, said
    return told


@case("r042 another node answers than the one that was pinned: dialler")
def _(stage: Stage) -> Told:
    return at("dialler", Meeting(stage).told(expected_uid="00000000-0000-5000-8000-000000000000"))


@case("r050 a copied state directory")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    meeting.dialler = Local(meeting.dialler.credentials, meeting.listener.state)
    return at("dialler", meeting.told())


@case("a state directory under another certificate's name: listener")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    meeting.dialler = Local(meeting.node(stage.a, b"", "swop").credentials, meeting.dialler.state)
    meeting.listener.acquaintances.learn(
        meeting.dialler.state.node_public, meeting.listener.credentials.identity, meeting.dialler.state.incarnation
    )
    return at("listener", meeting.told())


@case("two networks: dialler")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    meeting.listener = meeting.node(stage.a, b"\2" * 32)
    return at("dialler", meeting.told())


@case("two nodes without a network: dialler")
def _(stage: Stage) -> Told:
    return at("dialler", Meeting(stage, network=b"").told())


@case("a process that a newer one has replaced: dialler")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    state, own = meeting.dialler.state, meeting.dialler.credentials.identity
    meeting.listener.acquaintances.learn(state.node_public, own, (7).to_bytes(8, "big") + b"\0" * 8)
    return at("dialler", meeting.told())


@case("an organisation that the other side does not know: dialler")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    meeting.dialler = meeting.node(stranger(stage), b"\1" * 32)
    return at("dialler", meeting.told())


@case("an organisation that this side does not know: listener")
def _(stage: Stage) -> Told:
    meeting = Meeting(stage)
    meeting.dialler = meeting.node(stranger(stage), b"\1" * 32)
    return at("listener", meeting.told())


def stranger(stage: Stage, *, trusts: bool = True) -> OrganisationFiles:
    """Organisation x, which nobody knows; `trusts`: it knows organisation a."""
    x = make_organisation(stage.new("x"), "x", ["sn", "sl"])
    if trusts:
        (x.capath / "a.pem").write_bytes(stage.a.ca.pem)
    return x


@case("r041 a stranger's learning node: what it is told", process=True)
def _(stage: Stage) -> Told:
    return stage.train("exits", "r041", "0", of=stranger(stage)).told


@case("r041 a stranger's learning node that trusts nobody here", process=True, slow=True)
def _(stage: Stage) -> Told:
    return stage.train("exits", "r041", "0", of=stranger(stage, trusts=False)).told


@case("r041 a stranger at the door: the network node's line", process=True)
def _(stage: Stage) -> Told:
    before = stage.sn.err.read_text()
    assert stage.train("exits", "r041", "0", of=stranger(stage)).code == 3
    line = "WARNING : refused a connection: "
    new = until(lambda: stage.sn.err.read_text().removeprefix(before).partition(line)[2], "the line is there")
    return Told(0, new.splitlines()[0])


# ---- rights


@case("r043 a SWCI asks for the ledger's replication")
def _(stage: Stage) -> Told:
    from swarm.nodes.sn import authorise
    from swarm.runtime.tls import Peer

    swci = Credentials.load(stage.a.cert("swci"), stage.a.key("swci"), stage.a.capath)
    peer = Peer(swci.identity, bytes(32), "", "", bytes(16), bytes(32), (swci.leaf,))
    return refused(lambda: authorise(peer, "raft"))


class Author:
    """A process with a real certificate that proposes."""

    def __init__(self, of: OrganisationFiles, role: str, state: Path) -> None:
        self.credentials = Credentials.load(of.cert(role), of.key(role), of.capath)
        self.state = StateDirectory(state)
        self.state.close()
        self._seq = 0

    def joined(self) -> dict[str, Any]:
        return {
            "chain": self.credentials.chain,
            "node_key": self.state.node_public,
            "role": self.credentials.identity.role,
            "addresses": ["127.0.0.1:1"],
            "incarnation": self.state.incarnation,
        }

    def proposal(self, network: bytes, kind: str, body: dict[str, Any]) -> bytes:
        self._seq += 1
        introduces = kind in ("Genesis", "NodeJoined")
        return sign_proposal(
            self.state.node_key,
            network_id=network,
            uid=self.state.uid,
            incarnation=self.state.incarnation,
            seq=self._seq,
            kind=kind,
            body=body,
            certificate_key=self.credentials.private_key if introduces else None,
        )


class Network:
    """The ledgers of several nodes, which are fed the same entries; signatures and certificates are real."""

    def __init__(self, stage: Stage, nodes: int = 3, rules: int = 1) -> None:
        self.knows = {"rules": rules} if rules > 1 else {}
        self.ledgers = [Ledger() for _ in range(nodes)]
        self.last = make_entry(1, 0, 0, bytes(32), b"")
        self.entries: list[Entry] = []
        self.sn = Author(stage.a, "sn", stage.new("sn"))
        anchors = [stage.a.ca.der, stage.b.ca.der]
        body = {"rules": rules, "anchors": anchors, "joined": self.sn.joined() | self.knows, "created": 0}
        assert self.proposed(self.sn, "Genesis", body).accepted

    def join(self, author: Author) -> Author:
        assert self.proposed(author, "NodeJoined", author.joined() | self.knows).accepted
        return author

    def proposed(self, author: Author, kind: str, body: dict[str, Any]) -> Outcome:
        """The outcome, which is the same on every node."""
        ledger = self.ledgers[0]
        raw = author.proposal(ledger.network_id, kind, body)
        now = int(datetime.now(UTC).timestamp() * 1000)
        entry = make_entry(ledger.head_index + 1, 1, now, ledger.head_hash, raw)
        outcomes = [each.apply(entry.header, verify(entry, each)).outcome for each in self.ledgers]
        assert len({json.dumps(outcome.result) + str(outcome.reason) for outcome in outcomes}) == 1
        assert len({each.digest() for each in self.ledgers}) == 1
        return outcomes[0]


WRONG_RIGHTS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "r044 a SL signs ContractReset": ("a", "sl", "ContractReset", {"contract": "c"}),
    "r044 a SL signs WindowClosed": ("b", "sl", "WindowClosed", {"contract": "c", "round": 0}),
    "r044 a SN signs Missing": ("b", "sn", "Missing", {"contract": "c", "digest": "sha256:" + "0" * 64}),
    "r045 a SWCI of another organisation admits one": ("b", "swci", "OrganisationAdmitted", {}),
    "a contract that nobody opened is reset": ("a", "swci", "ContractReset", {"contract": "c"}),
}


def forbidden(stage: Stage, whose: str, role: str, kind: str, body: dict[str, Any]) -> Told:
    network = Network(stage)
    author = network.join(Author({"a": stage.a, "b": stage.b}[whose], role, stage.new(role)))
    if kind == "OrganisationAdmitted":
        body = {"ca": authority("CA-X").der}
    before = network.ledgers[0].contracts
    outcome = network.proposed(author, kind, body)
    assert not outcome.accepted
    assert network.ledgers[0].contracts == before
    error = outcome.error()
    assert error is not None
    return Told.by(error)


for name, what in WRONG_RIGHTS.items():
    case(name)(lambda stage, what=what: forbidden(stage, *what))  # type: ignore[misc]


@case("a proposal of who has not joined")
def _(stage: Stage) -> Told:
    network = Network(stage)
    outcome = network.proposed(Author(stage.b, "sl", stage.new("sl")), "Leave", {"contract": "c", "reason": ""})
    error = outcome.error()
    assert error is not None
    return Told.by(error)


@case("a proposal signed with another's key")
def _(stage: Stage) -> Told:
    network = Network(stage)
    sl, thief = (network.join(Author(stage.a, role, stage.new(role))) for role in ("sl", "swop"))
    sl.state.node_key = thief.state.node_key
    error = network.proposed(sl, "NodeLeft", {}).error()
    assert error is not None
    return Told.by(error)


@case("who joins has not read what the ledger has let go of since")
def _(stage: Stage) -> Told:
    network = Network(stage, rules=KNOWN)
    for ledger in network.ledgers:
        ledger.departed.before = 1
    author = Author(stage.b, "sl", stage.new("sl"))
    error = network.proposed(author, "NodeJoined", author.joined() | network.knows).error()
    assert error is not None
    return Told.by(error)


@case("a certificate of an organisation that was not admitted joins")
def _(stage: Stage) -> Told:
    network = Network(stage)
    author = Author(stranger(stage), "sl", stage.new("sl"))
    error = network.proposed(author, "NodeJoined", author.joined()).error()
    assert error is not None
    return Told.by(error)


@case("a node key that is known under another certificate's name joins")
def _(stage: Stage) -> Told:
    network = Network(stage)
    author = network.join(Author(stage.a, "sl", stage.new("sl")))
    author.credentials = Author(stage.b, "sl", stage.new("sl")).credentials
    error = network.proposed(author, "NodeJoined", author.joined()).error()
    assert error is not None
    return Told.by(error)


@case("a state directory that was restored from a copy joins")
def _(stage: Stage) -> Told:
    network = Network(stage)
    author = network.join(Author(stage.a, "sl", stage.new("sl")))
    author.state.incarnation = author.state.incarnation[:8] + bytes(8)
    error = network.proposed(author, "NodeJoined", author.joined()).error()
    assert error is not None
    return Told.by(error)
