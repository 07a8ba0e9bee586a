"""The commands about contexts: which network a session works with, and whether its API server answers yet."""

from __future__ import annotations

import trio

from swarm.errors import BadInput, Unreachable
from swarm.nodes.ledgerlink import Address
from swarm.nodes.swci import arguments, variables
from swarm.nodes.swci.session import Context, Session
from swarm.runtime.tls import address_text

RETRY_S = 5.0
TRY_EVERY_S = 1.0
SAY_EVERY_S = 30.0


async def create_with_ip(session: Session, name: str, ip: str, port: str = "") -> None:
    await _create(session, name, arguments.address(ip, port))


async def create_with_service(session: Session, name: str, service: str) -> None:
    await _create(session, name, arguments.service(service))


async def _create(session: Session, name: str, address: Address) -> None:
    known = session.contexts.get(name)
    if known is not None and known.address != address:
        where = address_text(*known.address)
        raise BadInput(f"there is a context {name} already, with {where}", hint="choose another name")
    await (await session.client(address)).status()
    session.say("API Server is UP!")
    session.contexts.setdefault(name, Context(address))
    session.say(f"CONTEXT CREATED : {name}")


async def switch(session: Session, name: str) -> None:
    session.context = variables.context_of(session, name)
    session.say(f"DEFAULT CONTEXT SET TO : {name}")


async def show(session: Session, name: str = "") -> None:
    name = variables.context_of(session, name)
    host, port = session.contexts[name].address
    session.say(f"CONTEXT NAME : {name}\nAPI SERVER IP : {host}\nAPI SERVER PORT : {port}")
    session.say(f"DEFAULT CONTEXT : {name == session.context}")


async def names(session: Session) -> None:
    session.say("\n".join(session.contexts) or "Empty")


async def version(session: Session) -> None:
    status = await (await session.network()).status()
    session.say(f"API SERVER VERSION : {status['version']}")


async def wait_for_ip(session: Session, ip: str, port: str = "", retries: str = "") -> None:
    await _wait(session, arguments.address(ip, port), retries)


async def wait_for_service(session: Session, service: str, retries: str = "") -> None:
    await _wait(session, arguments.service(service), retries)


async def _wait(session: Session, address: Address, retries: str) -> None:
    """Until the API server answers; as long as so many retries, 5 s apart, would take."""
    deadline_s = variables.retries(session, retries) * RETRY_S
    client = await session.client(address)
    begun_s = said_s = trio.current_time()
    while True:
        try:
            await client.status()
            break
        except Unreachable as error:
            now_s = trio.current_time()
            if now_s - begun_s + TRY_EVERY_S >= deadline_s:
                where = address_text(*address)
                raise Unreachable(f"no API server at {where} after {now_s - begun_s:.0f} s: {error.message}") from error
            if now_s - said_s >= SAY_EVERY_S:
                said_s = now_s
                session.say(f"waiting for the API server: {error.message}")
            await trio.sleep(TRY_EVERY_S)
    session.say("API Server is UP!")
