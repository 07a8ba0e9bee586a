"""``run-sn``: be a network node."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from swarm.cli.ending import entry
from swarm.cli.launching import Launcher
from swarm.errors import BadInput

EXAMPLES = """
run-sn --sentinel --host-ip 10.1.1.1 --key sn-1-key.pem --cert sn-1-cert.pem --capath ca/capath
run-sn --sentinel-ip 10.1.1.1 --host-ip 10.2.2.2 --key sn-2-key.pem --cert sn-2-cert.pem --capath ca/capath
run-sn --rejoin --sentinel-ip 10.2.2.2 ...        its ledger is damaged or an old copy: begin anew, keep the old files
"""


@click.command(
    "run-sn",
    cls=Launcher,
    role="sn",
    examples=EXAMPLES,
    help="Be a network node (SN): keep the ledger with the other SNs.",
)
@click.option("--sentinel", is_flag=True, help="found the network: its first network node")
@click.option("--sentinel-ip", metavar="IP", help="join the network of the sentinel there, or of any network node")
@click.option("--sentinel-api-port", default=30304, show_default=True, type=click.IntRange(0, 65535))
@click.option("--rejoin", is_flag=True, help="set node key and ledger of the state directory aside: be a new node")
@click.option("--host-ip", required=True, metavar="IP", help="the address under which others reach this node")
@click.option("--sn-p2p-port", default=30303, show_default=True, type=click.IntRange(0, 65535), help="0: any free port")
@click.option("--sn-api-port", default=30304, show_default=True, type=click.IntRange(0, 65535), help="0: any free port")
@click.option("--key", required=True, type=click.Path(path_type=Path), help="private key of the node, PEM, mode 0600")
@click.option("--cert", required=True, type=click.Path(path_type=Path), help="certificate of the node, PEM")
@click.option("--capath", required=True, type=click.Path(path_type=Path), help="directory with every organisation's CA")
@click.option("--state", type=click.Path(path_type=Path), help="state directory  [default: by the certificate's name]")
@click.option("--log-level", default=None, help="DEBUG INFO WARNING ERROR  [default: SWARM_LOG_LEVEL or INFO]")
def command(
    sentinel: bool,
    sentinel_ip: str | None,
    sentinel_api_port: int,
    rejoin: bool,
    host_ip: str,
    sn_p2p_port: int,
    sn_api_port: int,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    log_level: str | None,
) -> None:
    if sentinel == (sentinel_ip is not None):
        raise BadInput(
            "either --sentinel or --sentinel-ip must be specified",
            hint="the first network node takes --sentinel, the others --sentinel-ip with its address",
        )
    if rejoin and sentinel:
        raise BadInput("--rejoin needs a network node that has the ledger", hint="--sentinel-ip with its address")
    gc.disable()  # nothing of what is loaded now is garbage, nor ever will be
    from swarm.nodes import sn
    from swarm.nodes.starting import run_node
    from swarm.runtime import report
    from swarm.runtime.statedir import StateDirectory, default_state_dir
    from swarm.runtime.tls import Credentials

    gc.freeze()
    gc.enable()
    credentials = Credentials.load(cert, key, capath, expect_roles=("sn",))
    with StateDirectory(state or default_state_dir(credentials.identity.name)) as directory:
        report.start(directory.path, log_level)
        if rejoin:
            sn.set_aside(directory)
        settings = sn.Settings(
            host_ip=host_ip,
            p2p_port=sn_p2p_port,
            api_port=sn_api_port,
            credentials=credentials,
            state=directory,
            sentinel=(sentinel_ip, sentinel_api_port) if sentinel_ip else None,
        )
        run_node(sn.run, settings)


main = entry(command)

if __name__ == "__main__":
    main()
