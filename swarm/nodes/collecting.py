"""An archive of what nodes and programs on this host have written, to send to somebody who is to help.

Used by `swarmLogCollector`. Its layout is that of HPE's where that means something: one directory with ``out.log`` (the
host, its versions, its packages), a log and a description of each component (``sn_<version>_<n>.log``,
``sn_inspect_<version>_<n>.log``; ``swop``, ``sl``, ``swci``, and ``user`` for training programs), and of a workspace
the profiles and task files. Guarantees: only logs, descriptions and YAML files are read, never a key or a certificate;
whatever stands where passwords and tokens stand is hidden; the archive is there as a whole, readable by its owner.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path

import swarm
from swarm.errors import BadInput
from swarm.nodes.logs import Log, logs
from swarm.runtime.statedir import in_use
from swarm.wire.secrets import hidden

LOG_BYTES_MAX = 50_000_000
"""Of each log its end."""
YAML_BYTES_MAX = 1_000_000
_ROLES = ("swop", "swci", "sn", "sl")
_YAMLS = ("swci/taskdefs/*.y*ml", "swci/*.y*ml", "swop/*.y*ml")


@dataclass(frozen=True)
class Collected:
    archive: Path
    names: tuple[str, ...]
    """Of its files."""


def collect(base: Path, workspace: Path | None, out: Path, now: datetime) -> Collected:
    """Make the archive in `out`. `base`: the directory of all state directories, or one of them."""
    if workspace is not None and not workspace.is_dir():
        raise BadInput(f"bad directory: workspace={workspace} is none")
    host = platform.node().partition(".")[0] or "host"
    name = f"swarm_logs_{host}_{now.astimezone(UTC):%Y%m%d%H%M%S}"
    files = [("out.log", _about_host(base)), *_components(base), *(_workspace(workspace) if workspace else ())]
    archive = out / f"{name}.tar.gz"
    part = archive.with_suffix(".part")
    try:
        out.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        opened = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # nobody else has it open
        with open(opened, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as tar:
            for path, text in files:
                _add(tar, f"{name}/{path}", text, now)
        part.replace(archive)
    except OSError as error:
        raise BadInput(f"{archive} cannot be written: {error.strerror}", hint="--out DIR names another place") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    return Collected(archive, tuple(path for path, _ in files))


def _add(tar: tarfile.TarFile, path: str, text: str, now: datetime) -> None:
    data = hidden(text).encode()
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.mtime = len(data), 0o600, int(now.timestamp())
    tar.addfile(info, io.BytesIO(data))


def _about_host(base: Path) -> str:
    disk = shutil.disk_usage(base if base.exists() else base.anchor)
    packages = sorted(f"{one.metadata['Name']}=={one.version}" for one in distributions())
    lines = [
        f"swarm {swarm.__version__}",
        f"{platform.platform()}, {os.cpu_count()} cores",
        f"Python {platform.python_version()} ({platform.python_implementation()})",
        f"user {os.getuid()}:{os.getgid()}",
        f"disk of {base}: {disk.free} of {disk.total} bytes free",
        *_graphics_cards(),
        "",
        "packages:",
        *(f"  {one}" for one in packages),
    ]
    return "\n".join(lines) + "\n"


def _graphics_cards() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return ["no nvidia-smi"]
    try:
        shown = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"nvidia-smi: {error}"]
    return (shown.stdout or shown.stderr).splitlines()


def _components(base: Path) -> Iterator[tuple[str, str]]:
    counted: Counter[str] = Counter()
    for log in sorted(logs(base), key=lambda log: str(log.path)):
        role = _role(log)
        counted[role] += 1
        number = f"{swarm.__version__}_{counted[role]}"
        if role == "user":
            yield f"user_{counted[role]}.log", _end(log)
            continue
        yield f"{role}_{number}.log", _end(log)
        if log.path.name != "sl.log":  # of a slot the operator's description says enough
            yield f"{role}_inspect_{number}.log", _about(log, _state(log))


def _role(log: Log) -> str:
    """By what lies in its state directory, and where that is not told apart by its name."""
    if log.path.name in ("ml.log", "sl.log"):
        return "user" if log.path.name == "ml.log" else "sl"
    state = _state(log)
    for role, file in (("swop", "slots"), ("sn", "ledger.db"), ("sl", "report.jsonl")):
        if (state / file).exists():
            return role
    return next((role for role in _ROLES if state.name.startswith(role)), "node")


def _state(log: Log) -> Path:
    return log.path.parent.parent if log.path.parent.name == "logs" else log.path.parent


def _end(log: Log) -> str:
    with log.path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOG_BYTES_MAX))
        text = file.read().decode("utf-8", "replace")
    return f"{log.path}, the last {LOG_BYTES_MAX} of {size} bytes\n{text}" if size > LOG_BYTES_MAX else text


def _about(log: Log, state: Path) -> str:
    """What its state directory says of a node, without opening anything but what it wrote when it was ready."""
    files = sorted(path for path in state.rglob("*") if path.is_file() and not path.is_symlink())
    ready = state / "ready.json"
    try:
        said = json.loads(ready.read_text(encoding="utf-8")) if ready.is_file() else None
    except (OSError, ValueError):
        said = None
    about = {
        "name": log.name,
        "state": str(state),
        "running": in_use(state),
        "ready": said,
        "files": {str(path.relative_to(state)): path.stat().st_size for path in files},
    }
    return json.dumps(about, indent=2) + "\n"


def _workspace(workspace: Path) -> Iterator[tuple[str, str]]:
    """Its profiles and task files, of the workspace itself or of the examples in it."""
    found = {path for above in ("", "*/", "*/*/") for pattern in _YAMLS for path in workspace.glob(above + pattern)}
    for path in sorted(found):
        if path.is_file() and path.stat().st_size <= YAML_BYTES_MAX:
            yield f"workspace/{path.relative_to(workspace)}", path.read_text(encoding="utf-8", errors="replace")
