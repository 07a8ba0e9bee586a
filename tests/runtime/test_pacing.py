"""How fast a stream may run: so that it ends when the others do, and never slower than is of any use."""

import socket
import struct
import sys

import pytest

from swarm.runtime.pacing import LEAST_BYTES_PER_S, ROUND_TRIPS, SO_MAX_PACING_RATE, UNLIMITED, bytes_per_s, pace


def test_a_stream_takes_as_long_as_it_is_told_to():
    assert bytes_per_s(10_000_000, 5.0, 0.05) == 2_000_000


@pytest.mark.parametrize(
    ("nbytes", "even_s", "rtt_s"),
    [(10**7, 0.0, 0.05), (10**7, 5.0, 0.0), (10**7, 0.05 * ROUND_TRIPS, 0.05), (2**40, 1.0, 0.05)],
    ids=["no matter", "unknown round trip", "near each other", "beyond what can be said"],
)
def test_it_runs_as_it_likes(nbytes, even_s, rtt_s):
    assert bytes_per_s(nbytes, even_s, rtt_s) == UNLIMITED


def test_little_is_not_spread_without_end():
    assert bytes_per_s(10, 5.0, 0.05) == LEAST_BYTES_PER_S


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel paces on Linux only")
def test_the_kernel_is_told_and_told_otherwise_for_the_next_stream(monkeypatch):
    monkeypatch.setattr("swarm.runtime.pacing._min_rtt_s", lambda sock: 0.05)
    with socket.socket() as sock:
        for even_s, rate in ((5.0, 2_000_000), (0.0, UNLIMITED)):
            pace(sock, 10_000_000, even_s)
            said = struct.unpack("=I", sock.getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 4))[0]
            assert said == rate


def test_where_there_is_no_such_thing_streams_run_as_they_like():
    one, other = socket.socketpair()  # no TCP: its round trips cannot be asked for
    with one, other:
        pace(one, 10_000_000, 5.0)
        one.sendall(b"bytes")
        assert other.recv(5) == b"bytes"
