"""`run-swop`, as far as it comes before any connection: what it refuses, and with which sentence."""

from __future__ import annotations

import pytest

from swarm.cli.ending import run
from swarm.cli.run_swop import command
from tests.certificates import authority

PROFILE = """\
groupname: demo
taskrunner: defaulttaskbb.taskdb.sml.hpe
policyuri: {policy}
resourcemgr: {{mgrtype: {manager}, accessinfo: {{accesstype: FROMENV}}}}
network: host-1-net
apls: {{locator: {{host: 172.1.1.1}}}}
apisrv: {{locator: {{host: {host}, port: ~, service: {service}}}}}
envvars: ~
nodes:
  - slnodedef:
      idx: 0
      identity: []
      slhostname: sl1
      slenvvars: ~
      privatedata: ~
      usrhostname: user1
      usrenvvars: ~
      {more}
"""


@pytest.fixture
def run_swop(organisation, tmp_path, capsys):
    a = organisation("a")

    def call(*flags, policy="~", manager="DOCKER", host="~", service="~", more="slport: ~", profile="swop1.yaml"):
        (tmp_path / "swop1.yaml").write_text(
            PROFILE.format(policy=policy, manager=manager, host=host, service=service, more=more)
        )
        identity = ["--key", a.key("swop"), "--cert", a.cert("swop"), "--capath", a.capath]
        where = ["--usr-dir", tmp_path, "--profile-file-name", profile, "--state", tmp_path / "state"]
        code = run(command, [str(word) for word in (*where, *identity, *flags)])
        return code, capsys.readouterr().err

    call.organisation = a
    return call


def test_a_docker_profile_needs_the_engine_to_be_said(run_swop):
    code, err = run_swop("--sn-ip", "127.0.0.1")
    assert code == 2
    assert "swop1.yaml: resourcemgr is DOCKER, and this operator has no container engine" in err
    assert "hint: --engine process starts learning nodes and programs as processes of this host instead" in err


def test_a_policy_that_nobody_can_ask_is_refused(run_swop):
    code, err = run_swop("--engine", "process", policy="http://policy")
    assert code == 2
    assert "policyuri is 'http://policy', and there is no policy engine to ask: expected ~" in err


def test_a_profile_that_is_not_there_is_named(run_swop, tmp_path):
    code, err = run_swop(profile="swop2.yaml")
    assert code == 2
    assert f"profile {tmp_path / 'swop2.yaml'} cannot be read: No such file or directory" in err


def test_unknown_keys_below_nodes_are_warned_of_and_nothing_else(run_swop):
    code, err = run_swop("--engine", "process", more="slprot: 16000")
    assert code == 2
    assert "slprot" in err.splitlines()[0]
    assert "neither the profile's apisrv nor a flag names a network node" in err


def with_profile(run_swop, tmp_path, data):
    """What is said of a profile with these bytes."""
    (tmp_path / "other.yaml").write_bytes(data)
    code, err = run_swop("--engine", "process", "--sn-ip", "::1", profile="other.yaml")
    assert code == 2
    assert "Traceback" not in err
    return err.replace(f"{tmp_path}/", "")


def test_r071_an_unknown_key_is_named_with_file_line_and_the_nearest(run_swop, tmp_path):
    text = PROFILE.format(policy="~", manager="DOCKER", host="~", service="~", more="slport: ~")
    err = with_profile(run_swop, tmp_path, text.replace("taskrunner:", "taskruner:").encode())
    assert 'other.yaml:2: unknown key "taskruner" (did you mean "taskrunner"?)' in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("slport: ~", "slport: 99999"), "other.yaml:18: nodes[0].slport is the number 99999"),
        (lambda text: text.replace("idx: 0", "idx: zero"), 'other.yaml:11: nodes[0].idx is "zero", expected a whole'),
        (lambda text: text.replace("groupname: demo\n", ""), '"groupname" is missing'),
        (lambda text: text + "network: other\n", 'the key "network" stands twice, first on line 5'),
        (lambda text: text.replace("    idx", "\tidx").replace("  slnode", "\tslnode"), "a tab in the indentation"),
        (lambda text: "", "other.yaml: is empty"),
        (lambda text: "\ufeff", "other.yaml: is empty"),
        (lambda text: text.encode().replace(b"demo", b"dem\xf6"), "other.yaml:1: the byte 0xf6 is not UTF-8"),
        (lambda text: text.encode("utf-16"), "is written in UTF-16 or UTF-32, expected UTF-8"),
        (lambda text: text + "#" * 10 * 2**20, "expected at most 1048576 (1 MiB)"),
        (lambda text: "- a list", "other.yaml:1: holds a list, expected keys with their values"),
    ],
)
def test_r072_whatever_a_profile_is_it_is_said_in_lines_that_name_the_place(run_swop, tmp_path, change, said):
    text = PROFILE.format(policy="~", manager="DOCKER", host="~", service="~", more="slport: ~")
    changed = change(text)
    assert said in with_profile(run_swop, tmp_path, changed if isinstance(changed, bytes) else changed.encode())


def test_r072_other_ends_of_lines_and_a_bom_change_nothing_and_a_directory_is_named(run_swop, tmp_path):
    text = PROFILE.format(policy="http://x", manager="DOCKER", host="~", service="~", more="slport: ~")
    for data in (b"\xef\xbb\xbf" + text.encode(), text.replace("\n", "\r\n").encode()):
        assert "policyuri is 'http://x'" in with_profile(run_swop, tmp_path, data)  # the first that is said of it
    (tmp_path / "folder.yaml").mkdir()
    code, err = run_swop(profile="folder.yaml")
    assert code == 2
    assert "folder.yaml cannot be read: Is a directory" in err


def test_somebody_has_to_name_a_network_node(run_swop):
    code, err = run_swop(manager="PROCESS")
    assert code == 2
    assert "hint: --sn-ip IP, or apisrv in the profile" in err


@pytest.mark.parametrize("port", ["https", "0", "65536", "9" * 200, "٣"])
def test_a_service_without_a_port_number_is_refused(run_swop, port):
    code, err = run_swop("--engine", "process", service=f"sn.example:{port}")
    assert code == 2
    assert f"the service 'sn.example:{port}' has no port number behind its colon" in err


def test_the_certificate_has_to_be_an_operators(run_swop):
    a = run_swop.organisation
    code, err = run_swop("--engine", "process", "--sn-ip", "::1", "--key", a.key("sl"), "--cert", a.cert("sl"))
    assert code == 3
    assert "this command needs swop" in err


def test_an_accepted_organisation_is_one_in_capath(run_swop):
    code, err = run_swop("--engine", "process", "--sn-ip", "::1", "--accept-org", "b")
    assert code == 2
    assert "--accept-org b: capath holds no CA of that organisation, only of a" in err


def test_a_name_that_two_organisations_share_is_refused_with_both_fingerprints(run_swop):
    for file in ("b1.pem", "b2.pem"):
        (run_swop.organisation.capath / file).write_bytes(authority("CA-b", uri="swarm://b").pem)
    code, err = run_swop("--engine", "process", "--sn-ip", "::1", "--accept-org", "b")
    assert code == 2
    assert err.count("sha256:") == 3  # two, and the hint
