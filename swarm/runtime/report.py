"""The log of a node: HPE's line format, on stderr and in STATE/logs.

Called once by each command that runs a node; everybody else just uses `logging.getLogger("swarm.…")`. Guarantees:
stdout stays free; the files stay below 60 MB; a full disk costs the file, not the node.
"""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import sys
from logging.handlers import RotatingFileHandler
from pathlib import Path

from swarm.errors import BadInput

FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_FILE_BYTES = 10_000_000
_FILES_KEPT = 5

_file: _LogFile | None = None


def start(state: Path | None, level: str | None = None, *, name: str = "swarm") -> None:
    """Log to stderr, and to `state`/logs/`name`.log; `level` is what --log-level said.

    Raises:
        BadInput: no such level.
    """
    global _file
    threshold = _level(level)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if getattr(handler, "of_swarm", False)]:
        root.removeHandler(handler)
        with contextlib.suppress(OSError, ValueError):  # what a full disk has kept from being written
            handler.close()
    _file = None
    _attach(root, logging.StreamHandler(sys.stderr))
    if state is not None:
        path = state / "logs" / f"{name}.log"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _file = _LogFile(path, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
        except OSError as error:
            raise BadInput(f"log file {path} cannot be written: {error.strerror}") from error
        _attach(root, _file)
    root.setLevel(logging.WARNING)  # libraries
    logging.getLogger("swarm").setLevel(threshold)
    logging.getLogger("SwarmCallback").setLevel(threshold)


def log_file() -> Path | None:
    return Path(_file.baseFilename) if _file else None


def to_file(text: str, error: BaseException | None = None) -> None:
    """Keep something for the log file that stderr says in its own way: how the command ended."""
    if _file:
        info = (type(error), error, error.__traceback__) if error else None
        _file.handle(logging.LogRecord("swarm", logging.ERROR, __file__, 0, text, None, info))


def _attach(root: logging.Logger, handler: logging.Handler) -> None:
    handler.setFormatter(_Formatter(FORMAT))
    handler.of_swarm = True  # type: ignore[attr-defined]
    root.addHandler(handler)


def _level(flag: str | None) -> str:
    """The flag, else SWARM_LOG_LEVEL, else HPE's SL_LOG_LEVEL, else INFO."""
    sources = [("--log-level", flag)]
    sources += [(name, os.environ.get(name)) for name in ("SWARM_LOG_LEVEL", "SL_LOG_LEVEL")]
    for source, text in sources:
        if text:
            level = text.upper()
            if level not in LEVELS:
                near = difflib.get_close_matches(level, LEVELS, n=1)
                hint = f"did you mean {near[0]}?" if near else ""
                raise BadInput(f"{source} is {text[:40]!r}, expected one of {' '.join(LEVELS)}", hint=hint)
            return level
    return "INFO"


class _Formatter(logging.Formatter):
    """Whatever text of others a line quotes, it forges no other line and moves no cursor."""

    def format(self, record: logging.LogRecord) -> str:
        first, *more = super().format(record).split("\n")
        return "\n".join([_printable(first), *(f"  {_printable(line)}" for line in more)])


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in line)


class _LogFile(RotatingFileHandler):
    """A file that says once, on stderr, that it cannot be written."""

    _silenced = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self._silenced:
            self._silenced = True
            reason = sys.exc_info()[1]
            with contextlib.suppress(OSError, ValueError):
                print(f"warning: log file {self.baseFilename} cannot be written: {reason}", file=sys.stderr)
