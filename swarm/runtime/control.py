"""Control links: one long-lived stream to a peer, for calls, notices and signs of life.

Used by the nodes. Guarantees: every call ends by its deadline with a reply, the error that the other side raised, or
Unreachable that names whom and what was asked; a peer that is frozen or gone is noticed by its missing heartbeats
(every 2 s, three missed: `core/pulse`); an end that was not announced counts as a loss; notices are heard in order, as
they come in; requests of one link run concurrently, 64 at most, and what they take in memory is bounded. A second
incarnation of a node takes the first one's place only if that one is silent.

Frames (`wire.frame`, 1 MiB): [welcome] | [request, id, verb, body] | [reply, id, body] | [error, id, fields] |
[notice, verb, body] | [beat] | [bye, fields]. The body of a request or a notice is flat: values, and lists of values.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any

import trio

from swarm.core.pulse import Pulse
from swarm.errors import (
    BadInput,
    IdentityError,
    Refused,
    Replaced,
    RunsTwice,
    SwarmError,
    Unreachable,
    from_wire,
)
from swarm.runtime import validity
from swarm.runtime.calls import Calls
from swarm.runtime.change import either
from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.outbox import Outbox
from swarm.runtime.requests import Request, Requests
from swarm.runtime.tls import Peer
from swarm.wire import frame

PROTOCOL = "/swarm/control/1"
BEAT_S = 2.0
LINKS_MAX = 16
VERB_MAX = 40
_BYE_S = 0.5

log = logging.getLogger("swarm.control")

Handler = Callable[["Link", dict[str, Any]], Awaitable[dict[str, Any] | None]]
Listener = Callable[["Link", dict[str, Any]], None]
Prompt = Callable[["Link", Request], bool]


class Link:
    """One peer, as long as it is there. `closed` is set at the end, `reason` says why."""

    def __init__(self, stream: Stream, control: Control) -> None:
        self.peer: Peer = stream.peer
        self.address = stream.address
        self.closed = trio.Event()
        self.reason = ""
        self.heard = trio.Event()  # replaced at every sign of life, after it was set
        self.admitted = trio.Event()  # by the other side's welcome, or our own
        self._closing = ""
        self._error: SwarmError | None = None
        self._stream, self._control = stream, control
        self._outbox = Outbox(stream)
        self._decoder = frame.Decoder()
        self._calls = Calls()
        self.pulse = Pulse(BEAT_S, trio.current_time())

    async def call(self, verb: str, body: dict[str, Any], *, deadline_s: float) -> Any:
        """Ask, and wait for the reply; a SwarmError of the other side is raised here as the same class."""

        async def ask(number: int) -> None:
            await self._send(frame.pack(["request", number, verb, body]), f"was asked '{verb}'")

        try:
            answer = await self._calls.make(ask, deadline_s)
        except trio.TooSlowError:
            raise Unreachable(
                f"no answer from {self.peer} at {self.address} to '{verb}' within {deadline_s:g} s"
            ) from None
        if answer is None:
            raise self._lost(f"was asked '{verb}'")
        if answer.kind == "error":
            raise from_wire(answer.content)
        return answer.content

    def tell(self, verb: str, body: dict[str, Any]) -> None:
        """Without an answer, in order, now or never: lost when the link is closed, or when the peer does not read."""
        with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._outbox.post(frame.pack(["notice", verb, body]))

    async def close(self, error: SwarmError | None = None) -> None:
        """Say goodbye (with the reason, if it is an error), give the peer a moment to read it, and end the link."""
        self._closing = error.message if error else "closed here"
        farewell = frame.pack(["bye", error.to_wire() if error else {}])
        with trio.CancelScope(shield=True):
            with trio.move_on_after(_BYE_S), contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await self._outbox.send(farewell)
                await self.closed.wait()  # the peer ends the connection when it has read the goodbye
            self._end(self._closing)
            await self._stream.abort()

    def _lost(self, doing: str) -> SwarmError:
        if self._error is not None:
            error = self._error.retold(self._error.message, self._error.hint)
            if isinstance(error, IdentityError):
                error.said_by = self.peer.uid
            return error
        return Unreachable(f"lost {self.peer} at {self.address} while it {doing}: {self.reason}")

    async def _send(self, data: bytes, doing: str) -> None:
        if self.closed.is_set():
            raise self._lost(doing)
        try:
            await self._outbox.send(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._lost(doing) from None

    def _end(self, reason: str) -> None:
        """The link is over, and with it the connection, which carries nothing else: `run` ends that."""
        if self.closed.is_set():
            return
        self.reason = reason
        self.closed.set()
        self._outbox.close()
        self._calls.end()

    # ---- its tasks

    async def run(self, *, accepted: bool) -> None:
        """All work of the link, until it is closed."""
        try:
            async with trio.open_nursery() as nursery:
                self._requests = Requests(
                    str(self.peer),
                    self._outbox,
                    nursery,
                    admitted=self.admitted,
                    handle=lambda request: self._control.handle(self, request.verb, request.body),
                    begin=lambda request: self._control.begin(self, request),
                )
                nursery.start_soon(self._write)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._read)
                if accepted:
                    await self._control.admit(self)
                    with contextlib.suppress(SwarmError):
                        await self._send(frame.pack(["welcome"]), "was welcomed")
                        self.admitted.set()
                await self.closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                self._end("this node stops")
                await self._stream.abort()

    async def _write(self) -> None:
        """The only writer: whoever calls may be cancelled, a frame under way is not."""
        try:
            await self._outbox.write()
        except SwarmError as error:
            self._end(self._closing or error.message)
        except trio.ClosedResourceError:
            pass

    async def _read(self) -> None:
        """Waits for the end: what comes before is heard as it comes in, without another turn of the loop."""
        try:
            self._stream.divert(self._hear)
            while not self.closed.is_set() and (data := await self._stream.receive_some()):
                self._hear(data)
            self._end(self._closing or "the connection ended without a goodbye")
        except SwarmError as error:
            self._end(self._closing or error.message)

    def _hear(self, data: bytes) -> None:
        """Never waits for a handler or a writer: the sender would lose the stream after 5 s."""
        self.pulse.hear(trio.current_time())
        self.heard.set()
        self.heard = trio.Event()
        try:
            for message in self._decoder.feed(data):
                if self.closed.is_set():
                    return  # its writer has met the end first: what came before that is lost with the rest
                self._take(message)
        except SwarmError as error:
            self._end(self._closing or error.message)
        except Exception as error:
            log.exception("what %s sent", self.peer)
            self._end(f"internal error: {type(error).__name__}")

    def _take(self, message: Any) -> None:
        match message:
            case ["beat"]:
                self.pulse.feel(trio.current_time())
            case ["welcome"]:
                self.admitted.set()
            case ["request", int(request), str(verb), dict(body)] if _is_plain(verb, body):
                self._requests.take(request, verb, body)
            case ["reply" | "error" as kind, int(request), content]:
                self._calls.take(kind, request, content if kind == "reply" or isinstance(content, dict) else {})
            case ["notice", str(verb), dict(body)] if _is_plain(verb, body) and self.admitted.is_set():
                self._listen(verb, body)
            case ["bye", dict(fields)]:
                self._end_by_peer(fields)
            case _:
                raise BadInput(f"{self.peer} sent something that is no control message")

    def _end_by_peer(self, fields: dict[str, Any]) -> None:
        if fields:
            self._error = from_wire(fields)
        self._end(self._closing or (self._error.message if self._error else f"{self.peer} said goodbye"))

    async def _beat(self) -> None:
        beat = frame.pack(["beat"])
        while True:
            await trio.sleep(BEAT_S)
            if objection := self.pulse.beat(trio.current_time()):
                self._end(objection)
                return
            with contextlib.suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
                self._outbox.post(beat)

    def _listen(self, verb: str, body: dict[str, Any]) -> None:
        try:
            self._control.listen(self, verb, body)
        except Exception as error:
            self._complain(verb, error)

    def _complain(self, verb: str, error: Exception) -> None:
        if isinstance(error, SwarmError):
            log.warning("notice %.40r of %s: %s", verb, self.peer, error.message)
        else:
            log.error("notice %.40r of %s", verb, self.peer, exc_info=error)


def _is_plain(verb: str, body: dict[Any, Any]) -> bool:
    """What it takes in memory while it waits is known from its values."""
    return len(verb) <= VERB_MAX and frame.is_flat(body)


class Control:
    """Serves and makes links. `handlers`: verb → function; `authorise(peer, verb)` raises what forbids it; `listeners`
    wait for nothing and answer nothing, so notices of their verbs are handled as they come in. `prompt` ones answer
    requests without waiting, then or later, or say False: then the handler of the verb does."""

    def __init__(
        self,
        mesh: Mesh,
        handlers: dict[str, Handler],
        authorise: Callable[[Peer, str], None],
        *,
        listeners: Mapping[str, Listener] = MappingProxyType({}),
        prompt: Mapping[str, Prompt] = MappingProxyType({}),
    ) -> None:
        self._listeners, self._prompt = dict(listeners), dict(prompt)
        self.on_link: Callable[[Link], Awaitable[None]] | None = None
        self._mesh, self._handlers, self._authorise = mesh, dict(handlers), authorise
        self._links: dict[str, list[Link]] = {}

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Serve until the block ends; then all links are closed with a goodbye."""
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._mesh.accept(PROTOCOL, self._accepted)
            nursery.start_soon(validity.watch, self._mesh.local.credentials, self._all)
            try:
                yield
            except Exception as error:  # raised again below, outside of a nursery that would wrap it
                failure = error
            finally:
                with trio.CancelScope(shield=True):
                    async with trio.open_nursery() as goodbyes:
                        for link in self._all():
                            goodbyes.start_soon(link.close)
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def _all(self) -> list[Link]:
        return [link for group in self._links.values() for link in group]

    async def connect(self, host: str, port: int, *, peer_id: str | None = None, deadline_s: float) -> Link:
        """A link to whoever answers there (or to exactly `peer_id`); raises what kept it from being welcomed."""
        deadline_s = self._mesh.local.lateness.allows_s(deadline_s)
        end = trio.current_time() + deadline_s
        peer = await self._mesh.dial(host, port, peer_id=peer_id, deadline_s=deadline_s)
        stream = await self._mesh.open(peer, PROTOCOL, deadline_s=max(0.0, end - trio.current_time()))
        link = Link(stream, self)
        self._nursery.start_soon(self._keep, link, False)
        try:
            with trio.fail_at(end):
                await either(link.admitted, link.closed)
        except trio.TooSlowError:
            await link.close()
            raise Unreachable(f"{peer} at {link.address} did not welcome this node within {deadline_s:.3g} s") from None
        except BaseException:
            await link.close()
            raise
        if not link.admitted.is_set():
            raise link._lost("was greeted")
        return link

    async def handle(self, link: Link, verb: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if verb in self._listeners:
            self.listen(link, verb, body)
            return None
        handler = self._handlers.get(verb)
        if handler is None:
            raise _unknown(verb)
        self._authorise(link.peer, verb)
        return await handler(link, body)

    def begin(self, link: Link, request: Request) -> bool:
        if (prompt := self._prompt.get(request.verb)) is None:
            return False
        self._authorise(link.peer, request.verb)
        return prompt(link, request)

    def listen(self, link: Link, verb: str, body: dict[str, Any]) -> None:
        """A notice: who tells what has to be asked is refused, since that might wait."""
        if (listener := self._listeners.get(verb)) is None:
            raise _unknown(verb)
        self._authorise(link.peer, verb)
        listener(link, body)

    async def admit(self, link: Link) -> None:
        """Another incarnation of this node is linked: wait two beats; if it lives, it stays, else it has ended."""
        acquaintances = self._mesh.local.acquaintances
        for other in list(self._links.get(link.peer.uid, [])):
            if other is link or other.peer.incarnation == link.peer.incarnation or other.closed.is_set():
                continue
            with trio.move_on_after(2 * BEAT_S):
                await either(other.heard, other.closed)
                if not other.closed.is_set():
                    await link.close(_second_incarnation(link, other).showing(acquaintances.turned_away(link.peer)))
                    return
            acquaintances.replaced(link.peer)
            replaced = Replaced(
                f"{link.peer} at {link.address} has taken this node's place: a newer start with the same node key",
                hint="only the newest process of a state directory takes part",
            )
            self._nursery.start_soon(other.close, replaced)  # a frozen one does not hold up the newcomer

    async def _accepted(self, stream: Stream) -> None:
        if len(self._links.get(stream.peer.uid, [])) >= LINKS_MAX:
            log.warning("%s at %s holds %d links and wanted one more", stream.peer, stream.address, LINKS_MAX)
            await stream.abort()
            return
        link = Link(stream, self)
        if self.on_link is not None:
            self._nursery.start_soon(self._welcomed, link)
        await self._keep(link, True)

    async def _welcomed(self, link: Link) -> None:
        await either(link.admitted, link.closed)
        if link.admitted.is_set() and self.on_link is not None:
            try:
                await self.on_link(link)
            except Exception:
                log.exception("what follows a link of %s", link.peer)

    async def _keep(self, link: Link, accepted: bool) -> None:
        group = self._links.setdefault(link.peer.uid, [])
        group.append(link)
        try:
            await link.run(accepted=accepted)
        finally:
            group.remove(link)
            if not group:
                self._links.pop(link.peer.uid, None)


def _second_incarnation(newcomer: Link, earlier: Link) -> RunsTwice:
    return RunsTwice(
        f"{newcomer.peer} runs twice with one node key: at {earlier.address}, which is alive, "
        f"and at {newcomer.address}",
        hint="stop one of them, or give it a state directory of its own with --state DIR",
    )


def _unknown(verb: str) -> Refused:
    return Refused(f"{verb[:40]!r} is nothing this node does", hint="do both run the same release?")
