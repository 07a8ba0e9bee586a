"""Tags: words as %DATA in the command and variables of a job, for which its operator puts what only its host knows.

Used by `wire/jobsfile`, which sees that none is missing, and by `nodes/jobbing`, which fills them in. Guarantee: a tag
is a whole word of %, capital letters, digits and _, so that %DATA never is the beginning of %DATA_2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

TAG = re.compile(r"%[A-Z][A-Z0-9_]{0,39}(?![A-Z0-9_])")


def tags_of(texts: Iterable[str]) -> set[str]:
    return {tag for text in texts for tag in TAG.findall(text)}


def filled(text: str, values: Mapping[str, str], as_word: Callable[[str], str] = str) -> str:
    """The text with every tag that has a value replaced by it, as ``as_word`` writes it; others stay as they are."""
    return TAG.sub(lambda found: as_word(values[found[0]]) if found[0] in values else found[0], text)
