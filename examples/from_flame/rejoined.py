"""How soon who joined again takes part: the round its contract was in just then, and the first one merged with it.

    rejoined.py REPORT      exit code 1: it has not joined again, or merged nothing since
"""

import json
import sys
from pathlib import Path

joined = merged = None
for line in map(json.loads, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()):
    match line:
        case {"event": "enrolled", "joined": "again"}:
            joined, merged = line["round"], None
        case {"event": "round", "how": "merged"} if merged is None:
            merged = line["round"]
if joined is None or merged is None:
    sys.exit(1)
print(joined, merged)
