"""What is offered to a round, and what the contract says about all its rounds.

Made by `core/contract`, read by `core/round`. Guarantees: an offer that lacks what the terms ask for is refused by
name; weights are integers in 1/1000.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarm.core.agreement import Options
from swarm.core.events import SnapMade
from swarm.core.level import Stage
from swarm.core.membership import Member
from swarm.core.tensors import Schema
from swarm.errors import Refused

BROADCAST_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contract says about its rounds.

    ``first``: only the weights of the first to enrol count. ``full``: every offer commits to its weights, leaf by leaf.
    ``altered``: weights are rounded or clipped before they travel, by how far they are from the base.
    ``capped``: no organisation of these ``members`` may have more than a third of the weight (`core/weightcap`).
    ``stage``: of a group's contract, whether it merges or takes what comes from above (`core/level`).
    ``picks``: so many members take part in a round (`core/line`), 0: all. ``goal``: with so many offers of programs
    that train it begins to merge, 0: with those of all (FedBuff: Nguyen et al. 2022, section 3).
    """

    contract: str
    min_peers: int
    topology: str
    leaves: int
    nbytes: int
    first: bool
    full: bool = False
    capped: bool = False
    members: Mapping[str, Member] = field(default_factory=dict, compare=False)
    altered: bool = False
    stage: Stage = "single"
    picks: int = 0
    goal: int = 0

    @classmethod
    def of(
        cls,
        contract: str,
        options: Options,
        schema: Schema,
        members: Mapping[str, Member],
        *,
        has_model: bool,
        stage: Stage,
    ) -> Terms:
        """Of the rounds on one base."""
        return cls(
            contract,
            options.minPeers,
            options.topology,
            schema.leaves,
            schema.nbytes,
            first=options.initialModel == "first" and not has_model,
            full=options.commitments == "full",
            capped=options.robust,
            members=members,
            altered=options.alters and has_model,
            stage=stage,
            picks=options.pickPeers,
            goal=options.asyncGoal,
        )

    def weight(self, member: Member, body: Mapping[str, Any], group: int | None) -> int:
        """``group``: the weight of the group whose merge the member offers."""
        if body.get("inactive", False) or (self.stage == "down" and not member.leads):
            return 0
        share = int(body.get("weight_permille", 1000))
        return member.weight * share if group is None else max(1, group * share // 1000)

    @property
    def sharded(self) -> bool:
        return self.topology == "sharded" or (self.topology == "auto" and self.nbytes > BROADCAST_BYTES)

    @property
    def rooted(self) -> bool:
        """Offers have a Merkle root: where all members merge the same bytes, and those are not what was offered whole,
        nothing else tells who sent one thing to one and another to the other."""
        return self.full or (self.altered and not self.sharded)


@dataclass(frozen=True, slots=True)
class Offer:
    """``weight`` in 1/1000; ``ordinal`` = the how-manieth member to enrol; ``name`` is for sentences.

    ``rate`` in bytes a second, of the slower direction: what a member moves is the same in both. ``seen``: whose rate
    is doubted, and what was seen instead (`layout.doubted`).
    """

    digest: str
    weight: int
    stop: bool
    address: str
    ordinal: int
    name: str
    rate: int = 0
    root: bytes = b""
    seen: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, member: Member, body: Mapping[str, Any], terms: Terms, group: int | None = None) -> Offer:
        """What the body of a member's Offer says; raises Refused when the contract asks for more."""
        root = body.get("root", b"")
        if terms.rooted and not root:
            raise Refused(f"{member} offers without a Merkle root, which contract {terms.contract} asks for")
        return cls(
            body["digest"],
            terms.weight(member, body, group),
            body.get("stop", False),
            member.data_address,
            member.ordinal,
            str(member),
            min(body.get("rates", {"": 0}).values()),
            root,
            tuple(sorted(body.get("seen", {}).items())),
        )


def not_brought(offers: Mapping[str, Offer], snap: SnapMade, digest: str) -> str:
    """In a round for what comes from above: how this is another model than was brought; empty: it is that one.

    Two bring one where a leader's place was taken after it had offered: what they bring has to be the same.
    """
    others = [offers[each.uid] for each in snap.members if each.weight and each.digest != digest]
    return next(
        (f"{o.name} offered {o.digest}, the model from above, and the group has {digest} of it" for o in others), ""
    )
