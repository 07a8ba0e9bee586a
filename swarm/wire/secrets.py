"""Passwords and tokens, which no task may hold: what it says instead, and what gives one away.

Used by `wire/taskfile` (no password gets into the ledger), `nodes/secrets` (an operator puts its own in their place)
and `nodes/collecting` (none leaves a host in an archive of logs). A task says ``secret:NAME``; what that is, each
operator's own file says.
"""

from __future__ import annotations

import re

PREFIX = "secret:"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_TELLING = re.compile(r"(?:^|[_.-])(?:PASSWORD|PASSWD|PASSPHRASE|TOKEN|SECRET|API_?KEY|SECRET_?KEY|ACCESS_?KEY)$", re.I)

HIDDEN = "(hidden)"
_ASSIGNED = re.compile(
    r"""(?isx) ((?:password|passwd|passphrase|token|secret|api_?key|access_?key)\\*["']?[ \t]*[:=][ \t]*)
    (?: (?P<quote>\\*["']) .{0,4096}? (?<!\\)(?P=quote) | [^\s,;}\]]+ )"""
)
"""A quote of JSON within JSON has backslashes before it: the value ends at the next one that has as many."""
_IN_URI = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@:]{0,256}:[^\s/@]{1,256}@", re.I)
_BEARER = re.compile(r"(?i)\b((?:bearer|basic)\s+)[A-Za-z0-9._~+/=-]{8,}")
_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S)


def secret_name(text: str) -> str | None:
    """NAME of ``secret:NAME``; None for any other text. Raises ValueError for a name that is none."""
    if not text.startswith(PREFIX):
        return None
    name = text.removeprefix(PREFIX)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:40]!r} is no name of a secret: expected letters, digits and . _ -, at most 64")
    return name


def tells_a_secret(name: str, value: str) -> bool:
    """Whether a variable of this name holds, in clear, what is meant for few."""
    return bool(value) and not value.startswith(PREFIX) and _TELLING.search(name) is not None


def hidden(text: str) -> str:
    """A text that may be shown: without private keys, and without what stands where passwords and tokens stand."""
    text = _KEY.sub(HIDDEN, text)
    text = _ASSIGNED.sub(lambda hit: hit[1] + HIDDEN, text)
    text = _IN_URI.sub(lambda hit: f"{hit[1]}{HIDDEN}@", text)
    return _BEARER.sub(lambda hit: hit[1] + HIDDEN, text)
