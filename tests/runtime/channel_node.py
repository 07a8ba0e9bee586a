"""A learning node for channel and callback tests: the real `ChannelServer` in a trio thread, a handler of few lines."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import trio

from swarm.core.tensors import Schema
from swarm.errors import SwarmError
from swarm.runtime.channel_server import ChannelServer, Session
from swarm.wire import tensorbytes
from swarm.wire.messages import Merged, Open, Opened, Sync

Arrays = dict[str, np.ndarray[Any, Any]]


class Node:
    """Merges by averaging floats with ``other`` (by default: gives back what came). Records what the program said."""

    def __init__(self) -> None:
        self.opens: list[Open] = []
        self.syncs: list[Sync] = []
        self.received: list[Arrays] = []
        self.gone_sessions: list[Session] = []
        self.gone_event = threading.Event()
        self.busy = threading.Event()
        self.merge: Callable[[Arrays], Arrays] = lambda arrays: arrays
        self.answer: Callable[[int, Sync], dict[str, Any]] = lambda number, request: {}
        self.opened: dict[str, Any] = {}
        self.fail_open: SwarmError | Exception | None = None
        self.fail_sync: SwarmError | Exception | None = None
        self.hold: trio.Event | None = None
        self.notes: list[tuple[str, str]] = []
        self.cancelled = threading.Event()

    async def open(self, session: Session, request: Open) -> Opened:
        self.opens.append(request)
        if self.fail_open is not None:
            raise self.fail_open
        fields = {"contract": request.contract, "round": 0, "base": "blake3:00", "hash": "blake3", "uid": "u-1"}
        return Opened(**{**fields, "finished": False, **self.opened})

    async def sync(self, session: Session, request: Sync) -> Merged:
        self.syncs.append(request)
        for level, text in self.notes:
            session.note(level, text)
        if self.hold is not None:
            self.busy.set()
            try:
                await self.hold.wait()
            except trio.Cancelled:
                self.cancelled.set()
                raise
        if self.fail_sync is not None:
            raise self.fail_sync
        assert isinstance(session.schema, Schema)
        arrays = {name: view.copy() for name, view in tensorbytes.views(session.schema, session.out).items()}
        self.received.append(arrays)
        tensorbytes.pack(session.schema, self.merge(arrays), session.incoming)
        number = len(self.syncs)
        digest = tensorbytes.digest(session.schema, session.incoming, "sha256")
        over = request.kind == "end"
        fields = {"round": number, "digest": digest, "members": 2, "training_over": over, "how": "merged", "note": ""}
        fields["interval"] = 1000
        return Merged(**{**fields, **self.answer(number, request)})

    async def gone(self, session: Session) -> None:
        self.gone_sessions.append(session)
        self.gone_event.set()


class Running:
    """The server's thread; ``call`` runs a function in its loop."""

    def __init__(self, server: ChannelServer, node: Node, token: trio.lowlevel.TrioToken) -> None:
        self.server, self.node, self.token = server, node, token

    @property
    def environment(self) -> dict[str, str]:
        return self.server.environment

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        return trio.from_thread.run_sync(function, *args, trio_token=self.token)


@contextlib.contextmanager
def running(directory: Path, *, alive_s: float = 0.05) -> Iterator[Running]:
    server, node = ChannelServer(directory, node="sl-1 (org-a)", alive_s=alive_s), Node()
    started, stop = threading.Event(), trio.CancelScope()
    box: dict[str, Any] = {}

    async def main() -> None:
        with stop, server.listening():
            async with trio.open_nursery() as nursery:
                await nursery.start(server.serve, node)
                box["token"] = trio.lowlevel.current_trio_token()
                started.set()

    thread = threading.Thread(target=trio.run, args=(main,), daemon=True)
    thread.start()
    assert started.wait(10), "the channel server did not start"
    try:
        yield Running(server, node, box["token"])
    finally:
        with contextlib.suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(stop.cancel, trio_token=box["token"])
        thread.join(10)
        assert not thread.is_alive()
