"""Last words: a process that stops says so for itself, and nobody can for another."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarm.core.names import uid_of
from swarm.errors import BadInput, IdentityError
from swarm.wire.lastwords import last_words, who_goes

NETWORK, INCARNATION = b"n" * 32, b"i" * 16
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
WORDS = last_words(KEY, NETWORK, INCARNATION)


def test_they_name_the_process_that_has_said_them() -> None:
    assert who_goes(WORDS, NETWORK) == (uid_of(KEY.public_key().public_bytes_raw()), INCARNATION)


@pytest.mark.parametrize("place", range(0, len(WORDS), 7))
def test_words_that_were_changed_are_nobodys(place: int) -> None:
    changed = WORDS[:place] + bytes([WORDS[place] ^ 1]) + WORDS[place + 1 :]
    with pytest.raises(IdentityError, match="are not signed with its node key"):
        who_goes(changed, NETWORK)


def test_words_of_another_network_are_nobodys() -> None:
    with pytest.raises(IdentityError):
        who_goes(WORDS, b"o" * 32)


@pytest.mark.parametrize("words", [b"", WORDS[1:], WORDS + b"x", None, "a", 5, [WORDS]])
def test_what_are_no_words_is_refused(words: Any) -> None:
    with pytest.raises(BadInput, match="last words that cannot be read"):
        who_goes(words, NETWORK)
