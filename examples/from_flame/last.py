"""The lines of a report (JSON, one a line): the last value of a field.

    last.py REPORT EVENT FIELD
"""

import json
import sys

report, event, field = sys.argv[1:]
with open(report, encoding="utf-8") as file:
    found = [line[field] for line in map(json.loads, file) if line.get("event") == event]
print(found[-1] if found else -1)
