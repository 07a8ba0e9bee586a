"""``swarm.work``: the items of work that the slots of a task with roles give each other.

Called by programs that `swarm run -f` runs in roles. The list is kept by the ledger: it outlives the slot that put an
item there, the one that held it, and any operator. Guarantees: an item whose key was put before is not put again, so a
coordinator that was started anew may simply put them all; an item is done once; what its holder did not finish, because
it ended or took too long, another gets. An item costs the ledger three entries: a piece of work of seconds, not of
milliseconds; large data go from slot to slot (``swarm.peers``), a name of them goes into the item.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from swarm.callbacks.desk import LOOK_S, MARGIN_S, ask
from swarm.errors import BadInput, Refused, Unreachable, WorkerFailed

AT_ONCE = 500


@dataclass(frozen=True)
class Item:
    """``value``: what was put; ``attempt``: 1 for its first holder."""

    key: str
    value: Any
    attempt: int

    def done(self, result: Any = None) -> bool:
        """Hand in its result, as plain data (JSON); False if it took too long, and another has it by now."""
        try:
            ask("done", key=self.key, lease=self.attempt, result=_text(f"the result of {self.key}", result))
        except Refused as error:
            if "was returned meanwhile" not in error.message:
                raise
            return False
        return True


def put(items: Mapping[str, Any], *, within_s: int = 60) -> int:
    """Have these done: by key, plain data (JSON) of at most 16384 characters each; how many of the keys are new.

    A holder that does not finish within ``within_s`` seconds loses its item. Raises Refused when there are too many.
    """
    texts = [[key, _text(f"item {key}", value)] for key, value in items.items()]
    parts = [texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE)]
    return sum(int(ask("put", items=part, within_s=within_s)["new"]) for part in parts)


def take(*, patience_s: float = 60.0) -> Item | None:
    """The item that waits longest, now this slot's; None if there is none within ``patience_s`` seconds."""
    until = time.monotonic() + patience_s
    while True:
        left_s = max(until - time.monotonic(), 0.0)
        wait_s = min(left_s, LOOK_S)
        answer = ask("take", nonce=secrets.token_hex(8), wait_s=wait_s, patience_s=wait_s + MARGIN_S)
        if answer["key"] is not None:
            return Item(answer["key"], json.loads(answer["value"]), answer["lease"])
        if time.monotonic() >= until:
            return None


def results(keys: Iterable[str], *, patience_s: float = 600.0) -> dict[str, Any]:
    """What came of these items, by key, once all of them are done; another slot may put them meanwhile.

    Raises WorkerFailed when one was given up (ten holders did not finish it), Unreachable when some are not done in
    time.
    """
    wanted, found = list(dict.fromkeys(keys)), dict[str, Any]()
    until = time.monotonic() + patience_s
    while missing := [key for key in wanted if key not in found]:
        left_s = max(until - time.monotonic(), 0.0)
        part = missing[:AT_ONCE]
        answer = ask("results", keys=part, wait_s=min(left_s, LOOK_S), patience_s=min(left_s, LOOK_S) + MARGIN_S)
        if failed := answer["failed"]:
            raise WorkerFailed(f"item {failed[0]!r} was given up: none of its holders has finished it")
        found.update({key: json.loads(text) for key, text in answer["done"].items()})
        if not answer["done"] and time.monotonic() >= until:
            many = f"{len(missing)} of {len(wanted)} items"
            raise Unreachable(f"{many} are not done after {patience_s:g} s: {missing[0]!r}")
    return {key: found[key] for key in wanted}


def counts() -> dict[str, int]:
    """How many were put so far, and how many of them are waiting, leased, done, failed; and how often one came back.

    ``put`` is the sum of the four; ``returned`` counts holders that did not finish.
    """
    said: dict[str, int] = ask("counts")["counts"]
    return said


def forget(keys: Iterable[str]) -> int:
    """Let go of those that have ended, with their results; how many that were. Their keys may be put anew."""
    wanted = list(dict.fromkeys(keys))
    parts = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
    return sum(int(ask("forget", keys=part)["forgotten"]) for part in parts)


def _text(what: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise BadInput(f"{what} is no plain data: {error}") from None
