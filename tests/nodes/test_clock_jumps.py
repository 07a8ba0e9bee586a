"""Real processes on hosts whose clock is wrong, or is set back while they run: what goes on, and what is refused."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch, Process
from tests.nodes.test_swarm import Scene, final, output
from tests.preload import preloaded

pytestmark = pytest.mark.compiler

HOUR_S, DAY_S = 3600, 86400
SHIFTED_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

/* The file that $HOST_CLOCK names says by how many seconds this host's wall clock is off. */
static long off_s(void) {
    const char *path = getenv("HOST_CLOCK");
    FILE *file = path ? fopen(path, "re") : NULL;
    long off = 0;
    if (file) {
        if (fscanf(file, "%ld", &off) != 1) off = 0;
        fclose(file);
    }
    return off;
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += off_s();
    return result;
}
time_t time(time_t *also) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (also) *also = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *now, void *zone) {
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    (void)zone;
    return 0;
}
"""


class Host:
    """The clock of one: processes that are started with its ``environment`` live by it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.set(0)

    @property
    def environment(self) -> dict[str, str]:
        return {"HOST_CLOCK": str(self.file)}

    def set(self, off_s: int) -> None:
        """At once for all who run there."""
        whole = self.file.with_suffix(".new")
        whole.write_text(str(off_s))
        whole.rename(self.file)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """All live by one clock, except who is started with another one's environment."""
    environment = {"PYTHONPATH": os.getcwd(), **preloaded(tmp_path, "clock", SHIFTED_CLOCK)}
    with Launch(environment={**environment, **Host(tmp_path / "clock").environment}) as launch:
        yield Scene(tmp_path, launch, organisations=4)


def all_judge_their_links(scene: Scene, *nodes: Process) -> None:
    """Waits until each has looked at the certificates of everybody whom it is linked with once more: it then says
    that a revocation list cannot be read."""
    lists = [tree.capath / "half.crl.pem" for tree in scene.swarm.trees]
    for file in lists:
        file.write_bytes(b"half a list")
    for node in nodes:
        scene.says(node, "the lists that were read before go on counting")
    for file in lists:
        file.unlink()


def test_r098_a_swarm_whose_hosts_clocks_jump_back_a_day_goes_on_and_lets_others_in(scene: Scene) -> None:
    scene.network(2)
    gate, peers = scene.at_the_gate()
    Host(scene.directory / "clock").set(-DAY_S)
    all_judge_their_links(scene, *scene.swarm.network, *(peer.node for peer in peers))
    os.kill(scene.swarm.network[1].pid, signal.SIGKILL)  # whom the second peer is linked with: it has to be let in anew
    right = Host(scene.directory / "right-clock")
    peers.append(scene.peer(GATE=gate, **right.environment))
    scene.says(peers[2].node, "adopted")
    gate.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0, 0]
    assert len({final(peer) for peer in peers}) == 1
    assert not [peer.name for peer in peers if "not valid before" in output(peer.node)]


def test_r040_learning_nodes_an_hour_off_train_along_and_a_new_certificate_is_refused_by_its_clock(
    scene: Scene,
) -> None:
    scene.network(1)
    ahead, behind = Host(scene.directory / "ahead"), Host(scene.directory / "behind")
    ahead.set(HOUR_S)
    gate = scene.directory / "gate"
    peers = [scene.peer(GATE=gate, **host.environment) for host in (ahead, behind)]
    for peer in peers:
        scene.says(peer.node, "at the gate")
    behind.set(-HOUR_S)
    refused = scene.peer(**behind.environment)
    assert scene.ended(refused) == 3
    said = " ".join(output(refused.node).split())
    assert re.search(r"error: .* the certificate .*SL-3 is not valid before \S+ \S+ UTC, it is \S+ \S+ UTC", said), said
    assert "compare the clocks of both machines" in said
    all_judge_their_links(scene, scene.swarm.network[0], *(peer.node for peer in peers))
    gate.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0]
    assert final(peers[0]) == final(peers[1])
