"""The web form of a command interface: ``POST /exec?cmd=…``, ``POST /uploadTaskDef``, ``GET /healthz``.

Served by `nodes/swci/web` to people of this organisation only (`runtime/httpsfront`). Every answer of the first two is
``{"CONTENT": [line, …]}``; a line that begins with ``ERROR `` says that the request failed. Guarantees: one command at
a time; a command whose client has gone is ended; a body has its limit and its deadline; a page of another origin, in
whatever browser holds the certificate, commands nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import swarm
from swarm.errors import BadInput, Refused, SwarmError, Unreachable, as_ours
from swarm.nodes.swci import uploads

COMMAND_MAX = 4096
BODY_MAX = uploads.BYTES_MAX + 16_384
BODY_S = 30.0
BUSY_S = 30.0

log = logging.getLogger("swarm.web")


@dataclass
class Desk:
    """Where commands are run: ``run`` answers with lines, and with the error if the command failed."""

    run: Callable[[str], Awaitable[list[str]]]
    usr_dir: Path | None
    deadline_s: float
    current: str = ""
    _turn: trio.Lock = field(default_factory=trio.Lock)

    async def command(self, line: str, gone: Callable[[], Awaitable[None]]) -> list[str]:
        """``gone`` comes back when nobody waits for the answer any longer."""
        with trio.move_on_after(BUSY_S) as in_time:
            await self._turn.acquire()
        if in_time.cancelled_caught:
            raise Unreachable(f"another command runs: {self.current}", hint="ask again when it has ended")
        self.current = line
        answers: list[list[str]] = []
        try:
            with trio.move_on_after(self.deadline_s) as in_time:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_after, gone, nursery.cancel_scope)
                    answers.append(await self.run(line))
                    nursery.cancel_scope.cancel()
        finally:
            self.current = ""
            self._turn.release()
        for answer in answers:
            return answer
        why = f"did not end within {self.deadline_s:g} s" if in_time.cancelled_caught else "was given up"
        raise Unreachable(f"{line} {why}")


async def _cancel_after(happens: Callable[[], Awaitable[None]], scope: trio.CancelScope) -> None:
    await happens()
    scope.cancel()


def application(desk: Desk) -> ASGIApp:

    async def execute(request: Request) -> Response:
        given = request.query_params.getlist("cmd")
        if len(given) != 1:
            raise BadInput("the request names no command, or several", hint="POST /exec?cmd=LIST%20TASKS")
        line = given[0]
        if len(line) > COMMAND_MAX or not line.replace("\t", " ").isprintable():
            raise BadInput(f"a command is one printable line of at most {COMMAND_MAX} characters")

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        return _content(await desk.command(line, gone))

    async def upload(request: Request) -> Response:
        form = await request.form(max_files=1, max_fields=1)
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise BadInput("the form has no file", hint="multipart/form-data with one field, file")
        name = uploads.keep(desk.usr_dir, file.filename or "", await file.read())
        return _content([f"Task definition uploaded : {name}"])

    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True, "version": swarm.__version__, "running": desk.current})

    routes = [
        Route("/exec", execute, methods=["POST"]),
        Route("/uploadTaskDef", upload, methods=["POST"]),
        Route("/healthz", health, methods=["GET"]),
    ]
    handlers = {404: _not_here, 405: _other_method, HTTPException: _unread, SwarmError: _failed, Exception: _mistaken}
    return _Bounded(Starlette(routes=routes, exception_handlers=handlers))


class _Bounded:
    """Before the application: the origin is none, and the whole body is here, within its limit and its time."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            if any(name == b"origin" for name, _ in scope["headers"]):
                raise Refused("a page in a browser asks, and commands are not for pages")
            body = await _body(receive)
        except SwarmError as error:
            await _answer_of(error)(scope, receive, send)
            return
        left = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return left.pop() if left else await receive()

        await self._app(scope, again, send)


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    with trio.move_on_after(BODY_S):
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > BODY_MAX:
                raise BadInput(f"the body of the request is longer than {BODY_MAX} bytes")
            if not message.get("more_body"):
                return bytes(body)
    raise Unreachable(f"the body of the request did not come within {BODY_S:g} s")


# ---- answers

_STATUS: dict[type[SwarmError], int] = {BadInput: 400, Refused: 403, Unreachable: 503}


def _content(lines: list[str], status: int = 200) -> JSONResponse:
    return JSONResponse({"CONTENT": lines}, status_code=status)


def _answer_of(error: SwarmError) -> JSONResponse:
    lines = [f"ERROR : {error.message}", *([f"HINT : {error.hint}"] if error.hint else [])]
    return _content(lines, next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500))


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SwarmError)
    return _answer_of(error)


async def _unread(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer_of(BadInput(f"the body is no multipart form: {error.detail.rstrip('.')}"))


async def _mistaken(request: Request, error: Exception) -> Response:
    log.error("a mistake of ours in %s", request.url.path, exc_info=error)
    return _answer_of(as_ours(error, "the command came to nothing"))


async def _not_here(request: Request, error: Exception) -> Response:
    what = f"there is nothing at {request.url.path[:80]}"
    return _content([f"ERROR : {what}", "HINT : POST /exec?cmd=…, POST /uploadTaskDef, GET /healthz"], 404)


async def _other_method(request: Request, error: Exception) -> Response:
    return _content([f"ERROR : {request.method[:20]} is not for {request.url.path[:80]}"], 405)
