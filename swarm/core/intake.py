"""Proposals that are not yet entries: a line for each organisation while many are under way, and turns between them.

Used by the orderer of who leads. Guarantees:

* while fewer than ``UNDER_WAY_MAX`` entries are under way and nobody waits, a proposal does not wait here;
* of those that wait, each organisation has one taken in its turn, so what one of them proposes by the hundred thousand
  holds up a proposal of another by the entries that are under way, and by one of each organisation that waits;
* an organisation's line is bounded, and so is what it has that may rest on entries under way: who is too many is told
  so at once, and may come back.

Whose line it is follows from who asked, by its certificate, not from what the proposal says of its author: nobody fills
the line of another. What a network node passes on counts for the organisation that asked it, by its word.
"""

from __future__ import annotations

from collections import OrderedDict

from swarm.core.asking import Asked

UNDER_WAY_MAX = 1024
"""Entries made and not yet applied; when there were so many, no more are made before half of them are applied: pieces
of some hundred entries cost a fraction of as many single ones."""
LINE_MAX = 4096
LINE_BYTES_MAX = 8 * 1024 * 1024


class _Line:
    def __init__(self) -> None:
        self.asked: OrderedDict[int, Asked] = OrderedDict()
        self.bytes = 0

    def add(self, asked: Asked) -> bool:
        if len(self.asked) >= LINE_MAX or self.bytes + len(asked.raw) > LINE_BYTES_MAX:
            return False
        self.asked[asked.number] = asked
        self.bytes += len(asked.raw)
        return True

    def take(self, number: int) -> Asked:
        asked = self.asked.pop(number)
        self.bytes -= len(asked.raw)
        return asked


_Lines = OrderedDict[bytes, _Line]  # by organisation


class Intake:
    def __init__(self) -> None:
        self._lines: _Lines = OrderedDict()  # whose turn is next comes first; none is empty
        self._holds: _Lines = OrderedDict()
        self._held: OrderedDict[int, tuple[int, bytes]] = OrderedDict()
        """By number: judged anew once this index is applied; whose it is. A later one needs no earlier index."""
        self._full = False

    # ---- lines

    def lets_through(self, under_way: int) -> bool:
        """One that comes now need not wait."""
        return not self._lines and self._has_room(under_way)

    def line_up(self, asked: Asked) -> bool:
        """Whether its organisation's line has room for one more."""
        return _add(self._lines, asked)

    def next(self, under_way: int) -> Asked | None:
        """Whose turn it is, if there is somebody and there is room."""
        if not self._lines or not self._has_room(under_way):
            return None
        by, line = next(iter(self._lines.items()))
        self._lines.move_to_end(by)
        return _take(self._lines, by, next(iter(line.asked)))

    def _has_room(self, under_way: int) -> bool:
        self._full = under_way >= UNDER_WAY_MAX or (self._full and under_way > UNDER_WAY_MAX // 2)
        return not self._full

    # ---- what rests on an entry that is under way

    def hold(self, index: int, asked: Asked) -> bool:
        """Whether its organisation may have one more that is judged anew."""
        if added := _add(self._holds, asked):
            self._held[asked.number] = index, asked.by
        return added

    def due(self, index: int) -> list[Asked]:
        """Held until this was applied."""
        due: list[Asked] = []
        while self._held and next(iter(self._held.values()))[0] <= index:
            number, (_, by) = self._held.popitem(last=False)
            due.append(_take(self._holds, by, number))
        return due

    # ---- both

    def forget(self, number: int) -> None:
        if number in self._held:
            _, by = self._held.pop(number)
            _take(self._holds, by, number)
        for by, line in self._lines.items():
            if number in line.asked:
                _take(self._lines, by, number)
                return

    def release(self) -> list[int]:
        """Nobody waits here any longer: who did."""
        numbers = [*self._held, *(number for line in self._lines.values() for number in line.asked)]
        self._lines, self._holds, self._held = OrderedDict(), OrderedDict(), OrderedDict()
        return numbers


def _add(lines: _Lines, asked: Asked) -> bool:
    line = lines.get(asked.by) or _Line()
    added = line.add(asked)
    if added:
        lines.setdefault(asked.by, line)
    return added


def _take(lines: _Lines, by: bytes, number: int) -> Asked:
    asked = lines[by].take(number)
    if not lines[by].asked:
        del lines[by]
    return asked
