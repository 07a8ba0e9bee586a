"""The shell: a script first, then what is typed, until EXIT, the end of the input, or a failure that ends it.

Called by ``run-swci``. Guarantees: a command that fails leaves one sentence, and ends the session only after EXIT ON
FAILURE, with that error; nothing of a session is left running.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from swarm.errors import SwarmError
from swarm.nodes.swci.commands import GRAMMAR
from swarm.nodes.swci.directory import Directory
from swarm.nodes.swci.grammar import is_command
from swarm.nodes.swci.session import Session
from swarm.nodes.swci.transcript import Transcript
from swarm.runtime.credentials import Credentials

READ_BYTES = 65_536


@dataclass(frozen=True)
class Settings:
    credentials: Credentials
    state: Path
    usr_dir: Path | None
    script: tuple[str, ...]
    """Lines that are run first, each echoed."""
    stdin: int | None
    """Descriptor from which the rest comes; None: the session ends with the script."""
    transcript: Transcript
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Ended:
    failure: SwarmError | None
    """What ended the session, if it did not end by itself."""


async def run(settings: Settings) -> Ended:
    """Be a command interface."""
    async with trio.open_nursery() as nursery:
        here = session(settings, nursery)
        try:
            failure = await play(here, settings.script)
            if settings.stdin is not None and not here.over:
                failure = await _converse(here, settings.stdin)
        finally:
            here.leave()
    return Ended(failure)


def session(settings: Settings, nursery: trio.Nursery) -> Session:
    return Session(
        settings.credentials,
        settings.state,
        Directory(settings.usr_dir),
        settings.transcript,
        settings.environment,
        nursery,
    )


async def play(session: Session, script: Iterable[str]) -> SwarmError | None:
    """Run the lines of a script, each echoed, until the session is over."""
    for line in script:
        session.transcript.echo(line)
        failure = await execute(session, line)
        if session.over:
            return failure
    return None


async def execute(session: Session, line: str) -> SwarmError | None:
    """Run one line; the error, if it failed and the session is over by that."""
    if not is_command(line):
        return None
    session.transcript.begin(line)
    try:
        command, arguments = GRAMMAR.read(line)
        await command.run(session, **arguments)
    except SwarmError as error:
        session.transcript.fail(error)
        if session.exit_on_failure:
            session.over = True
            return error
    return None


async def _converse(session: Session, stdin: int) -> SwarmError | None:
    session.transcript.ask()
    async for line in lines_of(stdin):
        failure = await execute(session, line)
        if session.over:
            return failure
        session.transcript.ask()
    session.transcript.note("")
    return None


async def lines_of(descriptor: int) -> AsyncIterator[str]:
    """Lines from a pipe or a file, without a thread that would keep the process from ending; whatever ends them."""
    pending, first = b"", True
    while True:
        with suppress(PermissionError, trio.ClosedResourceError):  # a plain file is always readable
            await trio.lowlevel.wait_readable(descriptor)
        data = os.read(descriptor, READ_BYTES)
        *lines, pending = (pending + data).split(b"\n")
        if not data and pending:
            lines, pending = [pending], b""
        for line in lines:
            yield line.decode("utf-8-sig" if first else "utf-8", "replace").removesuffix("\r")
            first = False
        if not data:
            return
