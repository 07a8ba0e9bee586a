"""Organisations: the CAs that the ledger has admitted, their printed names, and which one a text means.

Used by the ledger. Guarantees: an organisation is its CA's public key; a name that two share never stands for either.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarm.core.claims import Anchored
from swarm.errors import Refused

_KEY = re.compile(r"sha256:([0-9a-f]{64})")

Anchors = Mapping[bytes, Anchored]


def label(anchors: Anchors, anchor: bytes) -> str:
    """An organisation's printed name: with #8hex if two share it."""
    name = anchors[anchor].name
    shared = sum(other.name == name for other in anchors.values()) > 1
    return f"{name}#{anchor.hex()[:8]}" if shared else name


def key_of(anchors: Anchors, text: str) -> str:
    """``sha256:...`` of the one organisation that a name, a label or a key's hash means."""
    if _KEY.fullmatch(text):
        return text
    for key in sorted(anchors):
        if label(anchors, key) == text:
            return f"sha256:{key.hex()}"
    shared = [f"sha256:{key.hex()}" for key in sorted(anchors) if anchors[key].name == text]
    if shared:
        raise Refused(f"two organisations are named {text}", hint=f"write the one that is meant: {' or '.join(shared)}")
    raise Refused(f"no organisation {text!r} is admitted to this network", hint="swarm org admit CA.pem")
