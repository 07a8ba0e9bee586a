"""``run-sn``: be a network node."""

from __future__ import annotations

import gc
from pathlib import Path

import click

from swarm.cli.addresses import Address, service
from swarm.cli.ending import entry
from swarm.cli.launching import Launcher, identified, own_port
from swarm.errors import BadInput

P2P_PORT = 30303
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
@click.option("--sentinel", is_flag=True, envvar="SN_I_AM_SENTINEL", help="found the network: its first network node")
@click.option(
    "--sentinel-ip",
    metavar="IP",
    envvar="SENTINEL_NODE_IP",
    help="join the network of the sentinel there, or of any network node",
)
@click.option(
    "--sentinel-api-port",
    default=30304,
    show_default=True,
    type=click.IntRange(0, 65535),
    envvar="SENTINEL_API_SERVER_PORT",
)
@click.option(
    "--sentinel-api-service", metavar="HOST[:PORT]", envvar="SENTINEL_API_SERVICE", help="the same through a proxy"
)
@click.option("--rejoin", is_flag=True, help="set node key and ledger of the state directory aside: be a new node")
@click.option("--host-ip", metavar="IP", envvar="THIS_NODE_IP", help="the address under which others reach this node")
@own_port("--sn-p2p-port", 30303, "SN_ETH_PORT_EXT")
@own_port("--sn-api-port", 30304, "SN_API_SERVER_PORT")
@click.option(
    "--sn-api-service",
    metavar="HOST[:PORT]",
    envvar="SN_API_SERVICE",
    help="a proxy in front of the API port, announced in its place  [port: 443]",
)
@click.option(
    "--sn-p2p-service",
    metavar="HOST[:PORT]",
    envvar="SN_ETH_P2P_SERVICE",
    help="a proxy in front of the P2P port, announced in its place  [port: 30303]",
)
@identified
def command(
    sentinel: bool,
    sentinel_ip: str | None,
    sentinel_api_port: int,
    sentinel_api_service: str | None,
    rejoin: bool,
    host_ip: str | None,
    sn_p2p_port: int,
    sn_api_port: int,
    sn_api_service: str | None,
    sn_p2p_service: str | None,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    log_level: str | None,
) -> None:
    entrance = _entrance(sentinel, sentinel_ip, sentinel_api_port, sentinel_api_service)
    if not host_ip and not (sn_api_service and sn_p2p_service):
        raise BadInput(
            "mandatory parameter --host-ip not specified",
            hint="the address under which others reach this node, or --sn-api-service and --sn-p2p-service",
        )
    api = service(sn_api_service, "--sn-api-service") if sn_api_service else None
    p2p = service(sn_p2p_service, "--sn-p2p-service", port=P2P_PORT) if sn_p2p_service else None
    if rejoin and sentinel:
        raise BadInput("--rejoin needs a network node that has the ledger", hint="--sentinel-ip with its address")
    gc.disable()  # nothing of what is loaded now is garbage, nor ever will be
    from swarm.nodes import sn, sn_return
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
            sn_return.begin_anew(directory)
        settings = sn.Settings(
            host_ip=host_ip or "",
            p2p_port=sn_p2p_port,
            api_port=sn_api_port,
            credentials=credentials,
            state=directory,
            sentinel=entrance,
            api_service=api,
            p2p_service=p2p,
        )
        run_node(sn.run, settings)


def _entrance(sentinel: bool, ip: str | None, port: int, proxy: str | None) -> Address | None:
    """The network node to join by; None for who founds the network."""
    if sentinel == bool(ip or proxy) or (ip and proxy):
        raise BadInput(
            "either --sentinel or --sentinel-ip must be specified",
            hint="the first network node takes --sentinel, the others --sentinel-ip with its address, "
            "or --sentinel-api-service with its proxy's",
        )
    if proxy:
        return service(proxy, "--sentinel-api-service")
    return (ip, port) if ip else None


main = entry(command)

if __name__ == "__main__":
    main()
