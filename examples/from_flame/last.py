"""The lines of a report (JSON, one a line): the last value of a field; -1: none.

    last.py REPORT EVENT FIELD
"""

import json
import sys
from pathlib import Path

report, event, field = sys.argv[1:]
try:
    lines = Path(report).read_text(encoding="utf-8").splitlines()
except FileNotFoundError:
    lines = []
found = [line[field] for line in map(json.loads, lines) if line.get("event") == event]
print(found[-1] if found else -1)
