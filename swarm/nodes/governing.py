"""What people decide about a network: who may take part in it, and what is given up.

Used by `swarm org|contract|sn` and by `swarm.Client`, as work for a connected client. Guarantee: what is wrong with a
file or a name is said before anything is proposed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from swarm.errors import BadInput, Refused
from swarm.nodes.client import Client, Work
from swarm.wire.certs import Anchor, anchors_from_pem


def admitted(ca: Path) -> Work:
    """Let the organisation with this CA take part."""
    anchor = _read(ca)

    async def work(client: Client) -> dict[str, Any]:
        result = (await client.propose("OrganisationAdmitted", {"ca": anchor.certificate})).result
        key = f"sha256:{anchor.spki_sha256.hex()}"
        return {"organisation": result["organisation"], "key": key, "known": result["known"]}

    return work


def _read(path: Path) -> Anchor:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    try:
        anchors = anchors_from_pem([text])
    except BadInput as error:
        raise BadInput(f"{path}: {error.message}", hint=error.hint) from error
    if len(anchors) != 1:
        raise BadInput(f"{path} has {len(anchors)} CA certificates, expected one", hint="admit them one by one")
    return anchors[0]


def reset(contract: str) -> Work:
    """Forget the contract: the next program that names it opens it anew."""

    async def work(client: Client) -> dict[str, Any]:
        await client.propose("ContractReset", {"contract": contract})
        return {"contract": contract}

    return work


def rebased(contract: str, *, force: bool) -> Work:
    """Give up the newest model of the contract, which everybody has lost; without ``force`` say which that is."""

    async def work(client: Client) -> dict[str, Any]:
        found = (await client.ledger()).contracts.get(contract)
        if found is None:
            raise Refused(f"there is no contract {contract}: nobody has enrolled in it")
        lost = found.base
        if not force:
            raise BadInput(
                f"this would give up the model {lost} of contract {contract}, for good",
                hint=f"swarm contract rebase {contract} --force",
            )
        outcome = await client.propose("ContractRebased", {"contract": contract, "digest": lost})
        return {"contract": contract, "lost": lost, "base": outcome.result["base"]}

    return work


def removed(name: str) -> Work:
    """Take the network node with this name or uid out of the ledger for good."""

    async def work(client: Client) -> dict[str, Any]:
        row = _named(name, (await client.status())["nodes"])
        await client.propose("SnRemoved", {"uid": row["uid"]})
        return {"removed": row["uid"], "name": row["name"], "organisation": row["organisation"]}

    return work


def _named(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    sns = [row for row in rows if row["role"] == "sn"]
    found = [row for row in sns if name in (row["name"], row["uid"])]
    if len(found) == 1:
        return found[0]
    if found:
        which = ", ".join(f"{row['uid']} of {row['organisation']}" for row in found)
        raise BadInput(
            f"{len(found)} network nodes are named {name}: {which}", hint="name the one that is meant by uid"
        )
    known = ", ".join(row["name"] for row in sns)
    raise BadInput(f"no network node is named {name}", hint=f"there are {known}")
