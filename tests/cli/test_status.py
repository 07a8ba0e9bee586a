"""`swarm status|nodes|org|logs`: what a network is like from outside, for people and as JSON."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def look(swarm, identity):
    def look(*arguments, reach=None):
        flags = ["--sn-ip", "127.0.0.1", "--sn-api-port", swarm.api_port(0), *identity] if reach is None else reach
        command = [BIN / "swarm", *map(str, [*arguments, *flags])]
        return subprocess.run(command, capture_output=True, text=True, timeout=180)

    return look


def test_status_says_what_runs_and_who_waits(swarm, look, identity, tmp_path):
    task = "Name: t[b]\nTaskType: PULL_IMAGE\nAuthor: a\nPrereq: ROOTTASK\nOutcome: o\n"
    (tmp_path / "t.yaml").write_text(f"{task}Body: {{OrgAndReg: o, RepoName: r, Tag: t, Auth: ~}}\n")
    (tmp_path / "swci-init").write_text(
        f"exit on failure\ncreate context a with ip 127.0.0.1 {swarm.api_port(0)}\nswitch context a\n"
        "create task from t.yaml\nfinalize task t[b]\ncreate taskrunner r\nassign task t[b] to r with 2 peers\n"
    )
    steered = [sys.executable, "-m", "swarm.cli.run_swci", *map(str, identity), "--usr-dir", str(tmp_path)]
    subprocess.run(steered, check=True, timeout=180, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    shown = look("status")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"sn-1 (org-1) at 127.0.0.1:{swarm.api_port(0)}: leader of the ledger, ")
    lines = [line.split("  ") for line in shown.stdout.splitlines()]
    rows = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    waits = "waits for 2 more of the 2 SWOP peers asked for"
    assert ["t[b]", "PULL_IMAGE", "ROOTTASK", "queued", waits] in rows
    assert ["r", "t[b]", "queued", "0 of 2 SWOP", "nobody listens", waits] in rows

    status = json.loads(look("status", "--json").stdout)
    assert status["ok"]
    assert [node["name"] for node in status["nodes"]] == ["sn-1"]  # who has left is not listed
    (runner,) = [one for one in status["taskrunners"] if one["name"] == "r"]
    assert (runner["runs"][0]["state"], runner["runs"][0]["needed"]) == ("queued", 2)


def test_nodes_are_listed_with_uid_and_sign_of_life(look):
    (node,) = json.loads(look("nodes", "--json").stdout)["nodes"]
    assert (node["role"], node["sentinel"], node["state"]) == ("sn", True, "live")
    assert node["heard_ms"] > 0
    assert node["uid"] in look("nodes").stdout


def test_organisations_are_listed_and_admitted(look, organisation):
    known = json.loads(look("org", "list", "--json").stdout)["organisations"]
    assert [one["name"] for one in known] == ["org-1", "org-2"] or [one["name"] for one in known] == ["org-2", "org-1"]
    new = organisation("clinic-c")
    admitted = look("org", "admit", new.ca_cert)
    assert admitted.returncode == 0, admitted.stderr
    assert admitted.stdout.startswith("organisation clinic-c is admitted (sha256:")
    again = json.loads(look("org", "admit", new.ca_cert, "--json").stdout)
    assert (again["organisation"], again["known"]) == ("clinic-c", True)
    assert again["key"] in look("org", "list").stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"hello", "a CA file is not a PEM certificate"),
        ("leaf", "is not a CA certificate: expected CA:TRUE"),
        ("two", "has 2 CA certificates, expected one"),
    ],
)
def test_what_is_no_ca_certificate_is_refused_before_anybody_is_asked(look, organisation, tmp_path, content, sentence):
    file = tmp_path / "ca.pem"
    if content == "leaf":
        content = organisation().cert("sn").read_bytes()
    elif content == "two":
        content = organisation("a").ca_cert.read_bytes() + organisation("b").ca_cert.read_bytes()
    if content is not None:
        file.write_bytes(content)
    refused = look("org", "admit", file)
    assert refused.returncode == 2
    assert f"{file}" in refused.stderr
    assert sentence in refused.stderr


def test_another_organisation_may_not_admit_anybody(swarm, look, organisation):
    tree = swarm.trees[1]
    flags = ["--key", tree.key("swci"), "--cert", tree.certificate("swci"), "--capath", tree.capath]
    ca = organisation("clinic-d").ca_cert
    refused = look("org", "admit", ca, reach=["--sn-ip", "127.0.0.1", "--sn-api-port", swarm.api_port(0), *flags])
    assert refused.returncode == 5
    assert "only a swci of the sentinel's organisation org-1 may" in refused.stderr


def test_without_a_network_it_says_how_to_get_one(look, identity):
    nowhere = look("status", reach=[])
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert nowhere.stderr == ("error: no swarm runs here\nhint: swarm up starts one; --sn-ip names one elsewhere\n")
    half = look("nodes", "--json", reach=["--sn-ip", "127.0.0.1"])
    assert half.returncode == 2
    assert json.loads(half.stdout)["error"]["message"] == "--sn-ip, --key, --cert and --capath belong together"
    wrong_role = [str(flag).replace("swci-", "sl-") for flag in identity]
    refused = look("status", reach=["--sn-ip", "127.0.0.1", *wrong_role])
    assert refused.returncode == 3


def test_logs_are_found_by_node_and_slot(swarm, look, tmp_path):
    slot = tmp_path / "swop-1" / "slots" / "12.0-3"
    slot.mkdir(parents=True)
    (slot / "ml.log").write_text("".join(f"line {n}\n" for n in range(200)))
    (slot / "sl.log").write_text("learning\n")
    (tmp_path / "swop-1" / "logs").mkdir()
    (tmp_path / "swop-1" / "logs" / "swarm.log").write_text("operating\n")
    here = ["--state", tmp_path]
    assert look("logs", "12.0", "-n", "2", reach=here).stdout == "line 198\nline 199\n"
    assert look("logs", "12.0.sl", reach=here).stdout == "learning\n"
    (slot / "ml.log").write_text("a\tb \x1b]0;title\x07\x1b[31mred\r\n")
    assert look("logs", "12.0", reach=here).stdout == "a\tb  ]0;title  [31mred\n"
    assert json.loads(look("logs", "swop-1", "--json", reach=here).stdout)["lines"] == ["operating"]
    assert {one["name"] for one in json.loads(look("logs", "--json", reach=here).stdout)["logs"]} == {
        "12.0", "12.0.sl", "swop-1",
    }  # fmt: skip
    unknown = look("logs", "swop1", reach=here)
    assert unknown.returncode == 2
    assert "hint: did you mean swop-1?" in unknown.stderr
    one = look("logs", "sn-1", "-n", "1000", reach=["--state", swarm.directory])
    assert "Starting SWARM-API-SERVER on port" in one.stdout
