"""docs/coming-from.md has every row once, and none is done without a test that shows it."""

import importlib
import re

from tests.test_documents import named_tests, rows_of

PAGE = "docs/coming-from.md"
ROWS = {"A": 51, "B": 30, "C": 37, "D": 37}
REPLAYED = re.compile(r"tests/examples/(test_from_\w+)\.py::")


def test_every_row_is_there_once_and_says_what_shows_it_or_why_not():
    rows = [row for row in rows_of(PAGE) if re.fullmatch(r"[A-D]-\d\d", row[0])]
    assert [row[0] for row in rows] == [
        f"{system}-{number:02}" for system, count in ROWS.items() for number in range(1, count + 1)
    ]
    for row in rows:
        assert len(row) == 4, row
        name, what, state, shown = row
        assert what
        tests = named_tests(name, shown)
        assert state in ("done", "planned", "out"), row
        assert bool(tests) == (state == "done"), row
        assert state != "out" or shown, f"{name} is out, and nothing says why"


def test_a_row_that_a_script_shows_is_one_that_its_test_asks_for():
    for name, _, _, shown in (row for row in rows_of(PAGE) if re.fullmatch(r"[A-D]-\d\d", row[0])):
        for module in REPLAYED.findall(shown):
            rows = importlib.import_module(f"tests.examples.{module}").ROWS
            if name[0] == next(iter(rows))[0]:
                assert name in rows, f"{name} is shown by {module}, which does not ask for it"
