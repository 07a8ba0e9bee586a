"""The body of MAKE_SWARM_USER_CONTENT: what a host is to fetch and unpack, and into which named directory.

Part of `wire/taskfile`; done by `nodes/contents`. HPE leaves open how a download is checked; here its Target is a URI
whose fragment is the hash of its bytes (``https://files.example/model.tgz#sha256=<64 hex>``), so that a final task says
what a host gets and not merely where something may be found. Guarantees: every download is named with its hash, every
name of a file is relative and leads nowhere but down.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic.dataclasses import dataclass

from swarm.wire.shapes import CLOSED, Environment, Sentence

_TARGET_MAX = 1000
_NAME_MAX = 160
_URI = re.compile(r"(https|http|file)://([^/?#\s]*)((?:/[^?#\s]*)?)((?:\?[^#\s]*)?)(?:#(\S*))?")
_PIN = re.compile(r"sha256=([0-9a-fA-F]{64})")
HOW_TO_PIN = "end it with #sha256= and the 64 digits that sha256sum prints for the file"


class Pinned(NamedTuple):
    uri: str
    sha256: str
    """Lower-case hexadecimal."""
    name: str
    """What the last part of the URI's path calls the file; may be empty."""


def pinned(target: str) -> Pinned:
    """A download's Target, taken apart; raises Sentence (a ValueError) for one that says less than that."""
    uri = _URI.fullmatch(target)
    if uri is None:
        raise Sentence("Target of a DOWNLOAD is a URI that begins with https://, http:// or file:///")
    scheme, host, path, _, fragment = uri.groups()
    if "@" in host:
        raise Sentence("Target holds a name or password, and stands in the ledger for everybody to read")
    if bool(host) == (scheme == "file") or not path:
        raise Sentence("Target of a DOWNLOAD names a host and a file there, or file:/// and a file of the operator's")
    pin = _PIN.fullmatch(fragment or "")
    if pin is None:
        raise Sentence(f"Target of a DOWNLOAD is without its hash: {HOW_TO_PIN}")
    return Pinned(target.partition("#")[0], pin[1].lower(), path.rpartition("/")[2])


def _down(name: str, what: str) -> str:
    """A path below the content's directory, in its one spelling."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or "\0" in name or "\\" in name:
        raise Sentence(f"{what} is a path below the content's directory: relative, and without '..'")
    return "/".join(parts)


def _target(text: str) -> str:
    if "://" in text:
        pinned(text)
    elif len(text) > _NAME_MAX:
        raise Sentence(f"the name of a file has at most {_NAME_MAX} characters")
    return text


@dataclass(frozen=True, config=CLOSED)
class Operation:
    """``Options`` may say ``Out``: the file that a download becomes, or the directory that is unpacked into."""

    Operation: Literal["DOWNLOAD", "EXTRACT"]
    Target: Annotated[
        str, StringConstraints(strict=True, min_length=1, max_length=_TARGET_MAX), AfterValidator(_target)
    ]
    Options: Environment

    @model_validator(mode="after")
    def _says_what_it_takes(self) -> Self:
        if unknown := sorted(set(self.Options) - {"Out"}):
            raise Sentence(f"Options holds {unknown[0]}, and there is only Out")
        _down(self.Options.get("Out", ""), "Out")
        if self.Operation == "DOWNLOAD":
            found = pinned(self.Target)
            if not self.out:
                raise Sentence(f"{found.uri} ends without the name of a file: say it with Out")
        elif "://" in self.Target or not _down(self.Target, "Target of EXTRACT"):
            raise Sentence("Target of EXTRACT is a file of this content, as a DOWNLOAD before it has named it")
        return self

    @property
    def out(self) -> str:
        """Below the content's directory: of a download the file, of an archive the directory (empty: the content)."""
        said = _down(self.Options.get("Out", ""), "Out")
        return said or (_down(pinned(self.Target).name, "Target") if self.Operation == "DOWNLOAD" else "")

    @property
    def archive(self) -> str:
        return _down(self.Target, "Target of EXTRACT")


@dataclass(frozen=True, config=CLOSED)
class MakeSwarmUserContent:
    """``BUILDCONTENT``: one directory for the whole host; ``SWARMCONTENT``: one for each learning node."""

    ContentType: Literal["BUILDCONTENT", "SWARMCONTENT"]
    OpsList: Annotated[tuple[Operation, ...], Field(min_length=1, max_length=20)]
