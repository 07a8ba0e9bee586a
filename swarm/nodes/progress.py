"""What a learning node has done so far, one JSON object a line in STATE/report.jsonl: for views and for checks.

Written by ``nodes/learning``; read by ``swarm demo|run|bench``. Guarantee: a line is complete or not there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


class Progress:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self.rounds = 0

    def line(self, event: str, **fields: Any) -> None:
        self._file.write(json.dumps({"event": event, **fields}) + "\n")

    def close(self) -> None:
        self._file.close()
