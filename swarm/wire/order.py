"""The consensus messages of network nodes as plain data, and back.

Used by ``runtime/driver`` on both ends. Guarantees: what ``read_message`` yields is well formed and of this network,
and its entries are consecutive, chained by their hashes to the entry before them; everything else is BadInput.
"""

from __future__ import annotations

from typing import Any

from swarm.core.ordering import Answer, Entries, LogEntry, Message
from swarm.errors import BadInput
from swarm.wire.signed import HASH_BYTES, Entry, decode_entry

VERSION = 1
COUNT_MAX = 2**53


def log_entry(entry: Entry) -> LogEntry:
    return LogEntry(entry.index, entry.term, entry.hash, entry.raw)


def write_message(message: Message, network_id: bytes) -> dict[str, Any]:
    head = {"version": VERSION, "network": network_id, "term": message.term, "stamp": message.stamp}
    if isinstance(message, Entries):
        return {
            **head,
            "kind": "entries",
            "prev_index": message.prev_index,
            "prev_hash": message.prev_hash,
            "entries": [entry.raw for entry in message.entries],
            "last": message.last,
            "commit": message.commit,
            "one_copy": message.one_copy,
        }
    return {
        **head,
        "kind": "answer",
        "found": message.found,
        "match": message.match,
        "last": message.last,
        "conflict": message.conflict,
    }


def read_message(body: dict[str, Any], network_id: bytes) -> Message:
    """The message, if it is of this network; a node that has none yet (``b""``) takes any."""
    if body.get("version") != VERSION:
        raise BadInput(
            f"a consensus message of version {str(body.get('version'))[:20]}, this node knows {VERSION}",
            hint="run the same version of swarm on all SNs",
        )
    network = body.get("network")
    if network_id and network != network_id:
        other = network.hex()[:16] if isinstance(network, bytes) else "none"
        raise BadInput(
            f"a consensus message of network {other}, this node's ledger is of network {network_id.hex()[:16]}",
            hint="one of the two SNs was started with the state directory of another network",
        )
    if body.get("kind") == "entries":
        return _entries(body)
    if body.get("kind") == "answer":
        found, conflict = _flag(body, "found"), _count(body, "conflict")
        return Answer(
            _count(body, "term"), _count(body, "stamp"), found, _count(body, "match"), _count(body, "last"), conflict
        )
    raise _malformed("kind")


def _entries(body: dict[str, Any]) -> Entries:
    prev_index, prev_hash, raws = _count(body, "prev_index"), body.get("prev_hash"), body.get("entries")
    if not isinstance(prev_hash, bytes) or len(prev_hash) != HASH_BYTES:
        raise _malformed("prev_hash")
    if not isinstance(raws, list) or not all(isinstance(raw, bytes) for raw in raws):
        raise _malformed("entries")
    term, previous = _count(body, "term"), prev_hash
    entries: list[LogEntry] = []
    for index, raw in enumerate(raws, prev_index + 1):
        entry = decode_entry(raw)
        if entry.index != index or entry.prev_hash != previous or entry.term > term:
            raise BadInput(f"a consensus message whose entry {index} does not follow entry {index - 1}")
        entries.append(log_entry(entry))
        previous = entry.hash
    last, commit = _count(body, "last"), _count(body, "commit")
    if max(commit, prev_index + len(entries)) > last:
        raise _malformed("last")
    return Entries(
        term, _count(body, "stamp"), prev_index, prev_hash, tuple(entries), last, commit, _flag(body, "one_copy")
    )


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value < COUNT_MAX:
        raise _malformed(name)
    return value


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if type(value) is not bool:
        raise _malformed(name)
    return value


def _malformed(name: str) -> BadInput:
    return BadInput(f"a consensus message whose field '{name}' is missing or makes no sense")
