"""Manifests from others: only what lies below one directory, each file once, and within its bounds."""

import pytest

from swarm.core.filelist import FileEntry
from swarm.errors import BadInput
from swarm.wire import manifest
from swarm.wire.manifest import Manifest

HASH = "0" * 64


def read(*lines):
    data = "".join(lines).encode()
    return manifest.read(data, manifest.digest_of(data))


def test_a_manifest_comes_back_from_its_bytes_under_its_hash():
    made = Manifest((FileEntry("a b.py", bytes(32), 0), FileEntry("trainer/main.py", bytes(32), 3)))
    assert manifest.read(made.data, made.digest) == made
    with pytest.raises(BadInput, match="is other bytes"):
        manifest.read(made.data + b" ", made.digest)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("../train.py", "leads out"), ("/etc/passwd", "leads out"), ("a/../../b", "leads out"), ("a//b", "leads out"),
        ("./a", "leads out"), ("a\\b", "leads out"), (".git/config", "no part of code"), ("a" * 1001, "leads out"),
        ("a\x1b[2J", "characters"), ("a\x00", "characters"),
        ("a/" * 64 + "b", "too deep"), ("a" * 256, "too long"), ("é" * 128, "too long"),
    ],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_refused(path, why):
    with pytest.raises(BadInput, match=why):
        read(f"{HASH} 1 {path}\n")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no files"),
        ([f"{HASH} 1 a"], "ends within a line"),
        ([f"{HASH} 1 a\n", f"{HASH} 1 a\n"], "twice"),
        ([f"{HASH} 1 a\n", f"{HASH} 1 a/b\n"], "as a file and as a directory"),
        ([f"{HASH} -1 a\n"], "holds the line"),
        (["link a b\n"], "holds the line"),
        ([f"{HASH} {manifest.PUBLISHED_MAX + 1} a\n"], "are published"),
        ([f"{HASH} 0 f{number}\n" for number in range(2001)], "at most 2000"),
    ],
)
def test_what_is_no_code_is_refused(lines, why):
    with pytest.raises(BadInput, match=why):
        read(*lines)
