"""Publishing code, and fetching what another has published: the clients' side of `nodes/codestore`.

Used by `nodes/publishing` (publish) and by participants (`nodes/participant`). Guarantees: what is fetched is what its
hash names, file by file, or nothing of it is there; no more is taken than its manifest says, which is within the bounds
of `wire/manifest`; files are plain ones that only their owner may change. Nothing here runs or unpacks anything.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from swarm.core.filelist import FileEntry
from swarm.errors import BadInput, Unreachable
from swarm.wire import manifest
from swarm.wire.manifest import Manifest, digest_of

PIECE = 256 * 1024
Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""One call on a network node, with a deadline of its own."""


async def publish(ask: Ask, contents: Iterable[tuple[str, bytes]], code: Manifest) -> None:
    """Have a network node hold this code, whose files have these hashes and bytes."""
    for digest, data in contents:
        await _put(ask, digest, data)
    await _put(ask, code.digest, code.data)


async def _put(ask: Ask, digest: str, data: bytes) -> None:
    have = 0
    while True:
        body = {"hash": digest, "size": len(data), "at": have, "data": data[have : have + PIECE]}
        answer = await ask("code_put", body)
        have, before = int(answer["have"]), have
        if have == len(data):
            return
        if not 0 <= have < len(data) or have == before:
            raise Unreachable(f"the network node does not go on taking the code {digest}: it has {have} bytes")


async def listed(ask: Ask, digest: str) -> Manifest:
    """What the code with this hash holds."""
    data = bytearray()
    await _get(ask, digest, manifest.BYTES_MAX, data.extend)
    return manifest.read(bytes(data), digest)


async def fetch(ask: Ask, files: Iterable[FileEntry], into: Path) -> None:
    """Have these files of a manifest below ``into``, which is there afterwards, whole, or not at all."""
    part = into.with_name(f"{into.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(mode=0o700, parents=True)
    try:
        for file in files:
            data = bytearray()
            await _get(ask, file.hash, file.size, data.extend)
            if len(data) != file.size or digest_of(bytes(data)) != file.hash:
                raise BadInput(f"{file.name} of the code came as other bytes than its manifest names")
            place = part / file.name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            place.write_bytes(data)
        os.rename(part, into)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


async def _get(ask: Ask, digest: str, most: int, take: Callable[[bytes], None]) -> None:
    at = 0
    while True:
        match await ask("code", {"hash": digest, "at": at}):
            case {"size": int(size), "data": bytes(data)} if size <= most and at + len(data) <= size:
                take(data)
                at += len(data)
                if at == size:
                    return
                if data:
                    continue
        raise BadInput(f"what a network node gives for {digest} is no piece of it, or over {most} bytes")
