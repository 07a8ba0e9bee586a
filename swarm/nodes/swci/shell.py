"""The shell: a script first, then what is typed, until EXIT, the end of the input, or a failure that ends it.

Called by ``run-swci``. Guarantees: a command that fails leaves one sentence, and ends the session only after EXIT ON
FAILURE, with that error; nothing of a session is left running.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import trio

from swarm.errors import Interrupted, SwarmError
from swarm.nodes.swci import contracts, variables
from swarm.nodes.swci.commands import GRAMMAR
from swarm.nodes.swci.completion import candidates, partial
from swarm.nodes.swci.directory import Directory
from swarm.nodes.swci.grammar import is_command
from swarm.nodes.swci.session import Session
from swarm.nodes.swci.transcript import Transcript
from swarm.runtime.credentials import Credentials
from swarm.wire.taskfile import BODIES

READ_BYTES = 65_536
NAMES_S = 2.0
"""How long a prompt may wait for the names that it completes."""


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
    history: Path | None = None
    """A person sits at a terminal, and here are the lines of earlier sessions."""


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
            if settings.history is not None and not here.over:
                failure = await _converse_with_person(here, settings.history)
            elif settings.stdin is not None and not here.over:
                failure = await _converse(here, settings.stdin)
        finally:
            here.leave()
    return Ended(failure)


def session(settings: Settings, nursery: trio.Nursery, *, confined: bool = False) -> Session:
    return Session(
        settings.credentials,
        settings.state,
        Directory(settings.usr_dir, confined=confined),
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


async def _converse_with_person(session: Session, history: Path) -> SwarmError | None:
    from swarm.nodes.swci.console import Console

    names: dict[str, list[str]] = {}
    syntaxes = [row.syntax for row in GRAMMAR.rows]
    console = Console(history, lambda text: (len(partial(text)), candidates(text, syntaxes, names)))
    while True:
        with trio.move_on_after(NAMES_S), suppress(SwarmError):  # who is not reached now is told by the next command
            names.update(await known_names(session))
        line = await console.ask(session.transcript.prompt)
        if line is None:
            return None
        for one in line.splitlines():
            failure = await _interruptibly(session, one)
            if session.over:
                return failure


async def _interruptibly(session: Session, line: str) -> SwarmError | None:
    """Run one line; Ctrl-C ends the command, and not the session."""
    failure, ended = None, False
    with trio.open_signal_receiver(signal.SIGINT) as interrupts:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_first, interrupts, nursery.cancel_scope)
            failure = await execute(session, line)
            ended = True
            nursery.cancel_scope.cancel()
    if not ended:
        session.transcript.note("")  # behind the ^C of the terminal
        session.transcript.fail(Interrupted("interrupted", hint="what was proposed by then may take effect"))
    return failure


async def _cancel_at_first(interrupts: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in interrupts:
        scope.cancel()


async def known_names(session: Session) -> dict[str, list[str]]:
    """What arguments of each name may be, as far as it is known here and now."""
    names = {
        "name": list(session.contexts),
        "context": list(session.contexts),
        "variable": list(variables.DEFAULTS),
        "task-type": list(BODIES),
        "directory": session.directory.entries("", hidden=False),
        "file": session.directory.entries("", hidden=False),
    }
    if session.context:
        ledger = await session.ledger()
        listeners = [uid for taskrunner in ledger.taskrunners.values() for uid in taskrunner.listeners]
        names |= {
            "task": list(ledger.tasks),
            "taskrunner": list(ledger.taskrunners),
            "contract": contracts.all_names(ledger),
            "swop": listeners,
            "swop-uid": listeners,
        }
    return names


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
