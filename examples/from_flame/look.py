"""What a JSON object on standard input says: the value at each path, one a line.

    swarm status digits --json | look.py state slots.0.state
"""

import json
import sys

said = json.load(sys.stdin)
for path in sys.argv[1:]:
    value = said
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    print("" if value is None else value if isinstance(value, str) else json.dumps(value))
