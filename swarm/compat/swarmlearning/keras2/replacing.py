"""Attributes of Keras replaced for as long as it takes, and what people are told of it.

Used by the files beside this one. Guarantees: `undo` leaves every owner as it was found; each warning comes once a
process, whatever calls it.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_ABSENT = object()
_said: set[str] = set()


class Replacing:
    def __init__(self) -> None:
        self._undo: list[tuple[Any, str, Any]] = []

    def put(self, owner: Any, name: str, value: Any) -> None:
        """Have the class or module show this under the name."""
        self._undo.append((owner, name, vars(owner).get(name, _ABSENT)))
        setattr(owner, name, value)

    def everywhere(self, name: str, old: Any, new: Any) -> None:
        """The same in all modules that bound the name to the old: of Keras, of TensorFlow, and of the program."""
        for module in list(sys.modules.values()):
            if getattr(module, "__dict__", {}).get(name) is old:
                self.put(module, name, new)

    def undo(self) -> None:
        while self._undo:
            owner, name, before = self._undo.pop()
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)


def warn_once(text: str) -> None:
    """Of an idiom of Keras 2, at the program's line."""
    if text in _said:
        return
    _said.add(text)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and Path(frame.f_code.co_filename).parent == _HERE:
        frame, level = frame.f_back, level + 1
    warnings.warn(f"{text} [swarmlearning.tf]", UserWarning, stacklevel=level)
