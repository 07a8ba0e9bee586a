"""A person's connection to the network: what client commands and the SWCI reach the ledger with.

Used by `swarm status|nodes|org|contract`, the demo and `nodes/swci`; `consult` is the way for one question or proposal.
The certificate's role decides what may be asked. Guarantees: nobody is dialled and no ledger is read before it is
needed; who only reads never enters the ledger; every answer comes by its deadline or as one sentence that names whom it
waited for; a proposal's bytes are signed once, so it takes effect at most once; nothing stays when it is closed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import trio

from swarm.core.events import Applied, Outcome
from swarm.core.ledger import Ledger
from swarm.errors import Interrupted, SwarmError, Unreachable
from swarm.nodes.hearsay import pause_of
from swarm.nodes.joining import is_known, join
from swarm.nodes.ledgerlink import Address, LedgerLink
from swarm.nodes.starting import run_node
from swarm.runtime.control import Control
from swarm.runtime.credentials import Credentials
from swarm.runtime.mesh import Mesh
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local, Peer, address_text
from swarm.wire.signed import Entry

ANSWER_S = 10.0
ACCEPTED_S = 30.0
REASON_S = 3.0
LEAVE_S = 2.0
T = TypeVar("T")


class Client:
    """`run` has to be running, as a task of its own, while anything is asked."""

    def __init__(self, local: Local, address: Address) -> None:
        self.local = local
        self.address = address
        self.link = LedgerLink(local, [address], on_applied=self._on_applied, on_link=lambda reason: self._wake())
        self._mesh = Mesh(local)
        self._control = Control(self._mesh, self.link.handlers(), _nothing_is_asked_here, prompt=self.link.prompt())
        self._changed = trio.Event()
        self._closing = trio.Event()
        self._opening = trio.Lock()
        self._following = self._joined = False
        self._reading = trio.CancelScope()
        self._failed: SwarmError | None = None
        self._waiting: set[trio.CancelScope] = set()
        self._see: Callable[[Entry, Applied], None] | None = None

    async def run(self, *, task_status: TaskStatus = trio.TASK_STATUS_IGNORED) -> None:
        """Until it is closed; an error of the connection is raised by whatever is asked next."""
        async with self._mesh.run(listen=[]), self._control.run(), trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await self._closing.wait()
            if self._joined:
                with trio.move_on_after(LEAVE_S):
                    await self.link.propose("NodeLeft", {})
            nursery.cancel_scope.cancel()

    def close(self) -> None:
        self._closing.set()

    # ---- asking

    async def status(self) -> dict[str, Any]:
        """What the network node says of itself and of the network; with the ledger unread, over a link of its own."""
        answer: dict[str, Any] = (
            await self.link.call("status", {}, deadline_s=ANSWER_S) if self._following else await self.ask("status", {})
        )
        return answer

    async def ask(self, verb: str, body: dict[str, Any]) -> Any:
        """The answer of the network node at the address, and of no other."""
        link = await self._control.connect(*self.address, deadline_s=ANSWER_S)
        try:
            return await link.call(verb, body, deadline_s=ANSWER_S)
        finally:
            await link.close()

    async def ask_all(self, verb: str, body: dict[str, Any], rows: str) -> dict[str, Any]:
        """The same of what comes in pages, with all of its ``rows`` in one."""
        answer: dict[str, Any] = await self.ask(verb, {**body, "first": 0})
        while answer.pop("more"):
            rest = await self.ask(verb, {**body, "first": len(answer[rows])})
            answer[rows] += rest[rows]
            answer["more"] = rest["more"]
        return answer

    async def call(self, verb: str, body: dict[str, Any]) -> Any:
        """The same over the link that follows the ledger, for what is asked often."""
        await self._follow()
        with self._while_following():
            return await self.link.call(verb, body, deadline_s=ANSWER_S)

    async def ledger(self) -> Ledger:
        """This node's own copy of the ledger, verified here, as far as the network node has it by now."""
        await self._follow()
        with self._while_following():
            await self.link.catch_up(ANSWER_S)
        return self.link.ledger

    async def reread(self, see: Callable[[Entry, Applied], None]) -> Ledger:
        """The same, read anew from the first entry on, before anything else is asked: each is seen once it is applied.

        It may take as long as it takes, as long as entries come.
        """
        assert not self._following, "what was read before would not be seen"
        self._see = see
        self.link.reread()
        return await self.ledger()

    async def until(self, condition: Callable[[Ledger], T | None], deadline_s: float) -> T | None:
        """The condition's first value that is not None, looked at after every entry; None when the time is over."""
        await self._follow()
        value = condition(self.link.ledger)
        with trio.move_on_after(deadline_s):
            while value is None:
                await self._changed.wait()
                if self._failed is not None:
                    raise self._failed
                value = condition(self.link.ledger)
        return value

    async def propose(self, kind: str, body: dict[str, Any]) -> Outcome:
        """Have the ledger decide on this, as a member of the network. Raises what it refused."""
        await self._follow()
        with self._while_following(), trio.move_on_after(ACCEPTED_S):
            if not self._joined or not is_known(self.link):
                _accepted(await join(self.link))
                self._joined = True
            return _accepted(await self.link.propose(kind, body))
        raise await self._undecided()

    # ---- within

    async def _undecided(self) -> Unreachable:
        """With whom the ledger waits for and what helps, as the network node at hand says in its status."""
        pause = ""
        with suppress(SwarmError), trio.move_on_after(REASON_S):
            pause = pause_of(await self.call("status", {}))
        why = pause or self.link.lost or "no network node says why"
        return Unreachable(
            f"what was asked is not decided after {ACCEPTED_S:g} s: {why}",
            hint="it may still take effect: look before you ask again",
        )

    async def _follow(self) -> None:
        async with self._opening:
            if self._failed is not None:
                raise self._failed
            if self._following:
                return
            with trio.move_on_after(ANSWER_S) as self._reading:
                await self._nursery.start(self._keep_following)
                self._following = True
                return
            raise Unreachable(
                f"no network node answered at {address_text(*self.address)} within {ANSWER_S:g} s: {self.link.lost}"
            )

    async def _keep_following(self, *, task_status: TaskStatus) -> None:
        try:
            await self.link.run(self._control, task_status=task_status)
        except SwarmError as error:
            if not self._following:
                raise
            self._failed = error
            self._wake()
            for scope in self._waiting:
                scope.cancel()

    @contextmanager
    def _while_following(self) -> Iterator[None]:
        """Raise what ends the connection rather than wait for what will not come."""
        with trio.CancelScope() as scope:
            self._waiting.add(scope)
            try:
                yield
            finally:
                self._waiting.discard(scope)
        if scope.cancelled_caught:
            assert self._failed is not None
            raise self._failed

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        if not self._following:  # it answers, and there is much to read
            self._reading.deadline = trio.current_time() + ANSWER_S
        if self._see is not None:
            self._see(entry, applied)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


Work = Callable[[Client], Awaitable[dict[str, Any]]]
"""What a command does in the network; its answer is what it prints with --json."""


def consult(address: Address, credentials: Credentials, state: Path, work: Callable[[Client], Awaitable[T]]) -> T:
    """Do the work with a client whose state directory is `state`; nothing of it is left running."""

    async def run(local: Local) -> T:
        client = Client(local, address)
        failure: SwarmError | None = None
        async with trio.open_nursery() as nursery:
            await nursery.start(client.run)
            try:
                result = await work(client)
            except SwarmError as error:
                failure = error
            client.close()
        if failure is not None:
            raise failure
        return result

    with StateDirectory(state) as directory:
        answer = run_node(run, Local(credentials, directory))
    if answer is None:
        raise Interrupted("interrupted")
    return answer


def _accepted(outcome: Outcome) -> Outcome:
    if (error := outcome.error()) is not None:
        raise error
    return outcome


def _nothing_is_asked_here(peer: Peer, verb: str) -> None:
    """Only network nodes are on the other side, and they call what was subscribed to."""
