"""The network node (SN): keeps the ledger with the other SNs and lets everybody follow and propose.

Started by ``run-sn``. The sentinel founds the network; from then on all network nodes do the same, and whoever leads
orders the entries. Guarantees: no verb is served that the policy table denies to the caller's role; an acknowledged
proposal is in the ledger's stores; a node whose directory may not decide any longer says so and comes back as a
learner, in the same process and on the same ports.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass, field, replace
from typing import Any

import trio

from swarm.core import policy
from swarm.core.events import Applied, NodeGone, NodeKnown, Recovered
from swarm.core.ledger import Ledger
from swarm.core.names import Identity
from swarm.errors import Outdated, Refused, Replaced, RunsTwice, SwarmError, Unreachable
from swarm.nodes import chronicle, sn_return
from swarm.nodes.acquainting import acquaint, acquaint_all
from swarm.nodes.answers import ANSWERS, Answer
from swarm.nodes.codestore import CodeStore
from swarm.nodes.listening import listen_host
from swarm.nodes.sn_feed import Feed
from swarm.nodes.sn_heads import Heads
from swarm.nodes.sn_leader import Leader, as_wire
from swarm.nodes.sn_life import Life
from swarm.nodes.sn_links import Links
from swarm.nodes.sn_proposals import PROPOSE_S, Proposals
from swarm.nodes.sn_recoveries import Recoveries
from swarm.nodes.sn_removal import Removal
from swarm.nodes.sn_return import ComeBack
from swarm.nodes.status import ledger_status, rules_note
from swarm.nodes.trainings import Trainings
from swarm.runtime import heaps
from swarm.runtime.answers import LedgerSuperseded
from swarm.runtime.change import Change
from swarm.runtime.clock import Clock
from swarm.runtime.control import Control, Handler, Link, Listener
from swarm.runtime.credentials import Credentials
from swarm.runtime.driver import Driver
from swarm.runtime.founding import lives_on
from swarm.runtime.introduction import introduction
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.store import Store
from swarm.runtime.tls import Local, Peer
from swarm.wire.signed import Entry, proposal_header, sign_proposal

CALL_S = 5.0
KEEP_HEADS_S = 2.0
JOIN_AGAIN_S = 1.0

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
    """The API address of any network node; None lets this node found the network."""
    api_service: tuple[str, int] | None = None
    p2p_service: tuple[str, int] | None = None
    """Proxies in front of the two ports, announced in their place. With both, ``host_ip`` may be empty."""
    clock: Clock = field(default_factory=Clock)


async def run(settings: Settings) -> None:
    """Be an SN until cancelled. Raises SwarmError when it cannot become one, or may not stay one."""
    heaps.bound()
    returned = ""
    while True:
        local = Local(settings.credentials, settings.state)
        node = NetworkNode(settings, local, returned)
        mesh = Mesh(local)
        host = listen_host(settings.host_ip)
        back: ComeBack | None = None
        try:
            async with mesh.run(listen=[(host, settings.p2p_port), (host, settings.api_port)]):
                node.p2p_port, node.api_port = mesh.listen_ports
                control = Control(
                    mesh, node.handlers(), node.authorise, listeners=node.listeners(), prompt=node.proposals.prompt()
                )
                control.on_link = node.links.accepted
                async with control.run():
                    await node.serve(control)
        except* (ComeBack, LedgerSuperseded) as group:
            back = _reason(group)
        if back is not None:
            returned = sn_return.come_back(settings.state, back, node.driver.ledger)
            settings = replace(settings, p2p_port=node.p2p_port, api_port=node.api_port)


def _reason(group: BaseExceptionGroup[ComeBack | LedgerSuperseded]) -> ComeBack:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, LedgerSuperseded):
        return ComeBack(error.message, common=error.common)
    assert isinstance(error, ComeBack)
    return error


class NetworkNode:
    """One life of the node, under one node key. ``returned``: what its status has to say of the life before."""

    def __init__(self, settings: Settings, local: Local, returned: str) -> None:
        state = settings.state
        self.settings, self.local = settings, local
        self.p2p_port = self.api_port = 0
        self._returned = returned
        self._elsewhere = ""
        """What others say of a network that was here before, as far as anybody can tell."""
        self._entrances = [settings.sentinel] if settings.sentinel else []
        self._entrances += sn_return.entrances(state)
        self._applied = Change()
        self._over = trio.Event()
        self._error: SwarmError | None = None
        self.driver = Driver(
            Store(state.path / "ledger.db"),
            local,
            role="peer" if self._entrances else "sentinel",
            addresses=self.addresses,
            on_applied=self._on_applied,
            send=self._send,
            call=self._call,
            on_restored=self._on_restored,
            clock=settings.clock,
        )
        self.recoveries = Recoveries(self.driver)
        self.removal = Removal(self.driver, state.uid, self._end)
        self.heads = Heads(local, settings.clock, self.driver, self.removal, self._end)
        self.links = Links(
            local,
            lambda: self.driver.ledger,
            self.addresses,
            linked=self.heads.keep_exchanging,
            ended=self._note_ended,
            shown=self.heads.shows_another,
        )
        self.trainings = Trainings(lambda: self.driver.ledger, self.links.network_nodes)
        self.code = CodeStore(state.path / "code", lambda: self.driver.ledger, self.links.network_nodes)
        self.leader = Leader(self.driver, self.links, state.uid)
        self.proposals = Proposals(self.driver, self.leader)
        self.life = Life(self.driver, self.leader, self.links, settings.clock, state.uid)
        local.other_network = self._note_other_network

    def addresses(self) -> list[str]:
        settings = self.settings
        api = settings.api_service or (settings.host_ip, self.api_port)
        p2p = settings.p2p_service or (settings.host_ip, self.p2p_port)
        return [f"{host}:{port}" for host, port in (api, p2p)]

    def handlers(self) -> dict[str, Handler]:
        return {
            **self.proposals.handlers(),
            **self.code.handlers(),
            **self.life.handlers(),
            "outcome": self._outcome,
            "follow": self._follow,
            "status": self._status,
            **{verb: self._answering(answer) for verb, answer in ANSWERS.items()},
            "heads": self.heads.answer,
            "cosign": self._cosign,
            "snapshot": self._snapshot,
            "recover": self._recover,
        }

    def listeners(self) -> dict[str, Listener]:
        return {"raft": self._raft, **self.life.listeners(), **self.trainings.listeners()}

    # ---- its life

    async def serve(self, control: Control) -> None:
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._feed = Feed(self.driver, self.recoveries, nursery, self._applied)
            nursery.start_soon(self._until_it_ends)
            await nursery.start(self.driver.run)
            self._on_restored()
            self.heads.read()
            await nursery.start(self.links.run, control, self._entrances)
            nursery.start_soon(self.life.run)
            nursery.start_soon(self._keep_heads)
            nursery.start_soon(heaps.give_back)
            nursery.start_soon(self.heads.judge.run)
            self.removal.check()
            await self._join()
            self._say_ready()
            await trio.sleep_forever()

    def _end(self, error: SwarmError) -> None:
        if self._error is None:
            self._error = error
            self._over.set()

    async def _until_it_ends(self) -> None:
        await self._over.wait()
        assert self._error is not None
        raise self._error

    def _say_ready(self) -> None:
        ready = {
            "host": self.settings.host_ip or "127.0.0.1",
            "api_port": self.api_port,
            "p2p_port": self.p2p_port,
            "peer_id": self.local.state.peer_id,
            "uid": self.local.state.uid,
            "pid": os.getpid(),
        }
        self.settings.state.write_atomic("ready.json", json.dumps(ready).encode())
        ready_log.info("Starting SWARM-API-SERVER on port: %d", self.api_port)

    async def _join(self) -> None:
        """Have this process known in the ledger. A founding sentinel already is, by its genesis."""
        state = self.local.state
        known = self.driver.ledger.nodes.get(state.uid)
        if known is not None and known.incarnation == state.incarnation:
            return
        raw = sign_proposal(
            state.node_key,
            network_id=self.driver.ledger.network_id or state.network_id,
            uid=state.uid,
            incarnation=state.incarnation,
            seq=1,
            kind="NodeJoined",
            body=introduction(self.local, "sn", self.addresses()),
            certificate_key=self.local.credentials.private_key,
        )
        while True:
            try:
                outcome = await self.leader.propose(raw, PROPOSE_S, self.local.credentials.identity.anchor)
                break
            except Unreachable as error:
                log.warning("joining the network waits: %s", error.message)
                await trio.sleep(JOIN_AGAIN_S)  # who is turned away is told so at once
        if not outcome.accepted:
            if self.removal.hands_over:
                log.warning("%s", " ".join(self.removal.notes(self.links)))
                await trio.sleep_forever()  # it ends once it has
            raise Refused(f"the network did not admit this node: {outcome.reason}")
        while self.driver.ledger.head_index < outcome.index:
            await self._applied.wait()

    # ---- links

    def authorise(self, peer: Peer, verb: str) -> None:
        authorise(peer, verb)
        check_place(peer, verb, self.driver.ledger, self.driver.partners)

    def _note_ended(self, error: Replaced | RunsTwice | Outdated) -> None:
        """Another process has this node key: the directory was copied; or this one slept, or its directory is old. Or
        the release is old."""
        old = isinstance(error, Replaced) and not self.links.ever
        self._end(ComeBack(f"this state directory is an old copy: {error.message}") if old else error)

    def _note_other_network(self, caller: Identity, error: SwarmError) -> None:
        """Somebody's network node looks for its sentinel here, and finds one that has begun anew."""
        if caller.role == "sn" and self._alone and not self._elsewhere:
            self._elsewhere = lives_on(self.settings.state, error)
            log.error("%s", self._elsewhere)

    @property
    def _alone(self) -> bool:
        return set(self.driver.ledger.nodes) == {self.local.state.uid}

    def _send(self, uid: str, message: dict[str, Any]) -> None:
        link = self.links.of(uid)
        if link is not None:
            link.tell("raft", message)

    async def _call(self, uid: str, verb: str, body: dict[str, Any]) -> Any:
        link = self.links.of(uid)
        if link is None:
            raise Unreachable(f"there is no link to {uid}")
        return await link.call(verb, body, deadline_s=CALL_S)

    async def _keep_heads(self) -> None:
        while True:
            self.heads.keep()
            self.recoveries.look_back()
            await trio.sleep(KEEP_HEADS_S)

    # ---- verbs

    async def _outcome(self, link: Link, body: dict[str, Any]) -> Any:
        return await self.leader.outcome(body, PROPOSE_S)

    async def _follow(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return await self._feed.follow(link, body)

    def _raft(self, link: Link, body: dict[str, Any]) -> None:
        if self.heads.hears(link):
            if (word := body.get("head")) is not None:
                self.heads.take_word(link, word)
            self.driver.receive(link.peer.uid, body)

    async def _cosign(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return self.driver.snapshots.answer_cosign(link.peer.uid, body)

    async def _snapshot(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        return self.driver.snapshots.answer_piece(body)

    async def _recover(self, link: Link, body: dict[str, Any]) -> dict[str, Any] | None:
        """A person lets this node decide alone. The ledger judges the right to it; here: whether it must be."""
        self.leader.must_be_lost()
        return as_wire(await self.driver.promote(body["proposal"], deadline_s=PROPOSE_S))

    async def _status(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("only") == "head":
            if body.get("confirmed"):
                return await self.leader.head(bool(body.get("here")), CALL_S)
            return {"head": self.driver.ledger.head_index}
        upgrading = rules_note(self.driver.ledger)
        notes = [*self.leader.notes(), *self.removal.notes(self.links), *self.driver.notes(), *self.heads.notes()]
        notes += [upgrading, self._returned]
        notes += [self._elsewhere] if self._alone else []
        said = [note for note in notes if note]
        seen = (self.life.heard_ms, self.life.silent(), said, self.trainings.of)
        return ledger_status(self.driver, self.local, *seen, leader=self.leader.uid())

    def _answering(self, answer: Answer) -> Handler:
        async def handle(link: Link, body: dict[str, Any]) -> dict[str, Any]:
            return answer(self.driver.ledger, body)

        return handle

    # ---- applying

    def _on_restored(self) -> None:
        """The ledger is there, or there anew: what it says of nodes holds at the door, too."""
        acquaint_all(self.local, self.driver.ledger)
        self._applied.tell()

    def _on_applied(self, entry: Entry, applied: Applied) -> None:
        self._applied.tell()
        ledger = self.driver.ledger
        acquaint(self.local, ledger, applied)
        self.heads.applied()
        for event in applied.events:
            if isinstance(event, NodeKnown | NodeGone):
                self.links.look()
            elif isinstance(event, Recovered):
                self.heads.recovered(entry.raw)
                self.recoveries.take(entry.raw)
            if (text := chronicle.line(event, ledger)) is not None:
                log.info("%s", text)
        if not applied.outcome.accepted:
            level = logging.INFO if _overtaken(entry) else logging.WARNING
            log.log(level, "entry %d refused: %s", entry.index, applied.outcome.reason)
        self.removal.check()


def authorise(peer: Peer, verb: str) -> None:
    if not policy.allowed(verb, peer.identity.role):
        raise Refused(
            f"{peer.identity} may not ask '{verb}' of a network node",
            hint=f"the role {peer.identity.role} of its certificate has no such right",
        )


def check_place(peer: Peer, verb: str, ledger: Ledger, partners: tuple[str, ...]) -> None:
    """Raise what the ledger has against this verb of this node, which has the role for it."""
    node = ledger.nodes.get(peer.uid)
    removed = node is not None and node.state == "removed" and peer.uid not in partners
    if removed and verb not in ("heads", "status"):
        raise Refused(
            f"{peer.identity} was removed from this network", hint="its vote and its node key are not taken back"
        )
    if policy.membership(verb) == "admitted" and peer.uid not in dict(ledger.sns()):
        raise Refused(f"{peer.identity} may not say '{verb}': it is no network node of this network")


def _overtaken(entry: Entry) -> bool:
    """Of a kind that loses races by nature: the round went on before it was in."""
    try:
        return proposal_header(entry.proposal).kind in RACING
    except SwarmError:
        return False
