"""``run-sl``: be a learning node, with the training program that follows ``--``."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.addresses import network_node, service
from swarm.cli.ending import entry
from swarm.cli.launching import Launcher, identified, own_port, reaching
from swarm.cli.sidecar import program, with_sidecar

if TYPE_CHECKING:
    from swarm.nodes.worker import Worker
    from swarm.runtime.channel_server import ChannelServer

EXAMPLES = """
run-sl --sn-ip 10.1.1.1 --host-ip 10.1.1.1 \\
       --key sl-1-key.pem --cert sl-1-cert.pem --capath ca/capath -- python train.py
"""


@click.command(
    "run-sl",
    cls=Launcher,
    role="sl",
    examples=EXAMPLES,
    help="Be a learning node (SL): exchange and merge weights for the training program after --. "
    "Without a program it serves one that is started by hand, and prints the export lines for it.",
)
@reaching("a network node, best the own organisation's  [default: the one that run-sn -d left running here]")
@click.option("--sn-docker-name", metavar="NAME", hidden=True)
@click.option(
    "--host-ip",
    default="127.0.0.1",
    show_default=True,
    metavar="IP",
    envvar="THIS_NODE_IP",
    help="where other SLs reach this one",
)
@own_port("--sl-fs-port", 30305, "SL_FS_PORT")
@click.option(
    "--sl-fs-service",
    metavar="HOST[:PORT]",
    envvar="SL_FS_SERVICE",
    help="a proxy in front of that port, announced to the other SLs  [port: 443]",
)
@partial(identified, level="SL_LOG_LEVEL or INFO")
@with_sidecar
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- PROGRAM...]")
def command_line(
    sn_ip: str | None,
    sn_api_port: int,
    sn_api_service: str | None,
    sn_docker_name: str | None,
    host_ip: str,
    sl_fs_port: int,
    sl_fs_service: str | None,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    log_level: str | None,
    command: tuple[str, ...],
    sidecar: dict[str, Any],
) -> None:
    from swarm.runtime import report
    from swarm.runtime.channel_server import ChannelServer
    from swarm.runtime.statedir import StateDirectory, default_state_dir
    from swarm.runtime.tls import Credentials

    sn = network_node(sn_ip, sn_api_port, sn_api_service, sn_docker_name)
    announced = service(sl_fs_service, "--sl-fs-service") if sl_fs_service else None
    credentials = Credentials.load(cert, key, capath, expect_roles=("sl",))
    with StateDirectory(state or default_state_dir(credentials.identity.name)) as directory:
        report.start(directory.path, log_level)
        command = program(command, sidecar, directory.path / "ml")
        identity = credentials.identity
        channel = ChannelServer(directory.path / "channel", node=f"{identity.name} ({identity.organisation})")
        with channel.listening(), _started(command, channel) as worker:
            gc.disable()  # a tenth of the time: nothing of what is loaded now is garbage, nor ever will be
            from swarm.nodes import sl  # loads libp2p: the program loads its framework meanwhile
            from swarm.nodes.starting import run_node

            gc.freeze()
            gc.enable()
            settings = sl.Settings(
                sn=sn,
                host_ip=host_ip,
                fs_port=sl_fs_port,
                fs_service=announced,
                credentials=credentials,
                state=directory,
                channel=channel,
                worker=worker,
                slot=_slot(),
            )
            code = run_node(sl.run, settings)
    sys.exit(code or 0)


@contextlib.contextmanager
def _started(command: tuple[str, ...], channel: ChannelServer) -> Iterator[Worker | None]:
    """The program's process, if there is a program; nothing of it is left afterwards."""
    from swarm.nodes.worker import Worker
    from swarm.runtime.importpath import with_import_path

    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until the node's loop takes it
    worker = Worker(command, with_import_path(os.environ) | channel.environment) if command else None
    try:
        yield worker
    finally:
        if worker is not None:
            worker.kill()


def _slot() -> tuple[str, int] | None:
    """What an operator says in the environment of a learning node that it starts."""
    slot, fence = os.environ.get("SWARM_SLOT", ""), os.environ.get("SWARM_FENCE", "")
    return (slot, int(fence)) if slot and fence.isdecimal() else None


main = entry(command_line)

if __name__ == "__main__":
    main()
