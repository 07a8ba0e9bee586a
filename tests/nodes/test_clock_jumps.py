"""Real processes on hosts whose clock is wrong, or is set back while they run: what goes on, and what is refused."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from swarm.nodes.local import LocalSwarm
from tests.nodes import operators
from tests.nodes.test_swarm import Scene, final, output
from tests.nodes.waiting import eventually
from tests.preload import preloaded

pytestmark = [pytest.mark.compiler, pytest.mark.slow]

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
def environment(tmp_path: Path) -> dict[str, str]:
    """All live by one clock, except who is started with another one's environment."""
    library = preloaded(tmp_path, "clock", SHIFTED_CLOCK)
    return {"PYTHONPATH": os.getcwd(), **library, **Host(tmp_path / "clock").environment}


@pytest.fixture
def scene(tmp_path: Path, environment: dict[str, str]) -> Iterator[Scene]:
    with Launch(environment=environment) as launch:
        yield Scene(tmp_path, launch, organisations=4)


def all_judge_their_links(swarm: LocalSwarm, *logs: Path) -> None:
    """Waits until each has looked at the certificates of everybody whom it is linked with once more: it then says
    that a revocation list cannot be read."""
    lists = [tree.capath / "half.crl.pem" for tree in swarm.trees]
    for file in lists:
        file.write_bytes(b"half a list")
    for log in logs:
        eventually(f"a look, in {log}", lambda log=log: "read before go on counting" in log.read_text())
    for file in lists:
        file.unlink()


def test_r098_a_swarm_whose_hosts_clocks_jump_back_a_day_goes_on_and_lets_others_in(scene: Scene) -> None:
    scene.network(2)
    gate, peers = scene.at_the_gate()
    Host(scene.directory / "clock").set(-DAY_S)
    all_judge_their_links(scene.swarm, *(node.log for node in (*scene.swarm.network, *(peer.node for peer in peers))))
    os.kill(scene.swarm.network[1].pid, signal.SIGKILL)  # whom the second peer is linked with: it has to be let in anew
    right = Host(scene.directory / "right-clock")
    peers.append(scene.peer(GATE=gate, **right.environment))
    scene.says(peers[2].node, "adopted")
    gate.touch()
    assert [scene.ended(peer) for peer in peers] == [0, 0, 0]
    assert len({final(peer) for peer in peers}) == 1
    assert not [peer.name for peer in peers if "not valid before" in output(peer.node)]


def test_r040_an_operator_and_its_learning_node_an_hour_off_train_along_and_run_their_slot_once(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    """First ahead, then behind; who is started there then is refused with both times, for its certificate is new."""
    off, gate = Host(tmp_path / "off"), tmp_path / "gate"
    off.set(HOUR_S)
    with Launch(environment=environment) as launch, Launch(environment={**environment, **off.environment}) as there:
        scene = operators.Scene(tmp_path, launch)
        right = scene.operator(1)
        scene.launch = there
        wrong = scene.operator(2, "--accept-org", "org-1")
        scene.assign("model/counting.py", peers=2, Envvars=[{"MIN_PEERS": 2}, {"GATE": str(gate)}])
        slots = list(scene.running().slots.values())
        off.set(-HOUR_S)
        scene.swarm.launch = there
        new = scene.swarm.start_peer(["true"]).node
        eventually("a refusal", lambda: not new.running)
        assert new.exit_code == 3
        (said, hint) = new.last_lines()
        assert re.search(r"the certificate .*SL-1 is not valid before \S+ \S+ UTC, it is \S+ \S+ UTC$", said), said
        assert hint.endswith("compare the clocks of both machines")
        nodes = [scene.place(host, slot) / "sl.log" for host, slot in enumerate(slots, 1)]
        all_judge_their_links(scene.swarm, *nodes, *(each.log for each in (scene.swarm.network[0], right, wrong)))
        gate.touch()
        run = scene.decided()
        assert [(slot.state, slot.exit_code, slot.attempt) for slot in run.slots.values()] == [("done", 0, 1)] * 2
        assert [(slot.id, slot.fence) for slot in run.slots.values()] == [(slot.id, slot.fence) for slot in slots]
        for host, slot in enumerate(run.slots.values(), 1):
            assert (scene.place(host, slot) / "sl" / "starts").read_text() == "1\n"
    eventually("the end of all workers", lambda: not operators.workers(tmp_path))
