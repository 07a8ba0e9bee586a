"""Where a node listens: on its announced address if that is one of this host's, else on all of them.

Used by every node that listens. Behind address translation the announced ``--host-ip`` is no address of this host, and
behind a proxy there need not be one.
"""

from __future__ import annotations

import socket


def listen_host(host_ip: str) -> str:
    family = socket.AF_INET6 if ":" in host_ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host_ip, 0))  # the empty one would do too, and means all of them
        except OSError:
            host_ip = ""
    return host_ip or ("::" if family is socket.AF_INET6 else "0.0.0.0")
