"""Published code at a network node: files named by the SHA-256 of their bytes, taken and given in pieces.

Used by `nodes/sn`, for the verbs ``code_put`` (of a SWCI) and ``code`` (of participants, and of other network nodes).
The ledger holds the hashes only. Guarantees: what is given under a hash was taken whole and had it; nothing that was
taken is run, unpacked or read as anything but bytes; the room for it is bounded, and what no task names makes room
first, as does whatever an organisation's tasks name beyond its share. What this node lacks it looks for at the others,
piece by piece, for whoever asks.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from threading import Lock
from typing import Any

import trio

from swarm.core.ledger import Ledger
from swarm.errors import BadInput, Refused, SwarmError
from swarm.runtime.control import Handler, Link
from swarm.wire import manifest

PIECE = 256 * 1024
BLOCK = 4096
"""What a file takes of the room at least, so that their number is bounded, too."""
ROOM = 256 * 1024 * 1024
SHARES = 4
"""So much of the room, divided by this, stays for what the tasks of one organisation name."""
ASKED_S = 5.0
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class CodeStore:
    """``path``: a directory of its own; ``others``: the links to other network nodes."""

    def __init__(self, path: Path, ledger: Callable[[], Ledger], others: Callable[[], Iterable[Link]]) -> None:
        self._path = path
        self._ledger, self._others = ledger, others
        self._one_at_a_time = Lock()
        for part in path.glob("*.part"):  # of a process before this one
            part.unlink(missing_ok=True)

    def handlers(self) -> dict[str, Handler]:
        return {"code_put": self._put, "code": self._get}

    # ---- taking

    async def _put(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        """Take the piece that is next; says from where on the rest is wanted, which is the size when it has all."""
        match body:
            case {"hash": str(digest), "size": int(size), "at": int(at), "data": bytes(data)}:
                fits = 0 <= size <= manifest.PUBLISHED_MAX and 0 <= at <= size and len(data) <= PIECE
                if fits and at + len(data) <= size:
                    return {"have": await trio.to_thread.run_sync(self._take, link.peer.uid, digest, size, at, data)}
        raise BadInput(f"{link.peer} sends a piece of code in another form than this release knows")

    def _take(self, author: str, digest: str, size: int, at: int, data: bytes) -> int:
        with self._one_at_a_time:
            return self._taken(author, digest, size, at, data)

    def _taken(self, author: str, digest: str, size: int, at: int, data: bytes) -> int:
        place = self._place(digest)
        if place.exists():
            return size
        part = place.with_name(f"{place.name}.{author}.part")
        have = part.stat().st_size if part.exists() else 0
        if at != have:
            return have
        self._make_room(size if at == 0 else len(data), part)  # others grow meanwhile
        with part.open("ab") as file:
            file.write(data)
        if have + len(data) < size:
            return have + len(data)
        found = hashlib.sha256(part.read_bytes()).hexdigest()
        if found != place.name:
            part.unlink()
            raise BadInput(f"what was sent as {digest} has the hash sha256:{found}")
        part.rename(place)
        return size

    def _make_room(self, size: int, keep: Path) -> None:
        self._path.mkdir(mode=0o700, exist_ok=True)
        used = {path: path.stat() for path in self._path.iterdir()}
        free = ROOM - sum(max(each.st_size, BLOCK) for each in used.values())
        size = max(size, BLOCK)
        named = self._named() if free < size else set()
        for path, stat in sorted(used.items(), key=lambda item: item[1].st_mtime):
            if free < size and path.name not in named and path != keep:
                path.unlink(missing_ok=True)
                free += max(stat.st_size, BLOCK)
        if free < size:
            raise Refused(
                f"this network node holds {ROOM // 2**20} MiB of code that tasks name, and takes no more",
                hint="swarm task rm forgets tasks that have ended",
            )

    def _named(self) -> set[str]:
        """The files of the code that tasks name and that stay for it: of each organisation no more than its share."""
        kept: set[str] = set()
        seen: set[tuple[bytes, str]] = set()
        left: defaultdict[bytes, int] = defaultdict(lambda: ROOM // SHARES)
        for task in list(self._ledger().tasks.values()):
            about = (task.anchor, str(task.body.get("CodeHash")))
            if about in seen:
                continue
            seen.add(about)
            files = {name: size for name, size in self._files_of(about[1]).items() if name not in kept}
            if sum(files.values()) <= left[task.anchor]:
                left[task.anchor] -= sum(files.values())
                kept.update(files)
        return kept

    def _files_of(self, digest: str) -> dict[str, int]:
        """What they take of the room, by name; of code that is not here none."""
        match = _HASH.fullmatch(digest)
        if match is None or not (self._path / match[1]).exists():
            return {}
        content = (self._path / match[1]).read_bytes()
        files = {match[1]: max(len(content), BLOCK)}
        with contextlib.suppress(SwarmError):
            held = manifest.read(content, match[0])
            files.update((file.sha256.hex(), max(file.size, BLOCK)) for file in held.files)
        return files

    # ---- giving

    async def _get(self, link: Link, body: dict[str, Any]) -> dict[str, Any]:
        match body:
            case {"hash": str(digest), "at": int(at)} if at >= 0:
                piece = await trio.to_thread.run_sync(self._piece, digest, at)
                if piece is None and link.peer.identity.role != "sn":
                    piece = await self._from_others(digest, at)
                if piece is not None:
                    return piece
                raise Refused(
                    f"no network node that can be asked holds the code {digest}",
                    hint="its author publishes it again with swarm run -f",
                )
        raise BadInput(f"{link.peer} asks for a piece of code in another form than this release knows")

    def _piece(self, digest: str, at: int) -> dict[str, Any] | None:
        try:
            with self._place(digest).open("rb") as file:
                size = file.seek(0, 2)
                file.seek(min(at, size))
                return {"size": size, "data": file.read(PIECE)}
        except FileNotFoundError:
            return None

    async def _from_others(self, digest: str, at: int) -> dict[str, Any] | None:
        for other in list(self._others()):
            with contextlib.suppress(SwarmError):
                answer: dict[str, Any] = await other.call("code", {"hash": digest, "at": at}, deadline_s=ASKED_S)
                return answer
        return None

    def _place(self, digest: str) -> Path:
        match = _HASH.fullmatch(digest)
        if match is None:
            raise BadInput(f"{digest[:80]!r} is no hash of code: expected sha256: and 64 hexadecimal digits")
        return self._path / match[1]
