"""What may come next in a line: words of commands, and names of what there is.

Pure; used by the console with the grammar's syntaxes. Guarantee: a line that is completed to its end by what is offered
here is one that the grammar reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from swarm.nodes.swci.grammar import Syntax, tokens

Names = Mapping[str, Sequence[str]]
"""By the argument's name in the syntaxes: task, taskrunner, contract, …"""


def partial(line: str) -> str:
    """The word that is being typed; empty behind a blank."""
    return "" if not line or line[-1].isspace() else line.split()[-1]


def candidates(line: str, syntaxes: Iterable[Syntax], names: Names) -> list[str]:
    """What the word that is being typed may become. Words of commands come in the case in which they were begun."""
    begun = partial(line)
    before = tokens(line)[: -1 if begun else None]
    found: dict[str, None] = {}
    for syntax in syntaxes:
        part = _next(syntax, [token.word for token in before])
        if part is None:
            continue
        if _is_argument(part):
            offered = [name for name in names.get(part.strip("<>[]."), ()) if name.startswith(begun)]
        else:
            offered = [_cased(part, begun)] if part.startswith(begun.upper()) else []
        found |= dict.fromkeys(offered)
    return list(found)


def _next(syntax: Syntax, words: Sequence[str]) -> str | None:
    """The part that comes behind these words, if they are the beginning of a line of this syntax."""
    parts = syntax.parts
    if len(words) >= len(parts):
        return None
    fits = all(_is_argument(part) or part == word for part, word in zip(parts, words, strict=False))
    return parts[len(words)] if fits else None


def _is_argument(part: str) -> bool:
    return part[0] in "<["


def _cased(word: str, begun: str) -> str:
    return word.lower() if begun and begun == begun.lower() else word
