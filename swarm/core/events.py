"""What the ledger gives out, as plain dataclasses: `Applied` = a proposal's `Outcome` and the derived events in order.

Events are facts that every node derives alike from the same entries; nobody proposes them. Used by core, the driver
and the nodes. What goes in: `core/claims`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from swarm.errors import BY_CODE, InternalError, SwarmError, Unreachable

TaskState = Literal["draft", "final", "queued", "testing", "running", "scaling", "done", "partial", "failed", "stopped"]
Gone = Literal["lost", "restarted", "left"]
"""What may become of a node that others rely on."""
SlotState = Literal["waiting", "assigned", "starting", "running", "done", "failed", "stopped", "lost"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a proposal. ``code`` is an exit code of `swarm.errors` (0 = accepted)."""

    index: int
    accepted: bool
    code: int = 0
    reason: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    hint: str = ""

    @classmethod
    def refusal(cls, index: int, error: SwarmError, result: dict[str, Any] | None = None) -> Outcome:
        return cls(index, False, error.code, error.message, result or {}, error.hint)

    @classmethod
    def from_wire(cls, wire: Any) -> Outcome:
        """The outcome that a network node reported; raises Unreachable when it is none."""
        match wire:
            case {
                "index": int(index), "accepted": bool(accepted), "code": int(code), "reason": str(reason),
                "result": dict(result), "hint": str(hint),
            }:  # fmt: skip
                return cls(index, accepted, code, reason, result, hint)
        raise Unreachable("a network node answered a proposal with something that is no outcome")

    def error(self) -> SwarmError | None:
        """The refusal as the error to raise; None when accepted."""
        if self.accepted:
            return None
        return BY_CODE.get(self.code, InternalError)(self.reason, hint=self.hint)


@dataclass(frozen=True, slots=True)
class OrganisationKnown:
    label: str
    anchor: bytes


@dataclass(frozen=True, slots=True)
class NodeKnown:
    """The node is live under this incarnation: new, back, restarted, or with new addresses or a new certificate."""

    uid: str
    how: Literal["new", "back", "restarted", "renewed"]


@dataclass(frozen=True, slots=True)
class NodeGone:
    uid: str
    reason: str


@dataclass(frozen=True, slots=True)
class VotersChanged:
    """These network nodes decide from here on."""

    voters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recovered:
    """``uid`` decides alone, in a new epoch. What the ``ended`` acknowledged behind ``lost_after`` is lost."""

    epoch: int
    uid: str
    lost_after: int
    ended: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RulesActivated:
    """From the next entry on the ledger's rules are of this version."""

    version: int


@dataclass(frozen=True, slots=True)
class ContractOpened:
    """The first enrolment fixed the contract's tensors and options; the round and base to offer on follow from it."""

    contract: str
    uid: str


@dataclass(frozen=True, slots=True)
class ContractCleared:
    """A person reset the contract: nobody is enrolled, the next enrolment fixes it anew."""

    contract: str
    by: str


@dataclass(frozen=True, slots=True)
class MemberEnrolled:
    contract: str
    uid: str
    how: Literal["new", "again"]


@dataclass(frozen=True, slots=True)
class MemberGone:
    """``what`` is the member's state from now on (see `membership.MEMBER`): dropped may simply offer again.

    An offer of it that was in does not count any more.
    """

    contract: str
    uid: str
    what: Literal["dropped", "lost", "restarted", "left", "excluded"]
    reason: str


@dataclass(frozen=True, slots=True)
class Offered:
    contract: str
    round: int
    uid: str


@dataclass(frozen=True, slots=True)
class Contributor:
    """``weight`` = nodeWeightage x 1000, lowered by what the offer said; 0 = counts as a member, not in the merge.

    ``rate``: bytes a second that its link moves each way, 0 = not measured. ``root``: the Merkle root over its weights'
    leaves as they are merged, where the contract asks for one (`core/round`, Terms).
    """

    uid: str
    weight: int
    digest: str
    address: str
    rate: int = 0
    root: bytes = b""


@dataclass(frozen=True, slots=True)
class Shard:
    """The whole leaves [first_leaf, stop_leaf) of the model, merged by ``owner``."""

    owner: str
    first_leaf: int
    stop_leaf: int


@dataclass(frozen=True, slots=True)
class SnapMade:
    """Who merges what with which weights in this attempt. Sharded: every leaf is in exactly one shard, in uid order.

    ``entry``: the hash of the entry that made it, which no other attempt has, whatever its number.
    """

    contract: str
    round: int
    attempt: int
    members: tuple[Contributor, ...]
    shards: tuple[Shard, ...]
    topology: Literal["sharded", "broadcast"]
    base: str
    entry: bytes = b""

    def owner_of(self, piece: int) -> str:
        """Who signs this piece: a shard, by its number; those behind are what is said about the distances in them."""
        return self.shards[piece % len(self.shards)].owner


@dataclass(frozen=True, slots=True)
class MemberReady:
    contract: str
    round: int
    attempt: int
    uid: str


@dataclass(frozen=True, slots=True)
class Committed:
    """The round's result, and the base of the next round. ``signers`` hold the bytes, ``members`` merged them."""

    contract: str
    round: int
    attempt: int
    digest: str
    members: tuple[str, ...]
    signers: tuple[str, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Aborted:
    """The base stays; the next round has the next number and the same base.

    ``members``: whose offers were in and count no more. ``disputed``: the shards, by their number in the snap of
    ``attempt``, of which members hold different bytes; ``said``: what owners of these say of them in their own Readys.
    ``outvoted``: who holds another result than a clear majority (`core/dispute`). ``untold``: nobody can be, since not
    all have said what they hold of each shard.
    """

    contract: str
    round: int
    reason: str
    members: tuple[str, ...] = ()
    attempt: int = 0
    disputed: tuple[int, ...] = ()
    said: tuple[tuple[int, bytes], ...] = ()
    outvoted: tuple[str, ...] = ()
    untold: bool = False


@dataclass(frozen=True, slots=True)
class BaseLost:
    """Nobody can serve ``digest`` any more: ``base`` is the base again (the schema's hash when no model is left)."""

    contract: str
    digest: str
    base: str


@dataclass(frozen=True, slots=True)
class Misbehaved:
    """The member is proved to have signed two different results for one shard: it is out of this contract."""

    contract: str
    uid: str
    round: int
    attempt: int
    shard: int


@dataclass(frozen=True, slots=True)
class Finished:
    """``digest`` is the final model of the contract."""

    contract: str
    digest: str


@dataclass(frozen=True, slots=True)
class ContractReserved:
    """A person made the name known; the first enrolment opens the contract."""

    contract: str
    by: str


@dataclass(frozen=True, slots=True)
class TaskKnown:
    task: str
    by: str


@dataclass(frozen=True, slots=True)
class TaskFinal:
    """The task is immutable from now on; ``digest`` names what it says."""

    task: str
    digest: str


@dataclass(frozen=True, slots=True)
class TaskGone:
    """The draft, or the task of jobs with all its slots, was deleted: its name is free again."""

    task: str
    run: int = 0
    """Of jobs: the number of their run."""
    outputs: bool = False
    """What the jobs have put out is to go too."""


@dataclass(frozen=True, slots=True)
class TaskChanged:
    """``state`` is the task's in this run (see `task.TASK`): queued, running, done, failed or stopped."""

    taskrunner: str
    run: int
    task: str
    state: TaskState
    reason: str


@dataclass(frozen=True, slots=True)
class TaskrunnerKnown:
    taskrunner: str
    by: str


@dataclass(frozen=True, slots=True)
class TaskrunnerCleared:
    """A person reset the taskrunner. Operators end the workers of ``run`` once these have saved, and report each."""

    taskrunner: str
    run: int
    by: str


@dataclass(frozen=True, slots=True)
class SwopKnown:
    """The operator listens on the taskrunner and offers this many learning nodes."""

    taskrunner: str
    uid: str
    peers: int


@dataclass(frozen=True, slots=True)
class SlotAssigned:
    """The operator ``swop`` has the lease: it alone may run the slot and report on it, naming ``fence``.

    ``index`` is the place of the learning node in the operator's profile (0 for tasks that prepare hosts); ``attempt``
    counts from 1. ``replaces``: the learning node that enrolled for the attempt before, "" if none has.
    """

    slot: str
    taskrunner: str
    run: int
    task: str
    swop: str
    index: int
    fence: int
    attempt: int
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class SlotChanged:
    """``leased``: whether the lease with ``fence`` goes on, that is, whether reports with it are still taken."""

    slot: str
    swop: str
    fence: int
    state: SlotState
    reason: str
    leased: bool


Event = (
    OrganisationKnown | NodeKnown | NodeGone | VotersChanged | Recovered | RulesActivated
    | ContractOpened | ContractCleared | ContractReserved | MemberEnrolled | MemberGone
    | Offered | SnapMade | MemberReady | Committed | Aborted | BaseLost | Finished | Misbehaved
    | TaskKnown | TaskFinal | TaskGone | TaskChanged | TaskrunnerKnown | TaskrunnerCleared | SwopKnown
    | SlotAssigned | SlotChanged
)  # fmt: skip


class Applied(NamedTuple):
    outcome: Outcome
    events: tuple[Event, ...] = ()
