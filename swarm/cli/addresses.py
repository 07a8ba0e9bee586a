"""Addresses on a launcher's command line: HOST[:PORT] of a proxy, and the network node that nobody has named.

Used by the launchers. A service is a name and port under which a proxy forwards TCP to a node's own port: it is
announced as it is and resolved by whoever dials it.
"""

from __future__ import annotations

from swarm.core.fields import is_address
from swarm.errors import BadInput

Address = tuple[str, int]
SERVICE_PORT = 443
"""Where HPE's proxies wait; it is forwarded by port here, not by TLS server name."""


def service(text: str, flag: str, *, port: int = SERVICE_PORT) -> Address:
    """HOST[:PORT]; raises BadInput that names the flag."""
    host, _, its_port = text.rpartition(":") if text.count(":") == 1 or "]:" in text else (text, "", "")
    bare = host.strip("[]")
    if its_port and not (its_port.isascii() and its_port.isdecimal() and 0 < int(its_port[:6]) < 1 << 16):
        raise BadInput(f"{flag} {text!r} has no port number behind its colon", hint="expected HOST or HOST:PORT")
    if not bare or not is_address(f"{bare}:{its_port or port}"):
        raise BadInput(f"{flag} is {text[:80]!r}, expected HOST or HOST:PORT")
    return bare, int(its_port or port)


def network_node(ip: str | None, port: int, proxy: str | None, name: str | None) -> Address:
    """The one that flags or variables name; else the one that ``run-sn -d`` has left running on this host."""
    if proxy:
        return service(proxy, "--sn-api-service")
    if ip and not name:
        return ip, port
    from swarm.nodes.detached import network_nodes

    here = network_nodes()
    if name:
        if name not in here:
            raise BadInput(
                f"--sn-docker-name {name}: no network node of this name was left running on this host by run-sn -d",
                hint=f"there are {', '.join(sorted(here))}" if here else "--sn-ip IP names one that runs elsewhere",
            )
        return here[name]
    if len(here) != 1:
        found = f"{len(here)} run on this host ({', '.join(sorted(here))})" if here else "none runs on this host"
        raise BadInput(
            f"neither --sn-ip nor --sn-api-service names a network node, and of those that run-sn -d has left {found}",
            hint="--sn-ip IP names one; --sn-docker-name chooses among those of this host",
        )
    return next(iter(here.values()))
