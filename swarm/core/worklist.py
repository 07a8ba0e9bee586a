"""The items of work of a task with roles: what its slots give each other to do, each taken by one and done once.

Kept by `core/rolesrun`, in the ledger: so it outlives whoever put an item there, and whoever held one. Guarantees: an
item that was put is not put again; it is held by one attempt of one slot at a time; it is done once, by whoever holds
it, and its result stays; one whose holder ends, loses its lease or takes too long waits again, and is given up after
`TAKEN_MAX` holders. The counts add up: put = waiting + leased + done + failed.

    waiting ─taken─► leased ─done─► done ─forgotten─► (its number stays)
       ▲               │ └─given up─► failed ─forgotten─►
       └───returned────┘
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from typing import Any, Literal

from swarm.errors import Refused

ItemState = Literal["waiting", "leased", "done", "failed"]

ITEM: dict[tuple[ItemState, str], ItemState] = {
    ("waiting", "taken"): "leased",
    ("leased", "done"): "done",
    ("leased", "returned"): "waiting",
    ("leased", "given up"): "failed",
}
"""An item's states and what moves them."""

ITEMS_MAX = 10_000
BYTES_MAX = 4 << 20
"""Of one task's items with their results: every network node keeps them."""
TAKEN_MAX = 10
"""Holders that an item may have: what ends each of them is for a person to look at."""


@dataclass(slots=True)
class Item:
    """``lease`` counts how often it was taken; ``slot``: who holds it, or has done it."""

    key: str
    value: str
    within_s: int
    state: ItemState = "waiting"
    slot: str = ""
    lease: int = 0
    result: str = ""
    nonce: str = ""
    """By which its holder asked for it: asked again, it is the same item."""

    @property
    def bytes(self) -> int:
        return sum(len(text.encode()) for text in (self.key, self.value, self.result))


class WorkList:
    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.leased: dict[str, Item] = {}
        self.forgotten = {"done": 0, "failed": 0}
        self.returned = 0
        """How often an item was taken back."""
        self._waiting: dict[str, Item] = {}
        """In the order in which they are taken."""
        self._bytes = 0

    # ---- reading

    @property
    def waits(self) -> int:
        return len(self._waiting)

    @property
    def bytes(self) -> int:
        return self._bytes

    def is_open(self, key: str) -> bool:
        """Whether something is still to come of this item, which may not have been put yet."""
        item = self.items.get(key)
        return item is None or item.state in ("waiting", "leased")

    def counts(self) -> dict[str, int]:
        states = [item.state for item in self.items.values()]
        ended = {state: states.count(state) + self.forgotten[state] for state in ("done", "failed")}
        counts = {"waiting": len(self._waiting), "leased": len(self.leased), **ended}
        return {"put": sum(counts.values()), **counts, "returned": self.returned}

    # ---- the slots speak

    def put(self, items: Iterable[tuple[str, str]], within_s: int) -> int:
        """Those whose key is new; how many that are."""
        new = {key: Item(key, value, within_s) for key, value in items if key not in self.items}
        size = self._bytes + sum(item.bytes for item in new.values())
        if len(self.items) + len(new) > ITEMS_MAX or size > BYTES_MAX:
            raise Refused(
                f"the task would have {len(self.items) + len(new)} items of {size} bytes, "
                f"and may have {ITEMS_MAX} of {BYTES_MAX} bytes together",
                hint="swarm.work.forget(keys) lets go of those that are done",
            )
        self.items.update(new)
        self._waiting.update(new)
        self._bytes = size
        return len(new)

    def held_as(self, slot: str, nonce: str) -> Item | None:
        """What the slot was given when it asked so before: it may not have heard the answer."""
        return next((item for item in self.leased.values() if (item.slot, item.nonce) == (slot, nonce)), None)

    def take(self, slot: str, nonce: str) -> Item:
        """The one that waits longest; raises Refused when none does."""
        if (held := self.held_as(slot, nonce)) is not None:
            return held
        if not self._waiting:
            raise Refused("no item of work waits")
        item = self._waiting.pop(next(iter(self._waiting)))
        item.state = ITEM[item.state, "taken"]
        item.slot, item.nonce, item.lease = slot, nonce, item.lease + 1
        self.leased[item.key] = item
        return item

    def done(self, slot: str, key: str, lease: int, result: str) -> None:
        """Raises Refused when the item is another's by now; said again it changes nothing."""
        item = self.items.get(key)
        if item is None:
            raise Refused(f"there is no item {key!r} of work")
        if (item.slot, item.lease, item.state) == (slot, lease, "done"):
            return
        if (item.slot, item.lease, item.state) != (slot, lease, "leased"):
            raise Refused(f"item {key!r} is {item.state}: what was taken as number {lease} was returned meanwhile")
        size = self._bytes + len(result.encode())
        if size > BYTES_MAX:
            raise Refused(
                f"the results of the task's items are over {BYTES_MAX} bytes",
                hint="swarm.work.forget(keys) lets go of those that are done",
            )
        item.state, item.result, self._bytes = ITEM[item.state, "done"], result, size
        del self.leased[key]

    def forget(self, keys: Iterable[str]) -> int:
        """Let go of those among them that have ended; how many that were."""
        ended = [item for key in set(keys) if (item := self.items.get(key)) and item.state in self.forgotten]
        for item in ended:
            del self.items[item.key]
            self.forgotten[item.state] += 1
            self._bytes -= item.bytes
        return len(ended)

    # ---- things happen

    def release(self, slot: str) -> None:
        """The slot's attempt is over: what it holds waits again."""
        held = [item for item in self.leased.values() if item.slot == slot]
        for item in sorted(held, key=lambda item: item.key):
            self._return(item)

    def lapse(self, key: str, lease: int) -> None:
        """Its holder took too long."""
        item = self.leased.get(key)
        if item is None or item.lease != lease:
            raise Refused(f"item {key!r} is not held as number {lease}")
        self._return(item)

    def _return(self, item: Item) -> None:
        del self.leased[item.key]
        self.returned += 1
        if item.lease >= TAKEN_MAX:
            item.state = ITEM[item.state, "given up"]
            return
        item.state, item.slot = ITEM[item.state, "returned"], ""
        self._waiting[item.key] = item

    # ---- keeping

    def to_state(self) -> list[Any]:
        """What waits is in the order in which it is taken; for the rest there is none that matters."""
        rest = sorted((item for item in self.items.values() if item.state != "waiting"), key=lambda item: item.key)
        rows = [list(astuple(item)) for item in (*rest, *self._waiting.values())]
        return [rows, self.forgotten["done"], self.forgotten["failed"], self.returned]

    @classmethod
    def from_state(cls, state: list[Any]) -> WorkList:
        new = cls()
        rows, new.forgotten["done"], new.forgotten["failed"], new.returned = state
        new.items = {item.key: item for item in (Item(*row) for row in rows)}
        new.leased = {key: item for key, item in new.items.items() if item.state == "leased"}
        new._waiting = {key: item for key, item in new.items.items() if item.state == "waiting"}
        new._bytes = sum(item.bytes for item in new.items.values())
        return new

    def check(self) -> None:
        states = {key: item.state for key, item in self.items.items()}
        assert set(self._waiting) == {key for key, state in states.items() if state == "waiting"}
        assert set(self.leased) == {key for key, state in states.items() if state == "leased"}
        assert self._bytes == sum(item.bytes for item in self.items.values()) <= BYTES_MAX
        assert all(item.slot and item.lease for item in self.leased.values())
