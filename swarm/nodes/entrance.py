"""How somebody gets into a network as a command interface (SWCI): through this node, with this certificate.

Used by the commands of `swarm` and by `swarm.Client`. Guarantee: what is asked is asked with a certificate of a command
interface, over a connection that is gone afterwards, and nothing of it stays on this host. Neither libp2p nor trio is
loaded before that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from swarm.errors import BadInput, Unreachable

if TYPE_CHECKING:
    from swarm.nodes.client import Client

T = TypeVar("T")
NOT_YET = "they are starting, or coming back as learners: ask again in a few seconds"


@dataclass(frozen=True)
class Entrance:
    address: tuple[str, int]
    certificate: Path
    key: Path
    capath: Path

    def ask(self, work: Callable[[Client], Awaitable[T]]) -> T:
        """Do the work with a client that is gone afterwards."""
        from swarm.nodes.client import consult
        from swarm.nodes.scratch import scratch_directory
        from swarm.runtime.credentials import Credentials

        credentials = Credentials.load(self.certificate, self.key, self.capath, expect_roles=("swci",))
        with scratch_directory("swarm-swci-") as directory:
            return consult(self.address, credentials, directory / "swci", work)


def of_swarm_up() -> Entrance:
    """That of the first organisation of `swarm up` on this host, through the first of its network nodes that serves."""
    from swarm.nodes.local import HOST
    from swarm.nodes.standing import Standing
    from swarm.runtime.authority import CertificateTree
    from swarm.runtime.statedir import default_state_dir

    standing = Standing(default_state_dir("up"))
    running = [node for node in standing.nodes() if node.process() and not node.is_operator]
    if not running:
        raise BadInput("no swarm runs here", hint="swarm up starts one; --sn-ip names one elsewhere")
    tree = CertificateTree(standing.directory / "org-1", "1")
    serving = next((node for node in running if standing.serves(node)), None)
    if serving is None:
        names = ", ".join(node.name for node in running)
        raise Unreachable(f"no network node of swarm up takes connections yet, and these run: {names}", hint=NOT_YET)
    address = (HOST, standing.api_port(serving.name))
    return Entrance(address, tree.certificate("swci"), tree.key("swci"), tree.capath)
