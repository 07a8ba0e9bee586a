"""The next release, as a test makes it: a copy of this one that knows one version of the ledger's rules more.

What it changes is what a release that changes the rules changes: the version, a kind that came with it, who may propose
it and what it does.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from swarm.core.rules import KNOWN

ROOT = Path(__file__).resolve().parents[2]
NEXT = KNOWN + 1
CHANGES = (
    ("core/rules.py", f"KNOWN = {KNOWN}\n", f"KNOWN = {NEXT}\n"),
    ("core/rules.py", "SINCE: dict[str, int] = {", f'SINCE: dict[str, int] = {{"Greeted": {NEXT}, '),
    ("core/kinds.py", '    "NodeLeft": {},\n', '    "NodeLeft": {},\n    "Greeted": {"text": REASON},\n'),
    (
        "core/policy.py",
        '    "NodeLeft": (_EVERYBODY, "none"),\n',
        '    "NodeLeft": (_EVERYBODY, "none"),\n    "Greeted": (_SWCI, "none"),\n',
    ),
    (
        "core/ledger.py",
        '            "NodeLeft": self._node_left,\n',
        '            "NodeLeft": self._node_left,\n'
        '            "Greeted": lambda claim, header: ({"heard": claim.body["text"]}, []),\n',
    ),
)


def environment(place: Path) -> dict[str, str]:
    """Of processes that run the release in this place: whatever directory they are started in."""
    return {"PYTHONPATH": str(place), "PYTHONSAFEPATH": "1"}


def next_release(place: Path) -> Path:
    shutil.copytree(ROOT / "swarm", place / "swarm", ignore=shutil.ignore_patterns("__pycache__"))
    for name, before, after in CHANGES:
        path = place / "swarm" / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has changed: {before!r}"
        path.write_text(text.replace(before, after), encoding="utf-8")
    return place
