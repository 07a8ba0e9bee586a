"""Services behind a proxy, and the network node that nobody named: what launchers announce and dial."""

from __future__ import annotations

import json
import logging

import pytest

from swarm.cli import addresses, ending, run_sl, run_sn
from swarm.errors import BadInput
from swarm.nodes import detached, sl, sn, starting
from swarm.runtime import report
from swarm.runtime.mesh import Mesh
from swarm.runtime.tls import Local


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("api.ward.example", ("api.ward.example", 443)),
        ("api.ward.example:8443", ("api.ward.example", 8443)),
        ("10.1.1.1:1", ("10.1.1.1", 1)),
        ("[2001:db8::1]:30304", ("2001:db8::1", 30304)),
        ("2001:db8::1", ("2001:db8::1", 443)),
    ],
)
def test_a_service_is_a_host_with_or_without_its_port(text, expected):
    assert addresses.service(text, "--sn-api-service") == expected


@pytest.mark.parametrize("text", ["", ":443", "a b", "api.example:https", "api.example:0", "api.example:65536", "x/y"])
def test_what_is_no_service_is_refused_with_its_flag(text):
    with pytest.raises(BadInput, match=r"^--sl-fs-service "):
        addresses.service(text, "--sl-fs-service")


# ---- the network node of this host


@pytest.fixture
def here(monkeypatch):
    """The network nodes that run-sn -d has left running."""
    found = {}
    monkeypatch.setattr(detached, "network_nodes", lambda: found)
    return found


def test_a_service_goes_before_an_address_and_both_before_what_runs_here(here):
    here["sn1"] = ("127.0.0.1", 1)
    assert addresses.network_node("10.1.1.1", 30304, "api.example:8443", None) == ("api.example", 8443)
    assert addresses.network_node("10.1.1.1", 31000, None, None) == ("10.1.1.1", 31000)
    assert addresses.network_node(None, 30304, None, None) == ("127.0.0.1", 1)


def test_of_several_here_one_has_to_be_named(here):
    here |= {"sn1": ("127.0.0.1", 1), "sn2": ("127.0.0.1", 2)}
    assert addresses.network_node(None, 30304, None, "sn2") == ("127.0.0.1", 2)
    with pytest.raises(BadInput, match=r"2 run on this host \(sn1, sn2\)"):
        addresses.network_node(None, 30304, None, None)
    with pytest.raises(BadInput, match="--sn-docker-name sn3: no network node of this name") as refused:
        addresses.network_node(None, 30304, None, "sn3")
    assert refused.value.hint == "there are sn1, sn2"


def test_without_any_the_flag_to_give_is_named(here):
    with pytest.raises(BadInput, match="none runs on this host") as refused:
        addresses.network_node(None, 30304, None, None)
    assert "--sn-ip IP" in refused.value.hint


def test_only_a_network_node_that_runs_is_found(monkeypatch, tmp_path):
    states = {}
    for name, role, runs in (("sn1", "sn", True), ("sn2", "sn", False), ("swop1", "swop", True), ("sn3", "sn", True)):
        states[name] = (role, runs)
        (tmp_path / name).mkdir()
        if name != "sn3":  # which is not ready yet
            (tmp_path / name / "ready.json").write_text(json.dumps({"host": "10.1.1.1", "api_port": 30304}))

    class One:
        def __init__(self, name):
            self.role, self.running = states[name]
            self.state = tmp_path / name
            self.node = self
            self.name = name

    monkeypatch.setattr(detached, "detached", lambda: [One(name) for name in states])
    assert detached.network_nodes() == {"sn1": ("10.1.1.1", 30304)}


# ---- what nodes announce


@pytest.fixture
def settings_of(organisation, tmp_path, monkeypatch):
    """What a launcher's command line comes to: the settings of its node, which is not run."""
    made = []

    def run_node(_, settings):
        made.append(settings)

    monkeypatch.setattr(starting, "run_node", run_node)
    monkeypatch.setattr(report, "_file", None)  # a command's log ends with its process: here, with its test
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    org = organisation("a")

    def settings_of(module, command, role, *flags, capath=None):
        identity = ("--key", org.key(role), "--cert", org.cert(role), "--state", tmp_path / "state")
        words = [*flags, *identity, "--capath", capath or org.capath]
        monkeypatch.setattr(module.sys, "exit", lambda code: None) if hasattr(module, "sys") else None
        code = ending.run(command, [str(word) for word in words])
        return made.pop() if made else code

    settings_of.organisation = org
    return settings_of


def announced(settings):
    """The addresses of the network node that has these settings."""
    node = sn.NetworkNode(settings, Local(settings.credentials, settings.state), "")
    node.p2p_port, node.api_port = 1003, 1004
    return node.addresses()


def test_a_network_node_announces_its_services_in_place_of_its_ports(settings_of):
    flags = ("--sentinel", "--sn-api-service=api.example", "--sn-p2p-service=p2p.example")
    settings = settings_of(run_sn, run_sn.command, "sn", *flags)
    assert (settings.host_ip, announced(settings)) == ("", ["api.example:443", "p2p.example:30303"])


def test_one_service_alone_needs_the_address_for_the_other_port(settings_of, capsys):
    assert settings_of(run_sn, run_sn.command, "sn", "--sentinel", "--sn-api-service=api.example") == 2
    assert "error: mandatory parameter --host-ip not specified" in capsys.readouterr().err
    flags = ("--sentinel", "--sn-api-service=api.example:8443", "--host-ip=10.1.1.1")
    assert announced(settings_of(run_sn, run_sn.command, "sn", *flags)) == ["api.example:8443", "10.1.1.1:1003"]


def test_a_sentinel_is_dialled_by_its_address_or_by_its_service(settings_of, capsys):
    host = "--host-ip=10.2.2.2"
    by_ip = settings_of(run_sn, run_sn.command, "sn", host, "--sentinel-ip=10.1.1.1", "--sentinel-api-port=31000")
    assert by_ip.sentinel == ("10.1.1.1", 31000)
    by_service = settings_of(run_sn, run_sn.command, "sn", host, "--sentinel-api-service=api.example")
    assert by_service.sentinel == ("api.example", 443)
    for both in (("--sentinel", "--sentinel-ip=1"), ("--sentinel-ip=1", "--sentinel-api-service=a"), ()):
        assert settings_of(run_sn, run_sn.command, "sn", host, *both) == 2
        assert "either --sentinel or --sentinel-ip must be specified" in capsys.readouterr().err


def test_a_learning_node_dials_a_service_and_announces_its_own(settings_of):
    flags = ("--sn-api-service=api.example", "--sl-fs-service=fs.example:8443", "--sl-fs-port=0")
    settings = settings_of(run_sl, run_sl.command_line, "sl", *flags)
    assert (settings.sn, settings.fs_service) == (("api.example", 443), ("fs.example", 8443))
    node = sl.LearningNode(settings)
    try:
        assert node.data_address == "fs.example:8443"
    finally:
        node.close()


def test_what_a_learning_node_sends_is_what_all_its_sockets_do(settings_of):
    """Those to the ledger, too."""
    flags = ("--sn-ip=127.0.0.1", "--sl-fs-port=0", "--host-ip=127.0.0.1")
    node = sl.LearningNode(settings_of(run_sl, run_sl.command_line, "sl", *flags))
    try:
        assert node.bytes_sent() == 0
        node._mesh = Mesh(node.local)
        node._mesh._tally.bytes_sent = 7
        assert node.bytes_sent() == 7
    finally:
        node.close()


def test_one_file_of_cas_does_as_well_as_a_directory_of_them(settings_of, tmp_path):
    org = settings_of.organisation
    bundle = tmp_path / "cas.pem"
    bundle.write_bytes(b"".join(path.read_bytes() for path in sorted(org.capath.glob("*.pem"))))
    flags = ("--sentinel", "--host-ip=127.0.0.1")
    settings = settings_of(run_sn, run_sn.command, "sn", *flags, capath=bundle)
    assert [anchor.label for anchor in settings.credentials.anchors] == ["a"]
    settings.credentials.read_revocations()
    assert settings.credentials.crls == []
