"""The way of a network node to whoever leads: itself, or another one over its link, however often that changes.

Used by ``nodes/sn`` for its own introduction and for what others ask of it. Guarantees: a proposal's bytes are passed
on as they are, so asking twice has one outcome; who asks gets it, or within its time one sentence that names whom the
ledger waits for; an answer of a node that does not lead any longer is not waited for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any, TypeVar

import trio

from swarm.core.events import Outcome
from swarm.errors import BadInput, Crowded, Refused, SwarmError, Unreachable
from swarm.nodes.ledgerlink import parse_address
from swarm.nodes.sn_links import Links
from swarm.runtime.answers import NotLeader
from swarm.runtime.control import Link
from swarm.runtime.driver import Driver
from swarm.runtime.founding import node_name

AGAIN_S = 0.1
_OUTCOME = tuple(each.name for each in fields(Outcome))
T = TypeVar("T")


class Leader:
    def __init__(self, driver: Driver, links: Links, own_uid: str) -> None:
        self._driver, self._links, self._own_uid = driver, links, own_uid

    async def propose(self, raw: bytes, deadline_s: float, by: bytes = b"") -> Outcome:
        """The outcome of these bytes, asked by this organisation; raises Unreachable when nobody has acknowledged them
        in time, and as Crowded, at once, when it asks too much."""

        async def here(left_s: float) -> Outcome:
            return await self._driver.propose(raw, deadline_s=left_s, by=by)

        async def there(link: Link, left_s: float) -> Outcome:
            # A node without a ledger does not know who leads: whoever it is linked to does.
            verb = "forward" if self._driver.leader_uid else "propose"
            return Outcome.from_wire(await link.call(verb, {"proposal": raw, "by": by}, deadline_s=left_s))

        return await self._anywhere(here, there, deadline_s)

    async def propose_all(self, raws: list[bytes], deadline_s: float, by: bytes) -> list[dict[str, Any] | None]:
        """The same for many, as it goes over the wire: an outcome each, or the error that says why there is none."""

        async def here(left_s: float) -> list[dict[str, Any] | None]:
            return answers_as_wire(await self._driver.propose_all(raws, deadline_s=left_s, by=by))

        async def there(link: Link, left_s: float) -> list[dict[str, Any] | None]:
            verb = "forward" if self._driver.leader_uid else "propose"
            said = await link.call(verb, {"proposals": raws, "by": by}, deadline_s=left_s)
            outcomes: list[dict[str, Any] | None] = said["outcomes"]
            return outcomes

        return await self._anywhere(here, there, deadline_s)

    async def outcome(self, body: dict[str, Any], deadline_s: float) -> Any:
        """What has become of a proposal by now, anywhere: read where it is sure to be known."""
        match body:
            case {"uid": str(uid), "incarnation": bytes(incarnation), "seq": int(seq)}:
                asked = {"uid": uid, "incarnation": incarnation, "seq": seq}  # and nothing else that came with them
            case _:
                raise BadInput("'outcome' says uid, incarnation and seq of a proposal")

        async def here(left_s: float) -> Any:
            await self._driver.catch_up(deadline_s=left_s)
            return as_wire(self._driver.ledger.outcome_of(uid, incarnation, seq))

        async def there(link: Link, left_s: float) -> Any:
            return await link.call("outcome", {**asked, "here": True}, deadline_s=left_s)

        return await (here(deadline_s) if body.get("here") else self._anywhere(here, there, deadline_s))

    async def head(self, here: bool, deadline_s: float) -> dict[str, int]:
        """How far the ledger goes, by the word of who leads, and so of a majority. ``here``: ask nobody else."""

        async def own(left_s: float) -> dict[str, int]:
            await self._driver.catch_up(deadline_s=left_s)
            return {"head": self._driver.ledger.head_index}

        async def there(link: Link, left_s: float) -> dict[str, int]:
            said = await link.call("status", {"only": "head", "confirmed": True, "here": True}, deadline_s=left_s)
            return {"head": int(said["head"])}

        return await (own(deadline_s) if here else self._anywhere(own, there, deadline_s))

    def link(self) -> Link | None:
        """To the leader; before this node knows of one, to any network node."""
        leader = self._driver.leader_uid
        return self._links.of(leader) if leader else next(iter(self._links.network_nodes()), None)

    async def _anywhere(
        self, here: Callable[[float], Awaitable[T]], there: Callable[[Link, float], Awaitable[T]], deadline_s: float
    ) -> T:
        end_s = trio.current_time() + deadline_s
        while True:
            left_s = max(end_s - trio.current_time(), AGAIN_S)
            try:
                return await here(left_s)
            except NotLeader:
                pass
            except Crowded:
                raise
            except Unreachable as error:
                why = error
            link = self.link()
            if link is not None and self._driver.role != "leader":
                try:
                    return await self._while_it_leads(link, there(link, left_s))
                except Crowded:
                    raise
                except Unreachable as error:
                    why = error
            else:
                why = Unreachable(f"the ledger pauses: {self.missing()}")
            if trio.current_time() + AGAIN_S >= end_s:
                raise why
            await trio.sleep(AGAIN_S)

    async def _while_it_leads(self, link: Link, call: Awaitable[T]) -> T:
        """A frozen leader answers late: who follows another one by then asks that one instead."""
        answers: list[T] = []
        errors: list[SwarmError] = []
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                try:
                    answers.append(await call)
                except SwarmError as error:
                    errors.append(error)
                nursery.cancel_scope.cancel()

            nursery.start_soon(ask)
            while self._driver.leader_uid in (link.peer.uid, None):
                await self._driver.leadership.wait()
            nursery.cancel_scope.cancel()
        if answers:
            return answers[0]
        raise errors[0] if errors else Unreachable(f"{link.peer} does not lead the ledger any longer")

    # ---- what a person is told

    def missing(self) -> str:
        """Whom the ledger waits for, as far as this node sees."""
        voters = self._driver.voters
        if not voters:
            return "this network node has no ledger yet"
        silent = self._silent()
        if 2 * len(silent) < len(voters):
            return "its voters choose who leads"
        if len(voters) == 1:
            return f"{self._names(silent)}, which decides alone, is not reachable from here"
        needed = f"{len(voters) // 2 + 1} of {len(voters)} voters"
        return f"{self._names(silent)} are not reachable from here, and {needed} have to be"

    def notes(self) -> list[str]:
        """What a status must say of it, a sentence each. In how many copies what the others have is kept while it
        pauses, nobody knows from here."""
        if self.pauses:
            return [f"ledger pauses: {self.missing()}; {self._ways_out()}"]
        return ["ledger has one copy"] if self._driver.one_copy else []

    @property
    def pauses(self) -> bool:
        """Nothing is decided, as far as this node sees."""
        return self._driver.role != "leader" and 2 * len(self._silent()) >= len(self._driver.voters) > 0

    def uid(self) -> str | None:
        """Who leads, as far as this node sees: nobody while the ledger pauses."""
        return None if self.pauses else self._driver.leader_uid

    def must_be_lost(self) -> None:
        """Raise what stands against letting this node decide alone: that nobody needs it."""
        silent, voters, leader = self._silent(), self._driver.voters, self._driver.leader_uid
        hint = "a forced recovery gives up what the others have acknowledged: it is for when they will not come back"
        if self._driver.role == "leader":
            raise Refused("this network node leads the ledger, which does not pause", hint=hint)
        if leader and leader not in silent:
            raise Refused(f"{self._names([leader])} leads the ledger and answers", hint=hint)
        if 2 * len(silent) < len(voters):
            there = [uid for uid in voters if uid not in silent]
            raise Refused(f"{self._names(there)} are a majority of the voters, and choose who leads", hint=hint)

    def _ways_out(self) -> str:
        """What a person can do about a pause."""
        own = self._driver.ledger.nodes.get(self._own_uid)
        host, port = parse_address(own.addresses[0]) if own and own.addresses else ("IP", "PORT")
        promote = f"swarm sn promote --force --sn-ip {host} --sn-api-port {port}"
        return (
            "start what is missing again with its state directory, or, only if it never will be back, let this node "
            f"decide alone: {promote}"
        )

    def _silent(self) -> list[str]:
        return [uid for uid in self._driver.voters if uid != self._own_uid and self._links.of(uid) is None]

    def _names(self, uids: list[str]) -> str:
        return ", ".join(node_name(self._driver.ledger, uid) for uid in uids)


def as_wire(outcome: Outcome | None) -> dict[str, Any] | None:
    return {name: getattr(outcome, name) for name in _OUTCOME} if outcome is not None else None


def answers_as_wire(answers: list[Outcome | SwarmError]) -> list[dict[str, Any] | None]:
    """An outcome each, or the error that says why there is none."""
    return [{"error": answer.to_wire()} if isinstance(answer, SwarmError) else as_wire(answer) for answer in answers]
