"""Commands and nodes: flags, ports, state directories, addresses, files of data (situations 84, 92 and 93)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import socketserver
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import trio

from swarm.core.kinds import check_body
from swarm.nodes import firstcontact, sl, sn
from swarm.nodes.starting import run_node
from swarm.runtime.channel import check_path
from swarm.runtime.channel_server import ChannelServer
from swarm.runtime.credentials import Credentials
from swarm.runtime.statedir import StateDirectory
from tests.bad_input.messages import Told, case, refused
from tests.bad_input.stage import ENDS_S, Stage, identity, until
from tests.certificates import OrganisationFiles

# ---- flags


def run_sn(stage: Stage, *flags: object) -> Told:
    from swarm.cli.run_sn import command

    return stage.command(command, *identity(stage.a, "sn"), *flags)


def run_sl(stage: Stage, *flags: object) -> Told:
    from swarm.cli.run_sl import command_line

    return stage.command(command_line, *identity(stage.a, "sl"), *flags)


def swarm(stage: Stage, *words: object) -> Told:
    from swarm.cli.main import command

    return stage.command(command, *words)


@case("run-sn: neither sentinel nor peer")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--host-ip", "127.0.0.1")


@case("run-sn: sentinel and peer at once")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--host-ip", "127.0.0.1", "--sentinel", "--sentinel-ip", "127.0.0.1")


@case("run-sn: no --host-ip")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--sentinel")


@case("run-sn: a port that cannot be")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--sentinel", "--host-ip", "127.0.0.1", "--sn-api-port", 99999)


@case("run-sn: a typing error in a flag")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--sentinal")


@case("run-sn: no such log level")
def _(stage: Stage) -> Told:
    return run_sn(stage, "--sentinel", "--host-ip", "127.0.0.1", "--log-level", "INFOS", "--state", stage.new("sn"))


@case("run-sl: no --sn-ip")
def _(stage: Stage) -> Told:
    return run_sl(stage)


@case("swarm: no such command")
def _(stage: Stage) -> Told:
    return swarm(stage, "dmeo")


@case("swarm demo: more peers than there are classes")
def _(stage: Stage) -> Told:
    return swarm(stage, "demo", "--peers", 65)


@case("swarm demo: a dataset that is not there")
def _(stage: Stage) -> Told:
    return swarm(stage, "demo", "--dataset", stage.new("mnist.npz"))


@case("swarm demo: a dataset without labels")
def _(stage: Stage) -> Told:
    path = stage.new("mnist.npz")
    path.parent.mkdir()
    np.savez(path, x_train=np.zeros((4, 2)), x_test=np.zeros((4, 2)))
    return swarm(stage, "demo", "--dataset", path)


@case("swarm demo: a dataset that is something else")
def _(stage: Stage) -> Told:
    path = stage.new("mnist.npz")
    path.parent.mkdir()
    path.write_text("label,pixel\n")
    return swarm(stage, "demo", "--dataset", path)


@case("swarm demo: a dataset with NaN")
def _(stage: Stage) -> Told:
    path = stage.new("mnist.npz")
    path.parent.mkdir()
    x, y = np.full((20, 2), np.nan), np.arange(20) % 2
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    return swarm(stage, "demo", "--dataset", path)


@case("swarm demo: a directory to keep that is in use")
def _(stage: Stage) -> Told:
    keep = stage.new("keep")
    keep.mkdir(parents=True)
    (keep / "thesis.txt").touch()
    return swarm(stage, "demo", "--keep", keep)


@case("swarm run: no program")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "--peers", 2)


@case("swarm run: a program that is not there")
def _(stage: Stage) -> Told:
    return swarm(stage, "run", "--", "trian.sh")


@case("swarm compat: a script that is not there")
def _(stage: Stage) -> Told:
    return swarm(stage, "compat", "--", "python", "/nowhere/trian.py")


@case("swarm contract reset: half an identity")
def _(stage: Stage) -> Told:
    return swarm(stage, "contract", "reset", "demo", "--sn-ip", "127.0.0.1")


@case("swarm contract reset: no swarm here")
def _(stage: Stage) -> Told:
    stage.patch.setenv("XDG_STATE_HOME", str(stage.new("home")))
    return swarm(stage, "contract", "reset", "demo")


@case("swarm contract reset: a swarm here that takes no connections yet")
def _(stage: Stage) -> Told:
    home = stage.new("home")
    stage.patch.setenv("XDG_STATE_HOME", str(home))
    (home / "swarm" / "up").mkdir(parents=True)
    node = {"name": "sn-1", "pid": os.getpid(), "started": psutil.Process().create_time()}
    (home / "swarm" / "up" / "up.json").write_text(json.dumps({"version": 1, "nodes": [node]}))
    return swarm(stage, "contract", "reset", "demo")


def entrance(stage: Stage, role: str) -> tuple[object, ...]:
    """The flags of a client command that asks the stage's network node, as this role of its organisation."""
    return ("--sn-ip", "127.0.0.1", "--sn-api-port", stage.api_port, *identity(stage.a, role))


@case("swarm contract reset: no such contract")
def _(stage: Stage) -> Told:
    return swarm(stage, "contract", "reset", "demo", *entrance(stage, "swci"))


@case("swarm contract reset: with the certificate of a learning node")
def _(stage: Stage) -> Told:
    return swarm(stage, "contract", "reset", "demo", *entrance(stage, "sl"))


@case("swarm sn promote: without --force")
def _(stage: Stage) -> Told:
    return swarm(stage, "sn", "promote", *entrance(stage, "swci"))


@case("swarm sn promote: without --force, where no swarm runs")
def _(stage: Stage) -> Told:
    return swarm(stage, "sn", "promote")


@case("swarm sn promote: a network node that leads")
def _(stage: Stage) -> Told:
    return swarm(stage, "sn", "promote", "--force", *entrance(stage, "swci"))


@case("swarm sn remove: no such network node")
def _(stage: Stage) -> Told:
    return swarm(stage, "sn", "remove", "sn-9", *entrance(stage, "swci"))


@case("swarm sn remove: the only network node")
def _(stage: Stage) -> Told:
    return swarm(stage, "sn", "remove", "sn-1", *entrance(stage, "swci"))


@case("gen-cert: files that are there already")
def _(stage: Stage) -> Told:
    from swarm.cli.gen_cert import command

    out = stage.new("workspace")
    stage.patch.chdir(stage.directory)
    with contextlib.redirect_stdout(None), contextlib.redirect_stderr(None):
        assert command.main(["-e", "mnist", "-i", "1", "--out", str(out)], standalone_mode=False) in (0, None)
    return stage.command(command, "-e", "mnist", "-i", 1, "--out", out)


# ---- ports


@contextlib.contextmanager
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens, who never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@case("r093 port in use: run-sn's API", process=True)
def _(stage: Stage) -> Told:
    with taken() as port:
        return stage.start_sn("--sn-api-port", port).ended().told


@case("r093 port in use: run-sn's P2P")
def _(stage: Stage) -> Told:
    with taken() as port:
        settings = sn.Settings(p2p_port=port, api_port=0, sentinel=None, **node_settings(stage, stage.a, "sn"))  # type: ignore[arg-type]
        with settings.state:
            return refused(lambda: _run(sn.run, settings))


@case("r093 port in use: run-sl's data")
def _(stage: Stage) -> Told:
    with taken() as port:
        settings = sl.Settings(
            sn=("127.0.0.1", 1),
            fs_port=port,
            **sl_settings(stage, stage.a),  # type: ignore[arg-type]
        )
        with settings.state, settings.channel.listening():
            return refused(lambda: _run(sl.run, settings))


# ---- who does not answer


def node_settings(stage: Stage, of: OrganisationFiles, role: str) -> dict[str, object]:
    credentials = Credentials.load(of.cert(role), of.key(role), of.capath)
    return {"host_ip": "127.0.0.1", "credentials": credentials, "state": StateDirectory(stage.new(role))}


def sl_settings(stage: Stage, of: OrganisationFiles) -> dict[str, object]:
    channel = ChannelServer(stage.new("channel"), node="sl")
    return {**node_settings(stage, of, "sl"), "channel": channel, "worker": None}


def no_sentinel(stage: Stage, port: int, patience_s: float = 0.5) -> Told:
    """A peer SN with less patience than 60 s."""
    stage.patch.setattr(firstcontact, "FIRST_CONTACT_S", patience_s)
    settings = sn.Settings(p2p_port=0, api_port=0, sentinel=("127.0.0.1", port), **node_settings(stage, stage.a, "sn"))  # type: ignore[arg-type]
    with settings.state:
        return refused(lambda: _run(sn.run, settings))


def no_network_node(
    stage: Stage, port: int, host: str = "127.0.0.1", *, of: OrganisationFiles | None = None, patience_s: float = 0.5
) -> Told:
    """A learning node with less patience than 60 s."""
    stage.patch.setattr(firstcontact, "FIRST_CONTACT_S", patience_s)
    settings = sl.Settings(sn=(host, port), fs_port=0, **sl_settings(stage, of or stage.a))  # type: ignore[arg-type]
    with settings.state, settings.channel.listening():
        return refused(lambda: _run(sl.run, settings))


def _run(node: Callable[[Any], Awaitable[object]], settings: object) -> None:
    """The node in this process; it is to end by itself."""

    async def run(settings: object) -> None:
        with trio.move_on_after(ENDS_S):
            await node(settings)

    run_node(run, settings)


def closed_port() -> int:
    with taken() as port:
        return port


@case("sentinel unreachable: nobody listens")
def _(stage: Stage) -> Told:
    return no_sentinel(stage, closed_port())


@case("sentinel unreachable: something else listens, and is silent", slow=True)
def _(stage: Stage) -> Told:
    with taken() as port:
        return no_sentinel(stage, port)


@case("network node unreachable: nobody listens")
def _(stage: Stage) -> Told:
    return no_network_node(stage, closed_port())


@case("network node unreachable: no such host")
def _(stage: Stage) -> Told:
    def unknown(*question: object, **more: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    stage.patch.setattr(socket, "getaddrinfo", unknown)  # what a resolver says differs from host to host
    return no_network_node(stage, 30304, "sn-1.hospital.example")


@case("the address is that of a web server")
def _(stage: Stage) -> Told:
    with socketserver.TCPServer(("127.0.0.1", 0), WebServer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            return no_network_node(stage, server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class WebServer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@case("the address is that of a learning node's data", process=True, slow=True)
def _(stage: Stage) -> Told:
    other = stage.start_sl(["sleeps", "data-port"])
    port = other.ready()["fs_port"]
    told = no_network_node(stage, port, of=stage.b)
    assert other.signalled(signal.SIGTERM).code == 0
    return told


def line_of_sn(stage: Stage, act: Callable[[int], None]) -> Told:
    """What the network node writes about a visitor."""
    before, line = stage.sn.err.read_text(), "WARNING : refused a connection: "
    act(stage.api_port)
    new = until(lambda: stage.sn.err.read_text().removeprefix(before).partition(line)[2], "the line is there")
    return Told(0, new.splitlines()[0])


def send(data: bytes) -> Callable[[int], None]:
    def act(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as visitor, contextlib.suppress(OSError):
            visitor.sendall(data)
            visitor.shutdown(socket.SHUT_WR)
            while visitor.recv(4096):
                pass

    return act


@case("r092 a web browser at the door: the network node's line", process=True)
def _(stage: Stage) -> Told:
    return line_of_sn(stage, send(b"GET / HTTP/1.1\r\nHost: swarm\r\n\r\n"))


@case("r084 noise at the door: the network node's line", process=True)
def _(stage: Stage) -> Told:
    return line_of_sn(stage, send(bytes(range(256)) * 8))


# ---- state directories


@case("state directory in use", process=True)
def _(stage: Stage) -> Told:
    return stage.start_sn(state=stage.sn.state).ended().told


def opened(stage: Stage, spoil: Callable[[Path], object]) -> Told:
    path = stage.new("state")
    StateDirectory(path).close()
    spoil(path)
    return refused(lambda: StateDirectory(path).close())


@case("state directory that is a file")
def _(stage: Stage) -> Told:
    path = stage.new("state")
    path.parent.mkdir()
    path.touch()
    return refused(lambda: StateDirectory(path))


@case("state directory with a damaged node key")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "node.key").write_text("x"))


@case("state directory with a node key that others can read")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "node.key").chmod(0o640))


@case("state directory with a damaged start counter")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "starts").write_text("many"))


@case("state directory with a damaged network file")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "network").write_text("ours"))


@case("state directory with a network file that lost its end")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "network").write_text("00ff"))


@case("state directory with an empty network file")
def _(stage: Stage) -> Told:
    return opened(stage, lambda path: (path / "network").write_text(""))


@case("state directory of another network", process=True)
def _(stage: Stage) -> Told:
    state = stage.new("state")
    with StateDirectory(state) as directory:
        directory.set_network_id(b"\7" * 32)
    return stage.train("exits", "network", 0, state=state).told


@case("state directory whose path is too long for the channel")
def _(stage: Stage) -> Told:
    return refused(lambda: check_path("/state/" + "x" * 120))


def sentinel_again(stage: Stage, spoil: Callable[[Path], object]) -> Told:
    """A sentinel that has founded its network, and is started again after something happened to its directory."""
    state = stage.new("sn")
    credentials = Credentials.load(stage.a.cert("sn"), stage.a.key("sn"), stage.a.capath)

    def settings(directory: StateDirectory) -> sn.Settings:
        return sn.Settings("127.0.0.1", 0, 0, credentials, directory, None)

    async def found() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sn.run, settings(directory))
            while not (state / "ready.json").exists():
                await trio.sleep(0.02)
            nursery.cancel_scope.cancel()

    with StateDirectory(state) as directory:
        trio.run(found)
    spoil(state)
    with StateDirectory(state) as directory:
        return refused(lambda: _run(sn.run, settings(directory)))


def without_ledger(state: Path) -> None:
    for path in state.glob("ledger.db*"):
        path.unlink()


def with_newer_ledger(state: Path) -> None:
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as store:
        store.execute("PRAGMA user_version = 99")


def with_broken_chain(state: Path) -> None:
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as store:
        (raw,) = store.execute("SELECT raw FROM entries WHERE idx = 1").fetchone()
        store.execute("UPDATE entries SET raw = ? WHERE idx = 1", (raw[:300] + bytes([raw[300] ^ 1]) + raw[301:],))
        store.commit()


@case("ledger that is gone")
def _(stage: Stage) -> Told:
    return sentinel_again(stage, without_ledger)


def with_a_flipped_bit(state: Path) -> None:
    """In what describes its tables: no text any more."""
    with contextlib.closing(sqlite3.connect(state / "ledger.db")) as store:
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw = bytearray((state / "ledger.db").read_bytes())
    raw[raw.index(b"TABLE snapshots")] ^= 0x80
    (state / "ledger.db").write_bytes(raw)


@case("ledger of a newer version")
def _(stage: Stage) -> Told:
    return sentinel_again(stage, with_newer_ledger)


@case("ledger with a changed entry")
def _(stage: Stage) -> Told:
    return sentinel_again(stage, with_broken_chain)


@case("ledger with a flipped bit in what describes it")
def _(stage: Stage) -> Told:
    return sentinel_again(stage, with_a_flipped_bit)


@case("ledger of another program")
def _(stage: Stage) -> Told:
    def spoil(state: Path) -> None:
        with contextlib.closing(sqlite3.connect(state / "ledger.db")) as store:
            store.execute("PRAGMA application_id = 1")

    return sentinel_again(stage, spoil)


@case("ledger that is a text")
def _(stage: Stage) -> Told:
    return sentinel_again(stage, lambda state: (state / "ledger.db").write_text("ledger\n" * 200))


# ---- proposals that no program of ours makes


@case("a proposal with a field too many")
def _(stage: Stage) -> Told:
    return refused(lambda: check_body("Leave", {"contract": "c", "reason": "", "because": 1}))


@case("a proposal of an unknown kind")
def _(stage: Stage) -> Told:
    return refused(lambda: check_body("Coup", {}))
