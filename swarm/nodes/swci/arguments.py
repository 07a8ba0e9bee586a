"""Arguments of commands that are more than names: whole numbers, ports, addresses, minutes of waiting.

Used by the commands of this room. Every refusal says which argument, what was expected and what was given.
"""

from __future__ import annotations

from swarm.errors import BadInput
from swarm.nodes.ledgerlink import Address

API_PORT = 30304
SERVICE_PORT = 443
DIGITS_MAX = 20


def whole(what: str, text: str, low: int, high: int) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX) or not low <= int(text) <= high:
        raise BadInput(f"{what} is {text[:40]!r}, expected a whole number from {low} to {high}")
    return int(text)


def number(what: str, text: str, high: float) -> float:
    """A number of seconds or minutes, above zero."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= high:
        raise BadInput(f"{what} is {text[:40]!r}, expected a number from 0 to {high:.12g}")
    return value


def address(ip: str, port: str = "") -> Address:
    if "/" in ip or not ip.isprintable():
        raise BadInput(f"the address is {ip[:80]!r}, expected an IP address or a host name")
    return ip.strip("[]"), whole("the port", port, 1, 65535) if port else API_PORT


def service(text: str) -> Address:
    """``fqdn[:port]`` of a proxy that forwards to a network node's API port."""
    host, _, port = text.partition(":")
    return address(host, port or str(SERVICE_PORT))
