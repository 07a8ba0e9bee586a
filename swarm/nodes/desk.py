"""Where an operator hears the programs of its slots: they scale their task, find each other, give each other work.

Run by `nodes/swop`; the programs' side is `callbacks/desk`. Guarantees: a program speaks for the slot whose token it
was given, under the lease that the slot has, and for its own task only; one bad question ends nothing but itself; a
program finds the operator again that was started anew in the same state directory.

One question a connection, a line of JSON each way: ``{"slot", "fence", "token", "ask", ...}``, answered by the fields
that were asked for or by ``{"error": {code, message, hint}}``.
"""

from __future__ import annotations

import hmac
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import trio

from swarm.core.events import Outcome, SlotState
from swarm.core.ledger import Ledger
from swarm.core.rolesrun import RolesRun
from swarm.errors import BadInput, Refused, SwarmError, Unreachable
from swarm.nodes.jobwork import JobWork
from swarm.runtime.channel_socket import listening, place

QUESTION_BYTES = 1 << 20
QUESTION_S = 10.0
ANSWER_S = 60.0
SETTLE_S = 10.0
LOOK_EVERY_S = 0.1
WAIT_S_MAX = 30.0
OPEN_MAX = 512
"""Questions at a time: who comes then waits until one is answered, so a program cannot take all of the operator's
descriptors."""

MISUNDERSTOOD = (ValueError, TypeError, KeyError, OverflowError, RecursionError)
"""What comes of fields that are of another kind than was asked for, wherever they are used."""
Answer = dict[str, Any]


class Desk:
    """``state``: the operator's directory; ``work`` finds the slot's attempt; ``propose`` asks the ledger.

    ``patience_s``: how long an attempt that it does not know may take to be known.
    """

    def __init__(
        self,
        state: Path,
        *,
        ledger: Callable[[], Ledger],
        work: Callable[[str, int], JobWork | None],
        propose: Callable[[str, dict[str, Any]], Awaitable[Outcome]],
        patience_s: float = SETTLE_S,
    ) -> None:
        self._patience_s = patience_s
        self._state = state
        self._ledger = ledger
        self._work = work
        self._propose = propose
        self._asks: dict[str, Callable[[int, dict[str, Any], Mapping[str, Any]], Awaitable[Answer]]] = {
            "scale": self._scale,
            "peers": self._peers,
            "put": self._put,
            "take": self._take,
            "done": self._done,
            "results": self._results,
            "counts": self._counts,
            "forget": self._forget,
        }
        self._moved = trio.Event()
        self._taking: Counter[int] = Counter()
        """By run: how many takes the ledger is being asked for."""

    @property
    def file(self) -> Path:
        """It says where the operator listens by now: a socket's path has to be short."""
        return self._state / "desk.json"

    async def run(self) -> None:
        with place(self._state / "desk") as path, listening(path) as listener:
            part = self.file.with_suffix(".part")
            part.write_text(json.dumps({"path": path}), encoding="utf-8")
            os.replace(part, self.file)
            open_ = trio.Semaphore(OPEN_MAX)
            async with trio.open_nursery() as nursery:
                while True:
                    await open_.acquire()
                    accepted, _ = await listener.accept()
                    nursery.start_soon(self._serve, trio.SocketStream(accepted), open_)

    async def _serve(self, stream: trio.SocketStream, open_: trio.Semaphore) -> None:
        try:
            await self._talk(stream)
        finally:
            open_.release()

    async def _talk(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                answer = await self._answer(await _line(stream))
            except SwarmError as error:
                answer = {"error": error.to_wire()}
            except MISUNDERSTOOD:
                answer = {"error": BadInput("a question to the operator that it does not understand").to_wire()}
            except (OSError, trio.BrokenResourceError):
                return
            with trio.move_on_after(QUESTION_S):
                try:
                    await stream.send_all(json.dumps(answer).encode() + b"\n")
                except (OSError, trio.BrokenResourceError):
                    return  # it was ended meanwhile, and nobody waits for the answer

    async def _answer(self, line: bytes) -> Answer:
        asked = json.loads(line)
        slot, fence, token = str(asked["slot"]), int(asked["fence"]), str(asked["token"])
        ask = self._asks[asked["ask"]]
        number = await self._number_of(slot, fence, token)
        with trio.move_on_after(ANSWER_S):
            return await ask(number, {"slot": slot, "fence": fence}, asked)
        raise Unreachable(f"the ledger did not answer slot {slot} within {ANSWER_S:g} s")

    async def _number_of(self, slot: str, fence: int, token: str) -> int:
        """The run that the slot is of. An operator that has just begun knows its slots a little later."""
        until = trio.current_time() + self._patience_s
        work = self._work(slot, fence)
        while (work is None or work.pass_ is None) and trio.current_time() < until:
            await trio.sleep(LOOK_EVERY_S)  # nothing tells when a slot's directory was judged
            work = self._work(slot, fence)
        if work is None or work.pass_ is None or not hmac.compare_digest(work.pass_.token.encode(), token.encode()):
            raise Refused(f"this operator runs no attempt of slot {slot} with fence {fence} and this token")
        return work.lease.run

    def _run(self, number: int) -> RolesRun:
        """As it is by now: a node that has caught up by a snapshot has another ledger than before."""
        run = self._ledger().board.jobs.with_roles.get(number)
        if run is None:
            raise Refused(f"run {number} is of no task with roles, or its task was deleted")
        return run

    async def _scale(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        count = {name: asked[name] for name in ("to", "by") if asked.get(name) is not None}
        said = {"task": self._run(number).task, "role": asked.get("role"), **count}
        return await self._have("RolesScaled", {**said, **held})

    async def _peers(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        """Once all of them are in the state that was asked for, if one was, or when the wait is over."""
        role, until = self._run(number).role_named(str(asked.get("role"))), asked.get("until")
        if until not in (None, *get_args(SlotState)):
            raise BadInput(f"a slot is never {str(until)[:80]!r}, expected one of {', '.join(get_args(SlotState))}")
        with trio.move_on_after(_wait_s(asked)):
            while until and any(slot.state != until for slot in self._run(number).slots_of(role.name)):
                await self._moved.wait()
        run = self._run(number)
        rows = [
            {"index": slot.index, "state": slot.state, "address": run.addresses.get(slot.id)}
            for slot in run.slots_of(role.name)
        ]
        return {"peers": rows}

    # ---- items of work

    async def _put(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        return await self._have("WorkPut", {**held, "items": asked.get("items"), "within_s": asked.get("within_s")})

    async def _take(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        """As soon as one waits that nobody else here is about to take, or the one that this very question has got."""
        asks = {**held, "nonce": str(asked.get("nonce", ""))}
        with trio.move_on_after(_wait_s(asked)) as patience:
            while not patience.cancelled_caught:
                work = self._run(number).work
                waits = work.waits > self._taking[number] or work.held_as(held["slot"], asks["nonce"])
                if waits and (taken := await self._taken(number, asks)):
                    return taken
                await self._moved.wait()
        return {"key": None}

    async def _taken(self, number: int, asks: dict[str, Any]) -> Answer | None:
        """None if others were quicker. Whatever the wait: what was asked of the ledger is heard to the end."""
        self._taking[number] += 1
        try:
            with trio.CancelScope(shield=True):
                outcome = await self._propose("WorkTaken", asks)
        finally:
            self._taking[number] -= 1
        if outcome.accepted:
            return dict(outcome.result)
        if "no item of work waits" in outcome.reason:
            return None
        error = outcome.error()
        assert error is not None
        raise error

    async def _done(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        return await self._have("WorkDone", {**held, **{name: asked.get(name) for name in ("key", "lease", "result")}})

    async def _results(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        """Once all of them have ended, or what there is when the wait is over; some may yet have to be put."""
        keys = [str(key) for key in asked.get("keys", ())]
        with trio.move_on_after(_wait_s(asked)):
            while any(map(self._run(number).work.is_open, keys)):
                await self._moved.wait()
        known = self._run(number).work.items
        items = [item for key in keys if (item := known.get(key)) is not None]
        done = {item.key: item.result for item in items if item.state == "done"}
        return {"done": done, "failed": [item.key for item in items if item.state == "failed"]}

    async def _counts(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        return {"counts": self._run(number).work.counts()}

    async def _forget(self, number: int, held: dict[str, Any], asked: Mapping[str, Any]) -> Answer:
        return await self._have("WorkForgotten", {**held, "keys": asked.get("keys")})

    def ledger_moved(self) -> None:
        """Entries were applied: whoever waits for one looks again."""
        self._moved.set()
        self._moved = trio.Event()

    async def _have(self, kind: str, body: dict[str, Any]) -> Answer:
        outcome = await self._propose(kind, body)
        if (error := outcome.error()) is not None:
            raise error
        return dict(outcome.result)


def _wait_s(asked: Mapping[str, Any]) -> float:
    """How long the program lets the answer take."""
    said = asked.get("wait_s")
    return min(float(said), WAIT_S_MAX) if isinstance(said, int | float) and said > 0 else 0.0


async def _line(stream: trio.SocketStream) -> bytes:
    buffer = bytearray()
    with trio.move_on_after(QUESTION_S):
        while b"\n" not in buffer and len(buffer) <= QUESTION_BYTES:
            received = await stream.receive_some()
            if not received:
                break
            buffer += received
    if not buffer.endswith(b"\n"):
        raise BadInput(f"a question to the operator has to be one line of at most {QUESTION_BYTES} bytes")
    return bytes(buffer)
