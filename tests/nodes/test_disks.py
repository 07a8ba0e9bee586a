"""Disks of real network nodes that are full or fail: who leads on, who serves reads, who ends and how it comes back."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from tests.chaos.faults import FILLER, fill
from tests.nodes.networks import Network
from tests.nodes.waiting import eventually
from tests.preload import preloaded

DISK = "24m"
FAILS = "disk-fails"
FAILING_SYNC = (
    """
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A file of this name beside the one that is to be written has that fail, as a disk does. */
static int sync_or_fail(long call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 64);
    if (length > 0) {
        path[length] = 0;
        char *name = strrchr(path, '/');
        if (name) {
            strcpy(name + 1, """
    f'"{FAILS}"'
    """);
            if (access(path, F_OK) == 0) {
                errno = EIO;
                return -1;
            }
        }
    }
    return syscall(call, fd);
}
int fsync(int fd) { return sync_or_fail(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_or_fail(SYS_fdatasync, fd); }
"""
)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    """Each node's state directory is a small disk of its own, and writing it to the disk can fail."""
    environment = {"PYTHONPATH": os.getcwd(), **preloaded(tmp_path, "disk", FAILING_SYNC)}
    with ExitStack() as undo:
        for number in (1, 2, 3):
            state = tmp_path / f"sn-{number}"
            state.mkdir(mode=0o700)
            mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "disk", str(state)]
            mounted = subprocess.run(mount, capture_output=True, text=True)
            if mounted.returncode:
                pytest.skip(f"disks of their own are not permitted here: {mounted.stderr.strip()}")
            undo.callback(subprocess.run, ["umount", "--lazy", str(state)], check=True)
        yield Network(tmp_path, undo.enter_context(Launch(environment=environment)))


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.compiler
def test_r034_r035_a_full_disk_costs_the_lead_and_no_read_and_one_that_fails_ends_its_node_at_once(
    network: Network,
) -> None:
    network.of(3)
    network.write(1, "before")

    full = network.leader(1)
    others = [number for number in (1, 2, 3) if number != full]
    filler = network.directory / f"sn-{full}" / FILLER
    fill(filler)
    network.write(others[0], "while-it-is-full")
    assert network.leader(others[0]) in others
    assert network.has(full, "before")
    said = f"disk full: the ledger store {filler.with_name('ledger.db')} cannot be written"
    assert said in network.notes(full)
    filler.unlink()
    eventually("all that it missed", lambda: network.has(full, "before", "while-it-is-full"))
    eventually("no word of its disk", lambda: "disk full" not in network.notes(full))

    leading = network.leader(1)
    others = [number for number in (1, 2, 3) if number != leading]
    fails = network.directory / f"sn-{leading}" / FAILS
    fails.touch()
    network.write(others[0], "while-it-is-gone")
    gone = network.nodes.pop(leading)
    eventually("its end", lambda: not gone.running)
    network.launch.processes.remove(gone)
    assert gone.exit_code == 2
    (line,) = [line for line in gone.last_lines() if line.startswith("error: ")]
    assert f"ledger store {fails.with_name('ledger.db')} failed: disk I/O error" in line
    fails.unlink()
    network.back(leading, at=others[0])
    assert network.has(leading, "before", "while-it-is-full", "while-it-is-gone")
