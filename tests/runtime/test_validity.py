"""Certificates that expire or are revoked while their nodes run: links end, and both sides know why."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509

from swarm.errors import BadInput, IdentityError, Unreachable
from swarm.runtime import clock, validity
from swarm.runtime.control import Link
from swarm.runtime.credentials import Credentials
from swarm.runtime.data import Region
from swarm.wire.certs import crl_from_pem
from tests.certificates import NOW, crl, leaf, make_organisation
from tests.handshakes import GOOD, A, B, node
from tests.runtime.data_nodes import nodes, want
from tests.runtime.test_control import HERE, echo, linked, play, refusal, serving
from tests.runtime.test_descriptors import no_more_descriptors

MEMBER = leaf(B, "SL-1")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validity, "CHECK_S", 0.02)


def test_r048_a_link_ends_when_its_certificate_is_revoked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    capath = tmp_path / "capath"
    capath.mkdir()
    server, client = node(tmp_path, GOOD, [A, B]), node(tmp_path, MEMBER, [A, B])
    server.credentials = replace(server.credentials, _capath=capath)

    async def act(link: Link) -> None:
        assert await link.call("echo", {}, deadline_s=5) == {}
        with caplog.at_level(logging.WARNING, "swarm"):
            (capath / "b.crl.pem").write_bytes(b"half a list")
            while "go on counting" not in caplog.text:
                await link.call("echo", {}, deadline_s=5)
            (capath / "b.crl.pem").write_bytes(crl(B, MEMBER))
            await link.closed.wait()
        error = await refusal(link.call("echo", {}, deadline_s=5), IdentityError)
        assert "was revoked by its CA" in error.message
        assert "sl-1 (b) is cut off: the certificate" in caplog.text

    linked(server, client, {"echo": echo}, act)


def test_r047_a_link_ends_when_its_certificate_expires(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, client = node(tmp_path, GOOD, [A, B]), node(tmp_path, MEMBER, [A, B])

    async def act(link: Link) -> None:
        assert await link.call("echo", {}, deadline_s=5) == {}
        monkeypatch.setattr(clock, "wall", lambda: NOW + timedelta(days=36500))
        await link.closed.wait()
        with pytest.raises((IdentityError, Unreachable), match="expired"):  # as the other end says, or as this one saw
            await link.call("echo", {}, deadline_s=5)

    linked(server, client, {"echo": echo}, act)


def test_weights_are_not_served_over_a_connection_whose_certificate_has_expired(
    tmp_path: Path, organisation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nodes(tmp_path, organisation, 2) as (holder, reader):
        holder.shelf["offer", 0] = Region.complete(memoryview(bytes(64)))
        reader.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))
        monkeypatch.setattr(clock, "wall", lambda: NOW + timedelta(days=36500))
        with pytest.raises(IdentityError, match="expired"):
            reader.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))


def test_weights_are_not_read_over_a_connection_whose_holder_was_revoked(tmp_path: Path) -> None:
    ours = make_organisation(tmp_path, "a", ["sl"])
    with nodes(tmp_path, lambda name: ours, 2) as (holder, reader):
        holder.shelf["offer", 0] = Region.complete(memoryview(bytes(64)))
        reader.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))
        theirs = SimpleNamespace(certificate=x509.load_der_x509_certificate(holder.local.credentials.leaf))
        revoked = crl_from_pem(crl(ours.ca, theirs))
        reader.local.credentials = replace(reader.local.credentials, crls=[revoked])  # the list is here, and not there
        with pytest.raises(IdentityError, match="was revoked by its CA"):
            reader.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))


def test_r098_a_clock_that_is_set_back_cuts_nobody_off_and_a_revocation_still_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capath = tmp_path / "capath"
    capath.mkdir()
    server, client = node(tmp_path, GOOD, [A, B]), node(tmp_path, MEMBER, [A, B])
    server.credentials = replace(server.credentials, _capath=capath)

    async def main() -> None:
        async with serving(server, {"echo": echo}) as (_, mesh), serving(client, {}) as (control, _):
            link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            monkeypatch.setattr(clock, "wall", lambda: NOW - timedelta(days=3650))
            assert await link.call("echo", {}, deadline_s=5) == {}
            await link.close()
            link = await control.connect(HERE, mesh.listen_ports[0], deadline_s=5)
            (capath / "b.crl.pem").write_bytes(crl(B, MEMBER))
            await link.closed.wait()
            assert (
                "was revoked by its CA" in (await refusal(link.call("echo", {}, deadline_s=5), IdentityError)).message
            )

    play(main, 20)


def test_r098_weights_are_served_while_the_clock_is_set_back(
    tmp_path: Path, organisation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with nodes(tmp_path, organisation, 3) as (holder, reader, another):
        holder.shelf["offer", 0] = Region.complete(memoryview(bytes(64)))
        reader.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))
        monkeypatch.setattr(clock, "wall", lambda: NOW - timedelta(days=1))
        for each in (reader, another):  # over the connection that is there, and over one that is made now
            each.client.fetch(holder.address, holder.uid, want(0, 64), memoryview(bytearray(64)))


def test_r040_a_certificate_that_was_made_just_now_is_refused_where_the_clock_is_an_hour_behind(
    organisation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = organisation("a")
    monkeypatch.setattr(clock, "wall", lambda: datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(IdentityError, match=r"is not valid before .* UTC, it is .* UTC") as caught:
        Credentials.load(ours.cert("sl"), ours.key("sl"), ours.capath)
    assert caught.value.hint == "compare the clocks of both machines"


def test_lists_that_cannot_be_read_unrevoke_nobody(tmp_path: Path) -> None:
    ours = make_organisation(tmp_path, "a", ["sl"])
    credentials = Credentials.load(ours.cert("sl"), ours.key("sl"), ours.capath)
    (ours.capath / "a.crl.pem").write_bytes(crl(ours.ca))
    credentials.read_revocations()
    (before,) = credentials.crls
    with no_more_descriptors(), pytest.raises(BadInput, match=r"capath .* cannot be read: Too many open files"):
        credentials.read_revocations()
    assert credentials.crls == [before]
    (ours.capath / "b.crl.pem").write_bytes(b"half a list")
    for spoil in (lambda: None, lambda: ours.capath.rename(tmp_path / "elsewhere")):
        spoil()
        with pytest.raises(BadInput):
            credentials.read_revocations()
        assert credentials.crls == [before]
