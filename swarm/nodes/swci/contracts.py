"""The commands about training contracts: their names, what they agreed on, where they stand, and beginning anew."""

from __future__ import annotations

from swarm.core import awaited
from swarm.core.contract import Contract
from swarm.core.ledger import Ledger
from swarm.nodes.swci import facts
from swarm.nodes.swci.session import Session

DEFAULT_NAME = "defaultbb.cqdb.sml.hpe"
"""The contract that programs use when they name none: HPE's networks are born with it."""


async def create(session: Session, contract: str) -> None:
    outcome = await session.propose("ContractCreated", contract=contract)
    known = " (known already)" if outcome.result["known"] else ""
    session.say(f"CONTRACT CREATED : {contract}{known}")


async def names(session: Session) -> None:
    session.say("\n".join(all_names(await session.ledger())))


async def reset(session: Session, contract: str) -> None:
    """One that nobody has opened since the last reset is as a reset leaves it."""
    ledger = await session.ledger()
    facts.known(dict.fromkeys(all_names(ledger)), "contract", contract)
    if contract in ledger.contracts:
        await session.propose("ContractReset", contract=contract)
    session.say(f"CONTRACT RESET : {contract}")


async def info(session: Session, contract: str) -> None:
    found = await opened(session, contract)
    shown: dict[str, object] = {"CONTRACT NAME": contract}
    if found is not None:
        shown |= {
            "MODEL": f"{len(found.schema.tensors)} tensors, {found.schema.nbytes} bytes",
            "HASH": found.hash,
            **{_spaced(name): value for name, value in found.options.to_wire().items() if value != []},
        }
    session.say(facts.lines(shown))


async def status(session: Session, contract: str) -> None:
    found = await opened(session, contract)
    if found is None:
        session.say(f"CONTRACT NAME : {contract}\nSTATE : uninitialised")
        return
    shown = {
        "CONTRACT NAME": contract,
        "STATE": found.phase,
        "ROUND": found.round,
        "COMMITTED ROUNDS": found.commits,
        "MODEL": found.base if found.has_model else "none yet",
        "WAITS FOR": ", ".join(awaited.names(found)),
    }
    session.say(facts.lines(shown))
    for uid, member in found.members.items():
        session.say(f"MEMBER : {uid} : {member} : {found.state_of(uid)}")


def all_names(ledger: Ledger) -> list[str]:
    return sorted({DEFAULT_NAME, *ledger.contracts, *ledger.unopened})


async def opened(session: Session, name: str) -> Contract | None:
    """None for one that nobody has opened since it was made or reset."""
    ledger = await session.ledger()
    facts.known(dict.fromkeys(all_names(ledger)), "contract", name)
    return ledger.contracts.get(name)


def _spaced(name: str) -> str:
    """minPeers as MIN PEERS."""
    return "".join(f" {letter}" if letter.isupper() else letter for letter in name).upper()
