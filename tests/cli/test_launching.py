"""What the launchers have in common: spelling of flags, -d --name --rm -e -v, flags without effect; and stop-swarm."""

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import psutil
import pytest

from swarm.cli.launching import Launcher, spelled
from swarm.errors import BadInput
from swarm.runtime.statedir import StateDirectory

SEEN = {}


@click.command("run-xx", cls=Launcher, role="sn", examples="run-xx")
@click.option("--sn-ip", envvar="SN_NODE_IP")
@click.option("--sn-api-port", default=30304)
@click.option("--key", default="k")
@click.option("--capath", "--cacert", "capath")
@click.option("--sentinel", is_flag=True)
@click.option("--state", type=click.Path(path_type=Path))
@click.argument("program", nargs=-1)
def run_xx(**given):
    SEEN.update(given, FOO=os.environ.get("FOO"), here=given["state"] is not None and given["state"].is_dir())


def launch(*arguments):
    SEEN.clear()
    run_xx.main(list(arguments), standalone_mode=False)
    return dict(SEEN)


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("FOO", "before")
    before = dict(os.environ)
    yield
    os.environ.clear()  # of what -e has set
    os.environ.update(before)


@pytest.mark.parametrize(
    "words",
    [
        ["--sn-ip", "10.1.1.1", "--sentinel"],
        ["--sn-ip=10.1.1.1", "--sentinel=true"],
        ["--SN-IP=10.1.1.1", "--Sentinel"],
        ["--Sn-Ip", "10.1.1.1", "--SENTINEL=1"],
    ],
)
def test_flags_are_of_any_case_and_take_their_value_either_way(words):
    seen = launch(*words)
    assert (seen["sn_ip"], seen["sentinel"]) == ("10.1.1.1", True)


def test_values_keep_their_case_and_a_switch_can_be_off():
    assert launch("--KEY=Workspace/SN-1.pem", "--sentinel=false")["key"] == "Workspace/SN-1.pem"
    assert SEEN["sentinel"] is False


def test_what_comes_after_two_dashes_is_the_programs(capsys):
    assert launch("--sn-ip=1", "--", "python", "--NETWORK", "-d")["program"] == ("python", "--NETWORK", "-d")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sn-ip"], "--sn-ip: missing argument"),
        (["--sn-ip", "--sentinel"], "--sn-ip: missing argument"),
        (["--network", "-d"], "--network: missing argument"),
        (["--rm=perhaps"], "--rm is 'perhaps', expected true or false"),
        (["-e", "=1"], "-e takes NAME=VALUE, and there is no name"),
        (["-v", "no/such:/platform/swarm/SMLNODE"], "bad mount: -v no/such:/platform/swarm/SMLNODE"),
        (["--name", "a b"], "name"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_sentence(words, message):
    with pytest.raises(BadInput) as refused:
        launch(*words)
    assert message in str(refused.value)


def test_an_unknown_flag_names_the_nearest():
    with pytest.raises(click.NoSuchOption) as refused:
        launch("--sentinal")
    assert "--sentinel" in refused.value.possibilities


def test_short_flags_may_stand_together_and_next_to_their_value():
    options = [one for one in run_xx.params if isinstance(one, click.Option)]
    words = [word for one in spelled(["-dit", "-eK=V", "-p30306:30306", "-h", "sn1"], options) for word in one.words]
    assert words == ["-d", "-i", "-t", "-e", "K=V", "-p", "30306:30306", "-h", "sn1"]


def test_flags_of_docker_and_of_licence_servers_are_said_once_and_have_no_effect(capsys):
    launch("--network=host-1-net", "--apls-ip", "1.1.1.1", "--dns", "8.8.8.8", "--dns=9.9.9.9", "-it", "--sudo")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("note: without effect")
    assert said.endswith(": --network --apls-ip --dns -i -t --sudo\n")


def test_e_sets_variables_and_the_name_alone_leaves_them():
    assert launch("-e", "FOO=")["FOO"] == ""
    assert launch("--env=FOO=a=b")["FOO"] == "a=b"
    assert launch("-e", "FOO")["FOO"] == "a=b"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--socket-path=/run/agent.sock"], "--socket-path: certificates come from files here, not from", "gen-cert"),
        (["--Sidecar", "ml"], "--sidecar: there are no containers beside a node", "behind --"),
        (["--entrypoint", "bash"], "--entrypoint: a node has no image with a command of its own", "behind --"),
        (["-d", "--attach", "STDOUT"], "-d and --attach contradict each other", ""),
        (["--capath=a", "--cacert=b"], "--capath and --cacert contradict each other: one of them names all CAs", ""),
        (["--env-file", "/no/such"], "bad file: --env-file /no/such cannot be read", ""),
    ],
)
def test_what_is_refused_is_refused_with_the_reason_and_what_to_do_instead(words, message, hint):
    with pytest.raises(BadInput) as refused:
        launch(*words)
    assert message in refused.value.message
    assert hint in refused.value.hint


def test_a_spire_socket_in_the_environment_is_refused_too():
    with pytest.raises(BadInput, match="SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH is set: certificates come from files"):
        launch("-e", "SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH=/tmp/agent.sock")


def test_variables_of_e_and_of_a_file_count_and_those_without_effect_are_said(tmp_path, capsys, monkeypatch):
    for name in ("SN_NODE_IP", "SN_START_MINING", "HOSTNAME"):
        monkeypatch.setenv(name, "")
    (tmp_path / "env").write_text("# of this host\n\nSN_NODE_IP=10.3.3.3\nFOO\n")
    seen = launch("--env-file", str(tmp_path / "env"), "-e", "SN_START_MINING=True", "-h", "sn1.ward")
    assert (seen["sn_ip"], seen["FOO"], os.environ["HOSTNAME"]) == ("10.3.3.3", "before", "sn1.ward")
    assert capsys.readouterr().err.endswith(": SN_START_MINING\n")
    assert launch("--sn-ip=10.4.4.4")["sn_ip"] == "10.4.4.4"  # a flag wins over its variable


def test_a_port_that_hpe_publishes_is_the_port_to_listen_on(capsys):
    assert launch("-p", "31000:30304", "--publish=127.0.0.1:31001:30304/tcp")["sn_api_port"] == 31001
    assert capsys.readouterr().err == ""
    assert launch("-p", "8080:80", "-p30305:30305")["sn_api_port"] == 30304
    assert capsys.readouterr().err.endswith(": -p 8080:80 -p 30305:30305\n")


def test_the_state_directory_is_the_named_one_the_mounted_one_or_the_given_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept/there").mkdir(parents=True)
    mount = "kept/there:/platform/swarm/SMLNODE:rw"
    assert launch("--name=SN1")["state"] == tmp_path / "state/swarm/sn1"
    assert launch("--name=sn1", "-v", mount)["state"] == tmp_path / "kept/there"
    assert launch("-v", "chain:/platform/swarm/SMLNODE")["state"] == tmp_path / "state/swarm/volumes/chain"
    assert launch("--state=here", "-v", mount, "--name=sn1")["state"] == Path("here")
    assert launch("-v", "/data:/tmp/hpe-swarm")["state"] is None


def test_rm_throws_away_what_the_launcher_made_and_nothing_else(tmp_path):
    ours, theirs = tmp_path / "state/swarm/sn1", tmp_path / "theirs"
    for place in (ours, theirs):
        place.mkdir(parents=True)
        (place / "file").write_text("")
    assert launch("--rm", "--name=sn1")["here"]
    assert not ours.exists()
    launch("--rm", "--state", str(theirs))
    launch("--rm", "-v", f"{theirs}:/platform/swarm/SMLNODE")
    assert (theirs / "file").exists()


def test_rm_leaves_the_state_of_a_process_that_runs_there(tmp_path):
    for place in ("sn1", "swci-1/10.1.1.1_30304"):
        with StateDirectory(tmp_path / "state/swarm" / place) as held:
            launch("--rm", f"--name={place.partition('/')[0]}")
            assert (held.path / "lock").exists()
        launch("--rm", f"--name={place.partition('/')[0]}")
        assert not held.path.exists()


# ---- with real nodes


@pytest.fixture
def command(tmp_path):
    def command(name, *arguments):
        return subprocess.run(
            [Path(sys.executable).parent / name, *arguments], capture_output=True, text=True, timeout=180, cwd=tmp_path
        )

    yield command
    command("stop-swarm")


def sn(org, *arguments):
    flags = ("--sentinel", "--host-ip=127.0.0.1", "--sn-p2p-port=0", "--sn-api-port=0", f"--capath={org.capath}")
    return ("run-sn", *flags, f"--cert={org.cert('sn')}", f"--key={org.key('sn')}", *arguments)


def test_d_comes_back_when_the_node_is_ready_and_stop_swarm_ends_it(command, organisation, tmp_path):
    started = command(*sn(organisation(), "-d", "--rm", "--name=sn1", "--network=n"))
    assert started.returncode == 0, started.stderr
    state = tmp_path / "state/swarm/sn1"
    pid = json.loads((state / "ready.json").read_text())["pid"]
    assert started.stdout == f"sn1 is ready: process {pid}, log {state}/output.log\n"
    assert started.stderr.count("note:") == 1
    assert "Starting SWARM-API-SERVER on port:" in (state / "output.log").read_text()
    assert "note:" not in (state / "output.log").read_text()

    others = command("stop-swarm", "--swop", "--SL")
    assert others.stdout == "No running Swarm Operator containers found\nNo running Swarm Learning containers found\n"
    assert psutil.pid_exists(pid)

    ended = command("stop-swarm")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith(
        f"Stopping all running Swarm Network containers\n  sn1 (process {pid})\nRemoving all Swarm Network containers\n"
    )
    assert "Swarm Network" not in command("stop-swarm", "--sl").stdout
    assert not any(process.pid == pid and process.status() != psutil.STATUS_ZOMBIE for process in psutil.process_iter())
    assert not state.exists()


def test_keep_leaves_the_ledger_for_the_next_start(command, organisation, tmp_path):
    org = organisation()
    for _ in range(2):
        started = command(*sn(org, "-d", "--rm"))  # by its certificate's name
        assert started.returncode == 0, started.stderr
        command("stop-swarm", "--keep")
    assert (tmp_path / "state/swarm/sn-1/starts").read_text() == "2\n"


def test_d_ends_with_the_error_of_a_node_that_does_not_become_ready(command, organisation, tmp_path):
    a, b = organisation("a"), organisation("b")
    refused = command(*sn(a, "-d", "--rm", "--name=sn1", f"--key={b.key('sn')}"))
    assert refused.returncode == 3
    assert refused.stderr.startswith("error: sn1 (SN) ended with exit code 3; its last lines:\n  error: ")
    assert "is not the key of" in refused.stderr
    assert list((tmp_path / "state/swarm").glob("*/*")) == []


def test_a_node_in_the_foreground_is_not_ended_by_stop_swarm(command, organisation, tmp_path):
    name, *arguments = sn(organisation(), "--name=sn1")
    with subprocess.Popen([Path(sys.executable).parent / name, *arguments], stderr=subprocess.PIPE, text=True) as node:
        try:
            assert any("Starting SWARM-API-SERVER" in line for line in node.stderr)
            assert "No running Swarm Network containers found" in command("stop-swarm", "--all").stdout
            assert node.poll() is None
        finally:
            node.terminate()
