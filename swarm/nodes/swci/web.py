"""A command interface in web mode: the script first, then what comes over HTTPS, until the process is ended.

Called by ``run-swci``. The application (`webapp`) is served by hypercorn on a Unix socket in a private directory; in
front of it `runtime/httpsfront` lets in the people of this organisation. All requests share one session: contexts and
the working directory stay from one command to the next, as they do in a shell. Of this host's files they see the user
directory only.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from swarm.errors import BadInput
from swarm.nodes.swci import shell, variables
from swarm.nodes.swci.session import Session
from swarm.nodes.swci.webapp import Desk, application
from swarm.runtime.httpsfront import Front, same_organisation
from swarm.runtime.started import TaskStatus
from swarm.runtime.tls import address_text

MARGIN_S = 60.0

log = logging.getLogger("swarm.web")


@dataclass(frozen=True)
class Address:
    host: str
    port: int
    """0 = any that is free."""


@dataclass(frozen=True)
class Settings:
    shell: shell.Settings
    address: Address
    private: Path
    """A directory with a short path that nobody else can enter."""
    ready: Path | None
    """Where to tell that it serves, and on which port."""


async def run(settings: Settings) -> shell.Ended:
    """Be a command interface in web mode; comes back only if the script failed."""
    async with trio.open_nursery() as nursery:
        session = shell.session(settings.shell, nursery, confined=True)
        try:
            failure = await shell.play(session, settings.shell.script)
            if failure is None:
                session.over = False  # the EXIT at the end of a script
                session.transcript.forget()
                await _serve(session, settings)
        finally:
            session.leave()
    return shell.Ended(failure)


async def _serve(session: Session, settings: Settings) -> None:
    upstream = settings.private / "http.sock"
    longest_s = max(variables.minutes(session, of_a_run=of_a_run) for of_a_run in (True, False)) * 60 + MARGIN_S
    desk = Desk(lambda line: _execute(session, line), settings.shell.usr_dir, longest_s)
    own = session.credentials.identity
    front = Front(session.credentials, same_organisation(own, "command"), upstream, longest_s + MARGIN_S)
    listeners = await _listen(settings.address)
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve_http, desk, upstream)
        where = f"https://{address_text(settings.address.host, port)}"
        session.transcript.note(f"Web interface for {own.organisation} : {where}/exec?cmd=...")
        if settings.ready:
            text = json.dumps({"pid": os.getpid(), "web_port": port})
            settings.ready.write_text(text, encoding="utf-8")
        await front.serve(listeners)


async def _serve_http(desk: Desk, upstream: Path, *, task_status: TaskStatus) -> None:
    config = Config()
    config.bind = [f"unix:{upstream}"]
    config.keep_alive_max_requests = 1  # the front has looked at the head of one
    config.include_server_header = False
    config.accesslog = config.errorlog = None
    await serve(cast(Any, application(desk)), config, shutdown_trigger=trio.sleep_forever, task_status=task_status)


async def _listen(address: Address) -> list[trio.SocketListener]:
    try:
        return [*await trio.open_tcp_listeners(address.port, host=address.host)]
    except OSError as error:
        where = address_text(address.host, address.port)
        raise BadInput(
            f"{where} cannot be listened on: {error.strerror or error}", hint="SWCI_WEB_PORT names another port"
        ) from error


async def _execute(session: Session, line: str) -> list[str]:
    """One command, as in a shell; the lines of its answer. What ends a shell ends nothing here."""
    transcript = session.transcript
    transcript.echo(line)
    try:
        failure = await shell.execute(session, line)
        answer: list[str] = [text for record in transcript.commands for text in record["output"]]
        left = session.over and failure is None
    finally:
        session.over = False
        transcript.forget()
    return ["ERROR : EXIT ends a shell, and this is the web interface: stop-swarm --swci ends it"] if left else answer
