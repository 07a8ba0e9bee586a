"""Fields of proposals: what becomes a path, an address or a line of a log elsewhere is harmless there."""

from __future__ import annotations

import pytest

from swarm.core.fields import ADDRESS, CONTRACT, DIGEST, REASON


@pytest.mark.parametrize("text", ["localhost:30305", "10.0.0.1:0", "[fe80::1%eth0]:65535", "a_b.example-1.org:1"])
def test_addresses_that_can_be_dialled_fit(text: str) -> None:
    assert ADDRESS.fits(text)


@pytest.mark.parametrize("text", ["h:65536", "h:99999", ":1", "h", "h:1\n", "\x1b[2J:1", "a\0b:1", "ü:1", "a/b:1", 7])
def test_addresses_that_cannot_be_dialled_or_printed_do_not(text: object) -> None:
    assert not ADDRESS.fits(text)


@pytest.mark.parametrize("text", [".", "..", "../x", "/x", "x/y", "", "x\n", "X"])
def test_no_contract_is_named_like_a_way_out_of_its_directory(text: str) -> None:
    assert not CONTRACT.fits(text)
    assert all(CONTRACT.fits(name) for name in ("...", ".x", "defaultbb.cqdb.sml.hpe"))


@pytest.mark.parametrize("text", ["blake3:" + "0" * 63 + "/", "blake3:" + "0" * 64 + "\n", "../" + "0" * 64])
def test_digests_that_name_files_are_digests(text: str) -> None:
    assert not DIGEST.fits(text)


@pytest.mark.parametrize("text", ["a\nb", "\x1b[2J", "x" * 501])
def test_reasons_are_one_printable_line(text: str) -> None:
    assert not REASON.fits(text)
