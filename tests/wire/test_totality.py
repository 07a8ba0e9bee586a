"""Whatever an author signs is verified and judged: well signed nonsense of every kind is refused, and ends nothing."""

from __future__ import annotations

import random
from typing import Any

import msgpack
import pytest

from swarm.core.kinds import FIELDS, INTRODUCTIONS
from swarm.wire import certs, signed
from swarm.wire.entrycodec import SignedCodec
from swarm.wire.signed import decode_entry, make_entry, verify
from tests.core.test_totality import NASTY
from tests.wire.test_signed import NOW_MS, Author, Network

SEEDS = 10
STEPS = 60


class Signer:
    """Signs what `sign_proposal` would not: any header, any body."""

    def __init__(self, seed: int, network: Network, authors: list[Author]) -> None:
        self.chance = random.Random(seed)
        self.network, self.authors = network, authors

    def body(self, kind: str, author: Author) -> Any:
        chance = self.chance
        if chance.random() < 0.1:
            return chance.choice(NASTY)
        body = {name: self.value(name, author) for name in FIELDS.get(kind, ("x",)) if chance.random() < 0.9}
        return {
            **body,
            **({chance.choice(["", "joined", "more"]): chance.choice(NASTY)} if chance.random() < 0.2 else {}),
        }

    def value(self, name: str, author: Author) -> Any:
        chance, joined = self.chance, author.joined()
        likely: dict[str, list[Any]] = {
            **{field: [value] for field, value in joined.items()},
            "uid": [each.uid for each in self.authors],
            "ca": [joined["chain"][0], b"no certificate"],
            "anchors": [[joined["chain"][0]], [b"no certificate"]],
            "joined": [joined, {}],
            "contract": ["c"], "round": [0], "attempt": [0], "shard": [1], "snap": [bytes(32)],
            "first": [{"digest": bytes(32), "signature": bytes(64)}],
            "voters": [[author.uid]], "epoch": [1], "lost_after": [1], "reason": [""], "rules": [1], "created": [0],
        }  # fmt: skip
        return chance.choice(likely[name] if name in likely and chance.random() < 0.8 else NASTY)

    def proposal(self, kind: str, author: Author) -> bytes:
        chance = self.chance
        author.seq += 1
        introduces = kind in INTRODUCTIONS and chance.random() < 0.95
        brought = [author.public, [*author.joined()["chain"]] * chance.choice([1, 1, 2])] if introduces else [b"", []]
        network_id = self.network.ledger.network_id if chance.random() < 0.95 else bytes(32)
        header = msgpack.packb([1, network_id, author.uid, author.incarnation, author.seq, kind, *brought])
        payload = msgpack.packb(self.body(kind, author))
        said = signed._signed(header, payload)
        certificate = certs.cert_sign(author.certificate_key, said) if introduces else b""
        return bytes(msgpack.packb([header, payload, author.node_key.sign(said), certificate]))


@pytest.mark.parametrize("seed", range(SEEDS))
def test_well_signed_nonsense_becomes_an_outcome_everywhere(seed: int, organisation: Any) -> None:
    ours = organisation("a")
    network = Network(ours)
    authors = [Author(role, (ours.cert(role), ours.key(role)), role.encode()) for role in ("sn", "sl", "swop", "swci")]
    for author in authors:
        assert network.join(author).accepted
    signer, codec, ledger = Signer(seed, network, authors), SignedCodec(), network.ledger
    for _ in range(STEPS):
        author = signer.chance.choice(authors)
        raw = signer.proposal(signer.chance.choice([*FIELDS, "Unknown"]), author)
        entry = make_entry(ledger.head_index + 1, 1, max(NOW_MS, ledger.time), ledger.head_hash, raw)
        made = codec.make(entry.index, entry.term, entry.time, entry.prev_hash, raw)
        assert (made.hash, decode_entry(made.raw)) == (entry.hash, entry)
        ledger.apply(entry.header, verify(entry, ledger))
        ledger.check()
