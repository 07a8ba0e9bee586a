"""Proposals that are not yet entries: a line for each organisation while many are under way, and turns between them.

Used by the orderer of who leads. Guarantees:

* while fewer than ``UNDER_WAY_MAX`` entries are under way and nobody waits, a proposal does not wait here;
* of those that wait, each organisation has one taken in its turn, so what one of them proposes by the hundred thousand
  holds up a proposal of another by the entries that are under way, and by one of each organisation that waits;
* an organisation's line is bounded: who is too many is told so at once, and may come back.

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


class Intake:
    def __init__(self) -> None:
        self._lines: OrderedDict[bytes, _Line] = OrderedDict()  # whose turn is next comes first; none is empty
        self._held: list[tuple[int, Asked]] = []  # judged anew once this index is applied
        self._full = False

    # ---- lines

    def lets_through(self, under_way: int) -> bool:
        """One that comes now need not wait."""
        return not self._lines and self._has_room(under_way)

    def line_up(self, asked: Asked) -> bool:
        """Whether its organisation's line has room for one more."""
        line = self._lines.get(asked.by) or _Line()
        added = line.add(asked)
        if added:
            self._lines.setdefault(asked.by, line)
        return added

    def next(self, under_way: int) -> Asked | None:
        """Whose turn it is, if there is somebody and there is room."""
        if not self._lines or not self._has_room(under_way):
            return None
        by, line = self._lines.popitem(last=False)
        asked = line.take(next(iter(line.asked)))
        if line.asked:
            self._lines[by] = line
        return asked

    def _has_room(self, under_way: int) -> bool:
        self._full = under_way >= UNDER_WAY_MAX or (self._full and under_way > UNDER_WAY_MAX // 2)
        return not self._full

    # ---- what rests on an entry that is under way

    def hold(self, index: int, asked: Asked) -> None:
        self._held.append((index, asked))

    def due(self, index: int) -> list[Asked]:
        """Held until this was applied."""
        due = [asked for needed, asked in self._held if needed <= index]
        if due:
            self._held = [(needed, asked) for needed, asked in self._held if needed > index]
        return due

    # ---- both

    def forget(self, number: int) -> None:
        self._held = [(index, asked) for index, asked in self._held if asked.number != number]
        for by, line in self._lines.items():
            if number in line.asked:
                line.take(number)
                if not line.asked:
                    del self._lines[by]
                return

    def release(self) -> list[int]:
        """Nobody waits here any longer: who did."""
        numbers = [asked.number for _, asked in self._held]
        numbers += [number for line in self._lines.values() for number in line.asked]
        self._held, self._lines = [], OrderedDict()
        return numbers
