"""What the ledger takes in: an entry's header, and what the verifier found out about its proposal.

Made by `wire/signed` (in the simulator by a codec of its own), judged by the ledger. Plain data: who is meant by a
claim has been checked, whether the claim is right has not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm.core.names import Identity


@dataclass(frozen=True, slots=True)
class EntryHeader:
    """What an entry says besides its proposal. ``time`` is the leader's, in ms, and judges certificates only."""

    index: int
    term: int
    time: int
    prev_hash: bytes
    hash: bytes


@dataclass(frozen=True, slots=True)
class Anchored:
    """An organisation's CA as the verifier read it: the certificate, its public key's SHA-256, its printed name."""

    certificate: bytes
    spki_sha256: bytes
    name: str


@dataclass(frozen=True, slots=True)
class Verified:
    """A proposal whose signatures are good. ``digest`` is the SHA-256 of the signed bytes.

    ``identity`` and ``node_key`` are set where the author introduces itself (Genesis, NodeJoined, ForcedRecovery),
    ``anchors`` where the proposal brings CAs (Genesis, OrganisationAdmitted).
    """

    uid: str
    incarnation: bytes
    seq: int
    kind: str
    body: dict[str, Any]
    network_id: bytes
    digest: bytes
    identity: Identity | None = None
    node_key: bytes = b""
    anchors: tuple[Anchored, ...] = ()


@dataclass(frozen=True, slots=True)
class Unverified:
    """A proposal that nobody can be held to: why, as the sentence, hint and code of an error."""

    reason: str
    hint: str = ""
    code: int = 3


@dataclass(frozen=True, slots=True)
class Blank:
    """A leader's entry without a proposal, at the start of its term: changes nothing."""

    digest = b""


Claim = Verified | Unverified | Blank
