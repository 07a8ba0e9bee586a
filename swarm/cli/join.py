"""``swarm join``: take a slot of a task with roles, and run the role's program here, on data that stay here."""

from __future__ import annotations

import gc
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.addresses import network_node
from swarm.cli.ending import print_json
from swarm.cli.help import Command
from swarm.cli.launching import identified, own_port, reaching
from swarm.errors import BadInput, IdentityError

if TYPE_CHECKING:
    from swarm.runtime.credentials import Credentials

EXAMPLES = """
swarm join mnist --role trainer --data my.npz --sn-ip 10.1.1.1 --host-ip 10.1.1.2 \\
           --key sl-1-key.pem --cert sl-1-cert.pem --capath ca/capath
                                          says who wrote the task, what it would run here, and the hash of that
swarm join … --trust sha256:4b1c…         runs it; the same line again joins again and goes on
swarm join … --file mnist.yaml            the same, by your own copy of the task and its code
swarm join … --json >joined.json          which slot it was, and the rounds and the digest that it ended with
"""
SECRET_MAX = 64 * 1024


@click.command(
    "join",
    cls=Command,
    examples=EXAMPLES,
    help="Join a task as one of its participants: be a learning node for it, and run the role's program on your own "
    "data, which stay here. Nothing of the task runs before you have named its hash. The slot is yours from then on: "
    "the same certificate and the same key join it again, and nobody else does unless it has failed.",
)
@click.argument("task")
@click.option("--role", required=True, help="which role of the task to join")
@click.option(
    "--group", metavar="NAME", help="which group of the role's channel to be in  [default: where there is room]"
)
@click.option("--data", type=click.Path(path_type=Path), help="your data: %DATA in the role's command")
@click.option("--trust", metavar="HASH", help="the hash of what may run here, as a refusal shows it")
@click.option("-f", "--file", "own_file", type=click.Path(path_type=Path), help="your own copy of the task, instead")
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="a secret that the slot is yours by, mode 0600  [default: the certificate's private key]",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout; the program's output goes to stderr")
@click.option(
    "--wait",
    default=600,
    show_default=True,
    type=click.IntRange(1),
    help="seconds for the task's start and for others; who leaves before the start may join again",
)
@reaching("a network node, best the own organisation's  [default: the one that run-sn -d left running here]")
@click.option("--host-ip", default="127.0.0.1", show_default=True, metavar="IP", help="where others reach it")
@own_port("--sl-fs-port", 30305, "SL_FS_PORT")
@partial(identified, level="SL_LOG_LEVEL or INFO")
def command(
    task: str,
    role: str,
    group: str | None,
    data: Path | None,
    trust: str | None,
    own_file: Path | None,
    key_file: Path | None,
    as_json: bool,
    wait: int,
    sn_ip: str | None,
    sn_api_port: int,
    sn_api_service: str | None,
    host_ip: str,
    sl_fs_port: int,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    log_level: str | None,
) -> None:
    from swarm.runtime import report
    from swarm.runtime.channel_server import ChannelServer
    from swarm.runtime.credentials import Credentials
    from swarm.runtime.statedir import StateDirectory, default_state_dir

    if data is not None and not data.exists():
        raise BadInput(f"the data {data} are not there", hint="--data names a file or a directory of this host")
    sn = network_node(sn_ip, sn_api_port, sn_api_service, None)
    credentials = Credentials.load(cert, key, capath, expect_roles=("sl",))
    secret = secret_of(key_file, credentials)
    with StateDirectory(state or default_state_dir(credentials.identity.name)) as directory:
        report.start(directory.path, log_level)
        identity = credentials.identity
        output = sys.stderr.fileno() if as_json else None
        channel = ChannelServer(directory.path / "channel", node=f"{identity.name} ({identity.organisation})")
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))  # until the node's loop takes it
        with channel.listening():
            gc.disable()  # nothing of what is loaded now is garbage
            from swarm.nodes import participant, sl
            from swarm.nodes.roleprogram import own_copy
            from swarm.nodes.starting import run_node

            gc.freeze()
            gc.enable()
            settings = sl.Settings(sn, host_ip, sl_fs_port, credentials, directory, channel, None)
            with own_copy(own_file) as (own, code):
                ours = data.absolute() if data else None
                asked = participant.Asked(task, role, secret, ours, trust, own, code, float(wait), group, output)
                ended = run_node(participant.run, (settings, asked))
    if as_json:
        print_json(ended.said if ended else {"exit_code": None}, failure=ended.failure() if ended else None)
    sys.exit(ended.exit_code if ended else 0)


def secret_of(file: Path | None, credentials: Credentials) -> bytes:
    """What the slot's key is made of; raises SwarmError for a file that is no secret."""
    if file is None:
        return credentials.private_bytes
    try:
        mode, secret = file.stat().st_mode & 0o777, file.read_bytes()
    except OSError as error:
        raise BadInput(
            f"the key file {file} cannot be read: {error.strerror}",
            hint=f"head -c 32 /dev/urandom >{file}; chmod 600 {file}",
        ) from None
    if mode & 0o077:
        raise IdentityError(
            f"the key file {file} can be read by others (mode {mode:04o}), expected 0600", hint=f"chmod 600 {file}"
        )
    if not 8 <= len(secret) <= SECRET_MAX:
        raise BadInput(f"the key file {file} has {len(secret)} bytes, expected 8 to {SECRET_MAX}")
    return secret
