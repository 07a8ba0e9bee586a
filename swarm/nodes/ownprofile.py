"""The profile of an operator on this machine, made from those in profiles/ as people are told to make theirs.

Used by `swarm demo` (through `nodes/taskrun`) and `swarm up` (`nodes/standing`).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from swarm.nodes.local import HOST
from swarm.runtime.authority import CertificateTree


def own_profile(tree: CertificateTree, number: int, group: str, place: Path) -> str:
    """That of host 1 for the first organisation, that of host 2 for each other, with its own number.

    ``place``: the private data of its one learning node's program.
    """
    own = min(number, 2)
    text = files("swarm.nodes").joinpath("profiles", f"process-{own}.yaml").read_text(encoding="utf-8")
    values = {
        f"<PROJECT-CERTS>/sl-{own}-": f"{tree.directory}/sl-{number}-",
        "<PROJECT-CACERTS>": str(tree.capath),
        "<HOST_ADDRESS>": HOST,
        "<PROJECT>": str(place),
        "slport: 30305": "slport: ~",
        "groupname: mnist": f"groupname: {group}",
        f"slhostname: sl{own}": f"slhostname: sl{number}",
        f": user{own}": f": user{number}",
    }
    for placeholder, value in values.items():
        assert placeholder in text, f"process-{own}.yaml has no {placeholder}"
        text = text.replace(placeholder, value)
    return text
