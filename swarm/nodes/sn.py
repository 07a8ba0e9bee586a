"""The network node (SN): keeps the ledger with the other SNs and lets everybody follow and propose.

Started by ``run-sn``. The sentinel founds the network and orders its entries; a peer SN stores the same entries and
forwards what is proposed to it. Guarantees: no verb is served that the policy table denies to the caller's role; an
acknowledged proposal is in the ledger's store; followers get entries in order, each at the pace at which it takes them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

import trio

from swarm.core import policy
from swarm.core.events import Applied, Outcome
from swarm.errors import BadInput, IdentityError, Refused, SwarmError, Unreachable
from swarm.nodes import chronicle
from swarm.nodes.ledgerlink import acquaint
from swarm.nodes.listening import listen_host
from swarm.nodes.status import ledger_status
from swarm.runtime.control import Control, Link
from swarm.runtime.driver import Driver
from swarm.runtime.mesh import Mesh
from swarm.runtime.pending import NotLeader
from swarm.runtime.started import TaskStatus
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.store import Store
from swarm.runtime.tls import Credentials, Local, Peer
from swarm.wire.signed import Entry, proposal_header, sign_proposal

PROPOSE_S = 8.0
FOLLOW_S = 10.0
ALIVE_EVERY_S = 2.0
FIRST_CONTACT_S = 60.0
BACKOFF_S = (0.25, 0.5, 1.0, 2.0)

RACING = frozenset({"Offer", "Ready", "Suspect", "Missing", "WindowClosed", "DeadlinePassed"})

log = logging.getLogger("swarm.SN")
ready_log = logging.getLogger("swarm.blCnt")


@dataclass(frozen=True)
class Settings:
    host_ip: str
    p2p_port: int
    api_port: int
    credentials: Credentials
    state: StateDirectory
    sentinel: tuple[str, int] | None
    """The sentinel's API address; None makes this node the sentinel."""


async def run(settings: Settings) -> None:
    """Be an SN until cancelled. Raises SwarmError when it cannot become one."""
    local = Local(settings.credentials, settings.state)
    node = NetworkNode(settings, local)
    mesh = Mesh(local)
    host = listen_host(settings.host_ip)
    async with mesh.run(listen=[(host, settings.p2p_port), (host, settings.api_port)]):
        node.p2p_port, node.api_port = mesh.listen_ports
        control = Control(mesh, node.handlers(), authorise)
        control.on_link = node.accepted
        async with control.run():
            await node.serve(control)


def authorise(peer: Peer, verb: str) -> None:
    if not policy.allowed(verb, peer.identity.role):
        raise Refused(
            f"{peer.identity} may not ask '{verb}' of a network node",
            hint=f"the role {peer.identity.role} of its certificate has no such right",
        )


class NetworkNode:
    def __init__(self, settings: Settings, local: Local) -> None:
        self.settings = settings
        self.local = local
        self.p2p_port = self.api_port = 0
        self._links: dict[str, Link] = {}
        self._followers: set[Link] = set()
        self._sentinel: Link | None = None
        self._heard_ms: dict[str, int] = {}
        self._applied = trio.Event()
        self._seq = 0
        self._store = Store(settings.state.path / "ledger.db")
        self.driver = Driver(
            self._store,
            local,
            role="peer" if settings.sentinel else "sentinel",
            addresses=self.addresses,
            on_applied=self._on_applied,
            send=self._send,
        )

    def addresses(self) -> list[str]:
        host = self.settings.host_ip
        return [f"{host}:{self.api_port}", f"{host}:{self.p2p_port}"]

    def handlers(self) -> dict[str, Callable[[Link, dict[str, Any]], Awaitable[dict[str, Any] | None]]]:
        return {
            "propose": self._propose,
            "outcome": self._outcome,
            "follow": self._follow,
            "raft": self._raft,
            "alive": self._alive,
            "status": self._status,
        }

    async def serve(self, control: Control) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.driver.run)
            if self.settings.sentinel is not None:
                await nursery.start(self._keep_linked, control, self.settings.sentinel)
            nursery.start_soon(self._keep_alive)
            await self._join()
            self._say_ready()
            await trio.sleep_forever()

    def _say_ready(self) -> None:
        ready = {
            "api_port": self.api_port,
            "p2p_port": self.p2p_port,
            "peer_id": self.local.state.peer_id,
            "uid": self.local.state.uid,
            "pid": os.getpid(),
        }
        self.settings.state.write_atomic("ready.json", json.dumps(ready).encode())
        ready_log.info("Starting SWARM-API-SERVER on port: %d", self.api_port)

    # ---- joining

    async def _join(self) -> None:
        """Have this process known in the ledger. A founding sentinel already is, by its genesis."""
        state = self.local.state
        known = self.driver.ledger.nodes.get(state.uid)
        if known is not None and known.incarnation == state.incarnation:
            return
        body = {
            "chain": self.local.credentials.chain,
            "node_key": state.node_public,
            "role": "sn",
            "addresses": self.addresses(),
            "incarnation": state.incarnation,
        }
        raw = sign_proposal(
            state.node_key,
            network_id=self.driver.ledger.network_id or state.network_id,
            uid=state.uid,
            incarnation=state.incarnation,
            seq=1,
            kind="NodeJoined",
            body=body,
            certificate_key=self.local.credentials.private_key,
        )
        while True:
            try:
                outcome = await self._propose_anywhere(raw)
                break
            except Unreachable as error:
                log.warning("joining the network waits: %s", error.message)
                await trio.sleep(1.0)
        if not outcome.accepted:
            raise Refused(f"the network did not admit this node: {outcome.reason}")

    async def _keep_linked(
        self,
        control: Control,
        sentinel: tuple[str, int],
        *,
        task_status: TaskStatus = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """A peer SN keeps one link to the sentinel. Without a ledger of its own it must reach it once, in time."""
        tries, started, begun_s = 0, False, trio.current_time()
        while True:
            try:
                link = await control.connect(*sentinel, deadline_s=FOLLOW_S)
                if link.peer.identity.role != "sn":
                    await link.close()
                    raise IdentityError(f"{link.peer.identity} answers for the sentinel and is no network node")
            except Unreachable as error:
                tries += 1
                waited_s = trio.current_time() - begun_s
                if not started and self.driver.ledger.head_index:
                    started = True
                    task_status.started()  # it has the ledger: it serves reads while it looks for the sentinel
                if not started and waited_s > FIRST_CONTACT_S:
                    tried = f"in {tries} tries over {waited_s:.0f} s"
                    raise Unreachable(
                        f"the sentinel at {sentinel[0]}:{sentinel[1]} did not answer {tried}: {error.message}",
                        hint="is it started, is --sentinel-ip its --host-ip, does a firewall drop the port?",
                    ) from error
                log.warning("sentinel at %s:%d: %s", *sentinel, error.message)
                await trio.sleep(BACKOFF_S[min(tries - 1, len(BACKOFF_S) - 1)])
                continue
            tries = 0
            self._links[link.peer.uid] = self._sentinel = link
            if not started:
                started = True
                task_status.started()
            await link.closed.wait()
            self._forget(link)
            log.warning("lost the sentinel %s: %s", link.peer.identity, link.reason)

    # ---- links

    async def accepted(self, link: Link) -> None:
        self._links[link.peer.uid] = link
        await link.closed.wait()
        self._forget(link)

    def _forget(self, link: Link) -> None:
        if self._links.get(link.peer.uid) is link:
            del self._links[link.peer.uid]

    def _send(self, uid: str, message: dict[str, Any]) -> None:
        link = self._links.get(uid)
        if link is not None:
            self._nursery.start_soon(self._deliver, link, message)

    async def _deliver(self, link: Link, message: dict[str, Any]) -> None:
        try:
            await link.notify("raft", message)
        except SwarmError as error:
            log.debug("to %s: %s", link.peer.identity, error.message)

    async def _keep_alive(self) -> None:
        """Signs of life: the leader times them; a peer SN tells the leader whom it hears."""
        while True:
            heard = [uid for uid, link in self._links.items() if not link.closed.is_set()]
            self._note_heard([*heard, self.local.state.uid])
            if self.driver.role == "leader":
                self.driver.alive([*heard, self.local.state.uid])
            elif (leader := self._leader_link()) is not None:
                try:
                    await leader.notify("alive", {"uids": heard})
                except SwarmError as error:
                    log.debug("to the leader: %s", error.message)
            await trio.sleep(ALIVE_EVERY_S)

    def _leader_link(self) -> Link | None:
        """To the leader; a peer SN without a ledger yet takes the sentinel that it was told of."""
        leader = self.driver.leader_uid
        return self._links.get(leader) if leader else self._sentinel

    # ---- verbs

    async def _propose(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return _outcome_to_wire(await self._propose_anywhere(body["proposal"]))

    async def _propose_anywhere(self, raw: bytes) -> Outcome:
        try:
            return await self.driver.propose(raw, deadline_s=PROPOSE_S)
        except NotLeader:
            leader = self._leader_link()
            if leader is None:
                raise Unreachable(
                    f"the ledger pauses: {self._leader_name()} is not reachable from {self._name()}"
                ) from None
            return Outcome.from_wire(await leader.call("propose", {"proposal": raw}, deadline_s=PROPOSE_S))

    def _leader_name(self) -> str:
        node = self.driver.ledger.nodes.get(self.driver.leader_uid or "")
        return f"the sentinel {node.identity.name} ({node.identity.organisation})" if node else "the sentinel"

    def _name(self) -> str:
        return self.local.credentials.identity.name

    async def _outcome(self, link: Link, body: dict[str, Any]) -> dict[str, Any] | None:
        outcome = self.driver.ledger.outcome_of(body["uid"], body["incarnation"], body["seq"])
        return _outcome_to_wire(outcome) if outcome else None

    async def _follow(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        after = body.get("after")
        if type(after) is not int or after < 0:
            raise BadInput(f"'follow' says after which entry, received {after!r:.40}")
        if link in self._followers:
            raise Refused("this link follows the ledger already")
        self._followers.add(link)
        self._nursery.start_soon(self._feed, link, after)
        return {"head": self.driver.ledger.head_index}

    async def _feed(self, link: Link, after: int) -> None:
        """Push entries to one follower, the next piece when it has taken the last."""
        try:
            while not link.closed.is_set():
                applied = self._applied
                if self.driver.ledger.head_index <= after:
                    await _either(applied, link.closed)
                    continue
                entries = self.driver.entries_after(after)
                taken = await link.call("entries", {"entries": entries}, deadline_s=FOLLOW_S)
                after = _progress(taken, after)
        except SwarmError as error:
            log.info("no more entries to %s: %s", link.peer.identity, error.message)
            await link.close()
        finally:
            self._followers.discard(link)

    async def _raft(self, link: Link, body: dict[str, Any]) -> None:
        sentinel = self._sentinel.peer.uid if self._sentinel else ""
        if not self.driver.ledger.head_index and link.peer.uid != sentinel:
            raise Refused(f"this node has no ledger yet and takes it from the sentinel only, not from {link.peer}")
        self.driver.receive(link.peer.uid, body)

    async def _alive(self, link: Link, body: dict[str, Any]) -> None:
        self.driver.alive(list(body["uids"]))
        self._note_heard(list(body["uids"]))

    def _note_heard(self, uids: list[str]) -> None:
        now_ms = int(time.time() * 1000)
        self._heard_ms |= {uid: now_ms for uid in uids if uid in self.driver.ledger.nodes}

    async def _status(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return ledger_status(self.driver, self.local, self._heard_ms)

    # ---- applying

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        self._applied.set()
        self._applied = trio.Event()
        acquaint(self.local, self.driver.ledger, applied)
        for event in applied.events:
            if (text := chronicle.line(event, self.driver.ledger)) is not None:
                log.info("%s", text)
        if not applied.outcome.accepted:
            level = logging.INFO if _overtaken(entry) else logging.WARNING
            log.log(level, "entry %d refused: %s", entry.index, applied.outcome.reason)


def _overtaken(entry: Entry) -> bool:
    """Of a kind that loses races by nature: the round went on before it was in."""
    try:
        return proposal_header(entry.proposal).kind in RACING
    except SwarmError:
        return False


def _progress(taken: Any, after: int) -> int:
    """Up to where a follower has the entries, which it says itself."""
    match taken:
        case {"head": int(head)} if head > after:
            return head
    raise BadInput(f"it took no entry behind {after}")


def _outcome_to_wire(outcome: Outcome) -> dict[str, Any]:
    return asdict(outcome)


async def _either(*events: trio.Event) -> None:
    async with trio.open_nursery() as nursery:

        async def watch(event: trio.Event) -> None:
            await event.wait()
            nursery.cancel_scope.cancel()

        for event in events:
            nursery.start_soon(watch, event)
