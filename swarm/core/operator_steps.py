"""What happens to an operator, and what it asks to be done: the events and effects of ``core/operator``.

Made by ``nodes/swop`` and ``nodes/slotwork`` (events) and performed by them (effects). Every effect names its lease:
the slot and its fence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.events import SlotAssigned, TaskrunnerCleared

REASON_MAX = 500
LINE_MAX = 300


@dataclass(frozen=True, slots=True)
class Verdict:
    """How an attempt ended. ``died``: its learning node did, by nothing that it or its program meant to do."""

    state: str
    reason: str
    exit_code: int | None
    died: bool = False
    output: dict[str, Any] | None = None
    """What it has put out, where its task asks for that: as `core/filelist` sums it up."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why this host does not run a task, and what would change that."""

    reason: str
    hint: str


# ---- events: what has happened -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """A directory lies here, which says that this operator intended to run the attempt before it was started anew."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """This node's replica of the ledger is up to date, and all kept directories are told of."""


@dataclass(frozen=True, slots=True)
class LedgerMoved:
    """Something about leases, runs or contracts may have changed."""


@dataclass(frozen=True, slots=True)
class LedgerLost:
    reason: str


@dataclass(frozen=True, slots=True)
class LedgerBack:
    pass


@dataclass(frozen=True, slots=True)
class LedgerSure:
    """A majority of the ledger was in reach, or came into reach, after this moment."""

    asked_s: float


@dataclass(frozen=True, slots=True)
class Judged:
    """What this host says to the task: it runs it, ``refused`` it, or it has no place for it (``unfit``)."""

    lease: SlotAssigned
    refused: Refusal | None = None
    unfit: Refusal | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A task that prepares hosts is done with."""

    lease: SlotAssigned
    verdict: Verdict
    description: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """``ran``: a worker runs in the attempt's directory, or has run there and ended."""

    lease: SlotAssigned
    ran: bool


@dataclass(frozen=True, slots=True)
class Intended:
    """The intent is on disk."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Started:
    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class NotStarted:
    lease: SlotAssigned
    why: Refusal


@dataclass(frozen=True, slots=True)
class ProgramStarted:
    lease: SlotAssigned
    sl_uid: str


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of the worker runs any more. ``starts``: how often its learning node has been started in all.

    ``asked``: it was asked to end before it did.
    """

    lease: SlotAssigned
    verdict: Verdict
    asked: bool
    starts: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reaped:
    """Nothing of what was started for the attempt runs any more."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Stopped:
    """A person stops the operator."""


@dataclass(frozen=True, slots=True)
class Ticked:
    pass


Event = (
    Kept | CaughtUp | LedgerMoved | LedgerLost | LedgerBack | LedgerSure | TaskrunnerCleared | Judged | Prepared
    | Looked | Intended | Started | NotStarted | ProgramStarted | Ended | Reaped | Stopped | Ticked
)  # fmt: skip


# ---- effects: what is to be done -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Judge:
    """See whether this host accepts the task's people and has a place for it: Judged."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Prepare:
    """Do what a task asks that prepares hosts: Prepared, or NotStarted."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Look:
    """See what runs or has run in the attempt's directory: Looked."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Intend:
    """Have on disk that the worker is to be started: Intended, or NotStarted."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Start:
    """Start the worker: Started or NotStarted, then as Adopt."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Adopt:
    """Watch what runs there, or see how it ended: ProgramStarted, Ended."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class End:
    """Ask the worker to end in ``grace_s``, then make it; a second asking can only shorten that: Ended."""

    lease: SlotAssigned
    why: str
    grace_s: float


@dataclass(frozen=True, slots=True)
class Kill:
    """End the worker and whatever it has started, at once, also when it was asked to end before: Ended."""

    lease: SlotAssigned
    why: str


@dataclass(frozen=True, slots=True)
class Reap:
    """End what was started there, if anything: Reaped."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Conclude:
    """Keep on disk how the attempt ended."""

    lease: SlotAssigned
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Forget:
    """Nobody asks for the attempt any more: keep its logs only."""

    lease: SlotAssigned


@dataclass(frozen=True, slots=True)
class Report:
    """Have the ledger take this, after the reports of this attempt before it, unless its lease is over by then."""

    lease: SlotAssigned
    state: str
    reason: str
    exit_code: int | None = None
    sl_uid: str = ""
    description: str = ""
    lines: tuple[str, ...] = ()
    output: dict[str, Any] | None = None

    def body(self) -> dict[str, Any]:
        """The body of a SlotReported."""
        more = {
            "exit_code": self.exit_code,
            "sl_uid": self.sl_uid,
            "description": printable(self.description),
            "lines": list(self.lines),
            "output": self.output,
        }
        told = {name: value for name, value in more.items() if value not in (None, "", [])}
        head = {"slot": self.lease.slot, "fence": self.lease.fence, "state": self.state}
        return {**head, "reason": printable(self.reason), **told}


@dataclass(frozen=True, slots=True)
class Decline:
    """Tell the ledger that this host does not run the task at all."""

    lease: SlotAssigned
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Tell:
    """A line for the operator's log."""

    text: str


Effect = (
    Judge | Prepare | Look | Intend | Start | Adopt | End | Kill | Reap | Conclude | Forget | Report | Decline | Tell
)  # fmt: skip


def printable(text: str) -> str:
    """As the ledger takes a reason."""
    return "".join(character if character.isprintable() else " " for character in text)[:REASON_MAX]
