"""The consensus messages of network nodes as plain data, and back; and whom an entry names as voters.

Used by ``runtime/driver`` on both ends, ``log_entry`` by everything that makes or stores entries. Guarantees: what
``read_message`` yields is well formed and of this network, and its entries are consecutive, chained by their hashes to
the entry before them; everything else is BadInput.

    entries    prev_index prev_hash entries last commit one_copy stamp        leader to follower
    snapshot   index hash last stamp                                          in place of entries that are compacted
    answer     found match last conflict stamp                                follower to leader
    campaign   pre last_index last_term                                       candidate to voter
    ballot     pre granted                                                    voter to candidate

All have version, network, kind and term; entries of who votes alone have its signed ``head``, too: ``nodes/sn_heads``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swarm.core.fields import COUNT_MAX
from swarm.core.ordering import Answer, Ballot, Campaign, Entries, LogEntry, Message, SnapshotOffered
from swarm.errors import BadInput
from swarm.wire.signed import HASH_BYTES, Entry, decode_entry, decode_proposal

VERSION = 1
VOTERS_MAX = 16
_INTEGERS = frozenset({int})
NAMING = (b"Genesis", b"Configuration", b"ForcedRecovery")


# ---- entries


def log_entry(entry: Entry) -> LogEntry:
    return LogEntry(entry.index, entry.term, entry.hash, entry.raw, _voters(entry))


def _voters(entry: Entry) -> tuple[str, ...] | None:
    """Whom the entry names; whether it may is for the leader to judge before it appends it."""
    if not any(kind in entry.proposal for kind in NAMING):  # nearly all entries: not opened twice
        return None
    try:
        proposal = decode_proposal(entry.proposal)
    except BadInput:
        return None  # the ledger says so when it applies it
    if proposal.kind == "Genesis" and entry.index == 1:
        return (proposal.uid,)
    if proposal.kind == "Configuration":
        return _uids(proposal.body.get("voters"))
    if proposal.kind == "ForcedRecovery":
        return _uids([proposal.body.get("uid")])
    return None


def _uids(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list) or not 0 < len(value) <= VOTERS_MAX:
        return None
    if not all(isinstance(uid, str) and uid for uid in value) or len(set(value)) != len(value):
        return None
    return tuple(value)


# ---- writing


def write_message(message: Message, network_id: bytes) -> dict[str, Any]:
    kind, fields = _fields(message)
    return {"version": VERSION, "network": network_id, "kind": kind, "term": message.term, **fields}


def _fields(message: Message) -> tuple[str, dict[str, Any]]:
    match message:
        case Entries():
            return "entries", {
                "stamp": message.stamp,
                "prev_index": message.prev_index,
                "prev_hash": message.prev_hash,
                "entries": [entry.raw for entry in message.entries],
                "last": message.last,
                "commit": message.commit,
                "one_copy": message.one_copy,
            }
        case SnapshotOffered():
            fields = {"stamp": message.stamp, "index": message.index, "hash": message.hash, "last": message.last}
            return "snapshot", fields
        case Answer():
            return "answer", {
                "stamp": message.stamp,
                "found": message.found,
                "match": message.match,
                "last": message.last,
                "conflict": message.conflict,
            }
        case Campaign():
            fields = {"pre": message.pre, "last_index": message.last_index, "last_term": message.last_term}
            return "campaign", fields
        case Ballot():
            return "ballot", {"pre": message.pre, "granted": message.granted}


# ---- reading


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
    kind = body.get("kind")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader is None:
        raise _malformed("kind")
    return reader(body)


def _entries(body: dict[str, Any]) -> Entries:
    prev_index, prev_hash, raws = _count(body, "prev_index"), _hash(body, "prev_hash"), body.get("entries")
    if not isinstance(raws, list) or not all(isinstance(raw, bytes) for raw in raws):
        raise _malformed("entries")
    term, stamp, last, commit = _counts(body, "term", "stamp", "last", "commit")
    previous = prev_hash
    entries: list[LogEntry] = []
    for index, raw in enumerate(raws, prev_index + 1):
        entry = decode_entry(raw)
        if entry.index != index or entry.prev_hash != previous or entry.term > term:
            raise BadInput(f"a consensus message whose entry {index} does not follow entry {index - 1}")
        entries.append(log_entry(entry))
        previous = entry.hash
    if max(commit, prev_index + len(entries)) > last:
        raise _malformed("last")
    return Entries(term, stamp, prev_index, prev_hash, tuple(entries), last, commit, _flag(body, "one_copy"))


def _snapshot(body: dict[str, Any]) -> SnapshotOffered:
    index, last = _count(body, "index"), _count(body, "last")
    if not 0 < index <= last:
        raise _malformed("index")
    return SnapshotOffered(_count(body, "term"), _count(body, "stamp"), index, _hash(body, "hash"), last)


def _answer(body: dict[str, Any]) -> Answer:
    term, stamp, match, last, conflict = _counts(body, "term", "stamp", "match", "last", "conflict")
    return Answer(term, stamp, _flag(body, "found"), match, last, conflict)


def _campaign(body: dict[str, Any]) -> Campaign:
    term, last_term = _count(body, "term"), _count(body, "last_term")
    if last_term >= term:
        raise _malformed("last_term")
    return Campaign(term, _flag(body, "pre"), _count(body, "last_index"), last_term)


def _ballot(body: dict[str, Any]) -> Ballot:
    return Ballot(_count(body, "term"), _flag(body, "pre"), _flag(body, "granted"))


_READERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "entries": _entries,
    "snapshot": _snapshot,
    "answer": _answer,
    "campaign": _campaign,
    "ballot": _ballot,
}


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value < COUNT_MAX:
        raise _malformed(name)
    return value


def _counts(body: dict[str, Any], *names: str) -> list[int]:
    """The same of several at once: it is done to every message."""
    values: list[Any] = [body.get(name) for name in names]
    if not _INTEGERS.issuperset(map(type, values)) or not 0 <= min(values) <= max(values) < COUNT_MAX:
        return [_count(body, name) for name in names]  # which says what is wrong
    return values


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if type(value) is not bool:
        raise _malformed(name)
    return value


def _hash(body: dict[str, Any], name: str) -> bytes:
    value = body.get(name)
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise _malformed(name)
    return value


def _malformed(name: str) -> BadInput:
    return BadInput(f"a consensus message whose field '{name}' is missing or makes no sense")
