"""The switch does to frames what it was told, and its hosts are hosts: what chaos finds is the swarm's own doing."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.errors import BadInput
from swarm.nodes.bench.hosts import check_available, network
from swarm.nodes.bench.switch import BURST, Switch, length_of
from tests.nodes.waiting import eventually

ONE, TWO, THREE = (b"\x02\0\0\0\0" + bytes([number]) for number in (1, 2, 3))
EVERYBODY = b"\xff" * 6

# ---- frames, without a network


def send(switch, port, to, sender, now=0.0, size=100):
    switch.take(port, to + sender + bytes(size - 12), now)


def introduced(seed=0):
    """A switch of three ports that knows who is behind each."""
    switch = Switch(3, seed)
    for port, mac in ((1, ONE), (2, TWO), (3, THREE)):
        send(switch, port, EVERYBODY, mac)
    switch.arrived(0.0)
    return switch


def test_an_unknown_address_reaches_all_others_and_a_known_one_only_its_port():
    switch = Switch(3, 0)
    send(switch, 1, TWO, ONE)
    assert [port for port, _ in switch.arrived(0.0)] == [2, 3]
    send(switch, 2, ONE, TWO)
    assert [port for port, _ in switch.arrived(0.0)] == [1]
    send(switch, 1, EVERYBODY, ONE)
    assert [port for port, _ in switch.arrived(0.0)] == [2, 3]


def test_a_frame_arrives_after_its_delay_and_none_overtakes_another():
    switch = introduced()
    switch.links[1, 2].delay_s, switch.links[1, 2].jitter_s = 0.025, 0.1
    for number in range(50):
        switch.take(1, TWO + ONE + bytes([number]), number / 1000)
    assert switch.arrived(0.0249) == []
    assert [frame[12] for _, frame in switch.arrived(1.0)] == list(range(50))


def test_loss_is_what_the_seed_says_and_is_counted():
    def lost(seed):
        switch = introduced(seed)
        switch.links[1, 2].loss = 0.1
        for number in range(2000):
            switch.take(1, TWO + ONE + number.to_bytes(2), 0.0)
        frames = switch.arrived(0.0)
        assert switch.links[1, 2].counts["lost"] == 2000 - len(frames)
        return {frame[12:] for _, frame in frames}

    assert lost(7) == lost(7) != lost(8)
    assert 1700 < len(lost(7)) < 1900


def test_a_link_with_a_rate_holds_no_more_than_its_queue():
    switch = introduced()
    switch.obey({"links": [[1, 2]], "set": {"rate_bps": 8000, "queue_bytes": 3000}})  # a frame of 1000 bytes a second
    for _ in range(10):
        send(switch, 1, TWO, ONE, size=1000)
    assert switch.links[1, 2].counts == {"passed": 4 + 1, "lost": 0, "dropped": 6, "cut": 0}  # and the introduction
    assert [len(switch.arrived(now)) for now in (0.9, 1.1, 2.1, 3.1, 4.1)] == [0, 1, 1, 1, 1]


def test_what_is_longer_than_a_link_takes_vanishes_and_the_rest_passes():
    switch = introduced()
    switch.obey({"links": [[1, 2]], "set": {"longest_bytes": 600}})
    for size in (100, 600, 601, 1514):
        send(switch, 1, TWO, ONE, size=size)
    assert [len(frame) for _, frame in switch.arrived(0.0)] == [100, 600]
    assert switch.links[1, 2].counts == {"passed": 2 + 1, "lost": 0, "dropped": 2, "cut": 0}  # and the introduction


def test_what_passes_a_port_shares_its_link_to_the_middle_and_waits_for_its_turn_there():
    switch = introduced()
    switch.obey({"links": [[3, 0], [0, 3]], "set": {"rate_bps": 8000}})  # a frame of 1000 bytes a second, up and down
    switch.obey({"links": [[1, 3]], "set": {"delay_s": 5.0}})
    for port, to, sender in ((1, THREE, ONE), (2, THREE, TWO), (3, ONE, THREE), (3, TWO, THREE)):
        send(switch, port, to, sender, size=1000)
    arrivals = [(0.9, []), (1.1, [3, 1]), (2.1, [2]), (5.9, []), (6.1, [3])]
    for now, ports in arrivals:
        assert [port for port, _ in switch.arrived(now)] == ports, now


def test_a_burst_is_as_long_as_its_packets_with_their_headers():
    network = bytes([0x45]) + bytes(19)
    transport = bytes(12) + bytes([8 << 4]) + bytes(19)
    frame = ONE + TWO + bytes(2) + network + transport
    carried = 1000
    for payload, packets in ((1000, 1), (1001, 2), (5000, 5)):
        burst = BURST.pack(1, 1, len(frame), carried if packets > 1 else 0, 34, 16) + frame + bytes(payload)
        assert length_of(burst) == payload + packets * len(frame)
    switch = Switch(2, 0, bursts=True)
    switch.take(1, burst, 0.0)
    assert switch.arrived(0.0) == [(2, burst)]


def test_a_cut_holds_in_one_direction_until_it_is_healed():
    switch = introduced()
    switch.obey({"links": [[1, 2]], "set": {"cut": True}})
    send(switch, 1, TWO, ONE)
    send(switch, 2, ONE, TWO)
    assert [port for port, _ in switch.arrived(0.0)] == [1]
    switch.obey({"links": [[1, 2]], "set": {"cut": False}})
    send(switch, 1, TWO, ONE)
    assert [port for port, _ in switch.arrived(0.0)] == [2]
    assert switch.obey({"count": [[1, 2]]}) == {"counts": [{"passed": 2, "lost": 0, "dropped": 0, "cut": 1}]}


# ---- hosts

ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as echo:
    echo.bind(("", 7))
    print("ready", flush=True)
    while True:
        data, sender = echo.recvfrom(2048)
        echo.sendto(data, sender)
"""
ASK = """
import socket, sys, time
address, count, patience = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ask:
    ask.settimeout(patience)
    for number in range(count):
        begun = time.monotonic()
        ask.sendto(str(number).encode(), (address, 7))
        try:
            while int(ask.recv(2048)) != number: pass
            print(time.monotonic() - begun)
        except TimeoutError:
            print("none")
"""


@pytest.fixture(scope="module")
def three():
    """Three hosts; all of them echo what comes to port 7."""
    try:
        check_available()
    except BadInput as error:
        pytest.skip(str(error))
    with network(3, seed=1) as net:
        echoes = [
            subprocess.Popen(host.command([sys.executable, "-c", ECHO]), stdout=subprocess.PIPE) for host in net.hosts
        ]
        for echo in echoes:
            assert echo.stdout.readline() == b"ready\n"
        yield net
        for echo in echoes:
            echo.kill()
            echo.communicate()


@pytest.fixture
def net(three):
    yield three
    three.set(three.pairs(), delay_s=0.0, loss=0.0, cut=False)


def ask(net, one, other, times=10, patience=2.0):
    """How long each answer took; None where none came."""
    command = net.hosts[one - 1].command(
        [sys.executable, "-c", ASK, net.hosts[other - 1].address, str(times), str(patience)]
    )
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [None if line == "none" else float(line) for line in out.split()]


@pytest.mark.root
@pytest.mark.netns
class TestHosts:
    def test_25_ms_in_each_direction_are_50_ms_there_and_back(self, net):
        assert min(ask(net, 1, 2)) < 0.05
        net.both_ways(1, 2, delay_s=0.025)
        assert min(ask(net, 1, 2)) >= 0.05
        assert min(ask(net, 1, 3)) < 0.05

    def test_what_is_lost_is_counted_and_the_rest_arrives(self, net):
        ask(net, 1, 2, 1)  # who is where, is known
        before = net.counts(1, 2)
        net.set([(1, 2)], loss=0.3)
        answers = ask(net, 1, 2, 60, patience=0.1)
        counts = {name: value - before[name] for name, value in net.counts(1, 2).items()}
        assert counts["lost"] >= answers.count(None) > 0
        assert counts["passed"] >= 60 - answers.count(None)
        assert counts["cut"] == counts["dropped"] == 0

    def test_a_cut_in_one_direction_lets_the_other_through_and_heals(self, net):
        assert None not in ask(net, 1, 2, 3)
        net.set([(2, 1)], cut=True)
        passed, cut = net.counts(1, 2)["passed"], net.counts(2, 1)["cut"]
        assert ask(net, 1, 2, 3, patience=0.2) == [None] * 3
        assert net.counts(1, 2)["passed"] >= passed + 3
        assert net.counts(2, 1)["cut"] >= cut + 3
        assert None not in ask(net, 1, 3, 3)
        net.set([(2, 1)], cut=False)
        assert None not in ask(net, 1, 2, 3)

    def test_nothing_else_on_this_machine_sees_them(self, net):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
            here.settimeout(0.2)
            try:
                here.sendto(b"1", (net.hosts[0].address, 7))
                here.recv(100)
            except OSError:
                return
        raise AssertionError("the hosts' addresses exist outside")


@pytest.mark.root
@pytest.mark.netns
def test_hosts_end_with_who_made_them_even_by_sigkill(three):
    lines = (
        "from swarm.nodes.bench.hosts import network",
        "with network(2, seed=0) as net: print(*(host.pid for host in net.hosts), flush=True); input()",
    )
    maker = subprocess.Popen(
        [sys.executable, "-c", "\n".join(lines)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    pids = maker.stdout.readline().split()
    assert all(Path(f"/proc/{int(pid)}").exists() for pid in pids)
    maker.kill()
    maker.communicate()
    eventually("their end", lambda: not any(_runs(int(pid)) for pid in pids))


def _runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
