"""What a learning node has done so far, one JSON object a line in STATE/report.jsonl: for views and for checks.

Written by ``nodes/learning`` and ``nodes/sl``; read by ``swarm demo|run|bench``, and by the operator for its verdict.
Guarantees: a line counts when it is complete; a full disk ends nothing, and what it did not take is written later.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

OWED_MAX = 1 << 20
"""Bytes that wait for the disk: more than that of what only views read is left out."""
VIEWED = ("phase", "round", "waiting")

log = logging.getLogger("swarm.SL")


class Progress:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._owed = b""
        self._told = False

    def line(self, event: str, **fields: Any) -> None:
        if event in VIEWED and len(self._owed) > OWED_MAX:
            return
        self._owed += json.dumps({"event": event, **fields}).encode() + b"\n"
        try:
            while self._owed:
                self._owed = self._owed[os.write(self._file, self._owed) :]
            self._told = False
        except OSError as error:
            if not self._told:
                log.warning("%s cannot be written at present: %s", self._path, error.strerror)
            self._told = True

    def close(self) -> None:
        os.close(self._file)
