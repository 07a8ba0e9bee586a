"""One question to a network node, from a command: connect, ask, go.

Used by `swarm demo|run|contract`. The certificate's role decides what may be asked. Guarantee: an answer, or one
sentence within the deadline; never a connection that stays.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarm.errors import Interrupted
from swarm.runtime.authority import CertificateTree

Address = tuple[str, int]
ANSWER_S = 10.0


def ask_status(address: Address, *, tree: CertificateTree, state: Path) -> dict[str, Any]:
    """What the network node at this address says of itself, the ledger and its contracts."""
    from swarm.nodes.starting import run_node
    from swarm.runtime.control import Control
    from swarm.runtime.credentials import Credentials
    from swarm.runtime.mesh import Mesh
    from swarm.runtime.statedir import StateDirectory
    from swarm.runtime.tls import Local

    credentials = Credentials.load(tree.certificate("swci"), tree.key("swci"), tree.capath, expect_roles=("swci",))

    async def ask(local: Local) -> dict[str, Any]:
        mesh = Mesh(local)
        control = Control(mesh, {}, lambda peer, verb: None)
        async with mesh.run(listen=[]), control.run():
            link = await control.connect(*address, deadline_s=ANSWER_S)
            status: dict[str, Any] = await link.call("status", {}, deadline_s=ANSWER_S)
            return status

    with StateDirectory(state) as directory:
        status = run_node(ask, Local(credentials, directory))
    if status is None:
        raise Interrupted("interrupted")
    return status
