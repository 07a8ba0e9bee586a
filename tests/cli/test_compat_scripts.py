"""HPE's scripts by name, the archive of logs, and the end of everything: nothing leaves a host that should stay."""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

from swarm.cli import collect, main, uninstall
from swarm.cli.compat import SCRIPTS
from swarm.cli.ending import run
from swarm.errors import BadInput
from swarm.nodes.collecting import collect as collected
from swarm.runtime.statedir import StateDirectory

NOW = datetime(2026, 11, 22, 1, 2, 3, tzinfo=UTC)
SECRET = "hunter2hunter2"
KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"


@pytest.fixture
def base(tmp_path, monkeypatch):
    """Where nodes keep their state."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state/swarm"


# ---- swarm compat scripts


def test_the_scripts_of_hpe_are_two_lines_that_run_our_commands(base, tmp_path, capfd):
    assert run(main.command, ["compat", "scripts", "scripts/bin"]) == 0
    written = {path.name: path for path in (tmp_path / "scripts/bin").iterdir()}
    assert set(written) == set(SCRIPTS)
    for name, path in written.items():
        assert path.read_text().count("\n") == 2
        asked = subprocess.run([path, "--help"], capture_output=True, text=True, timeout=60)
        assert (asked.returncode, asked.stderr) == (0, ""), name
        assert name in asked.stdout
    assert run(main.command, ["compat", "scripts", "scripts/bin"]) == 0  # once more


def test_scripts_of_others_are_not_replaced_unless_that_is_said(base, tmp_path, capsys):
    (tmp_path / "run-sn").write_text("#!/bin/bash\n# theirs\n")
    assert run(main.command, ["compat", "scripts", "."]) == 2
    assert "error: . has a run-sn of its own" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run-sn"]
    assert run(main.command, ["compat", "scripts", ".", "--force"]) == 0
    assert "exec" in (tmp_path / "run-sn").read_text()


# ---- swarmLogCollector


@pytest.fixture
def host(base, tmp_path):
    """Nodes, a slot, a workspace; and keys and secrets wherever they could lie."""
    log = f"2026-11-22 : swarm.SN : INFO : ready\nHF_TOKEN={SECRET}\nproxy http://me:{SECRET}@proxy:3128\n{KEY}"
    for file, text in {
        "sn1/output.log": log,
        "sn1/ledger.db": KEY,
        "sn1/node.key": KEY,
        "sn1/ready.json": json.dumps({"uid": "u", "api_port": 30304}),
        "swop1/logs/swarm.log": log,
        "swop1/slots/12.0-12/ml.log": log,
        "swop1/slots/12.0-12/sl.log": log,
        "swop1/slots/12.0-12/ml.json": json.dumps({"environment": {"DB_PASSWORD": SECRET}}),
        "swop1/secrets": f"db={SECRET}",
        "sl-1/logs/swarm.log": log,
        "sl-1/report.jsonl": "",
    }.items():
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).write_text(text)
    for file, text in {
        "mnist/swop/swop1_profile.yaml": f"usrenvvars:\n  - DB_PASSWORD : {SECRET}\n  - EPOCHS : 2\n",
        "mnist/swci/taskdefs/run.yaml": "Name: run\n",
        "mnist/swci/swci-init": SECRET,
        "mnist/cert/sn-1-key.pem": KEY,
        "mnist/app-data/patients.yaml": SECRET,
    }.items():
        (tmp_path / "workspace" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "workspace" / file).write_text(text)
    return base


def unpacked(archive):
    with tarfile.open(archive) as tar:
        files = {member.name: tar.extractfile(member).read().decode() for member in tar if member.isfile()}
    (folder,) = {name.partition("/")[0] for name in files}
    assert archive.name == f"{folder}.tar.gz"
    return folder, {name.partition("/")[2]: text for name, text in files.items()}


@pytest.mark.parametrize("where", ["workspace", "workspace/mnist"])
def test_the_archive_has_hpes_layout_and_neither_keys_nor_secrets(host, tmp_path, where):
    made = collected(host, tmp_path / where, tmp_path / "logs", NOW)
    folder, files = unpacked(made.archive)
    assert folder.startswith("swarm_logs_")
    assert folder.endswith("_20261122010203")
    assert made.archive.stat().st_mode & 0o777 == 0o600
    example = "workspace/mnist" if where == "workspace" else "workspace"
    import swarm

    version = swarm.__version__
    assert set(files) == {
        "out.log", f"sn_{version}_1.log", f"sn_inspect_{version}_1.log", f"swop_{version}_1.log",
        f"swop_inspect_{version}_1.log", f"sl_{version}_1.log", f"sl_inspect_{version}_1.log", f"sl_{version}_2.log",
        "user_1.log", f"{example}/swop/swop1_profile.yaml", f"{example}/swci/taskdefs/run.yaml",
    }  # fmt: skip
    for name, text in files.items():
        assert SECRET not in text, name
        assert "PRIVATE KEY" not in text, name
    assert "ready" in files[f"sn_{version}_1.log"]
    assert "HF_TOKEN=(hidden)" in files["user_1.log"]
    assert "- EPOCHS : 2" in files[f"{example}/swop/swop1_profile.yaml"]
    assert f"swarm {version}" in files["out.log"]
    assert "click==" in files["out.log"]
    inspected = json.loads(files[f"sn_inspect_{version}_1.log"])
    assert (inspected["name"], inspected["running"], inspected["ready"]["api_port"]) == ("sn1", False, 30304)
    assert "node.key" in inspected["files"]  # that it is there, and its size


def test_hpes_two_words_are_taken(host, tmp_path, capsys):
    assert run(collect.command, ["hub.example/hpe", "workspace=workspace/mnist", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["archive"]).parent == Path("logs")
    assert "workspace/swop/swop1_profile.yaml" in said["files"]
    assert run(collect.command, ["hub.example/hpe", "mlimage=user-env"]) == 0
    assert "note: without effect" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hub", "work-space=x"], "'work-space=x' is neither HUB nor workspace=DIR"),
        (["hub", "x"], "'x' is neither HUB nor workspace=DIR"),
        (["workspace=/no/such"], "bad directory: workspace=/no/such is none"),
    ],
)
def test_words_that_mean_nothing_are_refused(base, capsys, words, said):
    assert run(collect.command, words) == 2
    assert said in capsys.readouterr().err


def test_without_any_node_the_host_is_described(base, tmp_path):
    assert collected(base, None, tmp_path / "logs", NOW).names == ("out.log",)


def test_an_archive_that_cannot_be_written_is_named_and_leaves_nothing(base, tmp_path):
    (tmp_path / "logs").write_text("")
    with pytest.raises(BadInput, match="cannot be written"):
        collected(base, None, tmp_path / "logs", NOW)


# ---- swarm uninstall


def test_uninstall_asks_and_keeps_certificates(host, monkeypatch, capsys):
    (host / "up/org-1/ca").mkdir(parents=True)
    (host / "up/org-1/sn-1-key.pem").write_text(KEY)
    (host / "up/sn-1").mkdir()
    monkeypatch.setattr(click, "confirm", lambda *_, **__: (_ for _ in ()).throw(click.Abort()))
    assert run(uninstall.command, []) == 130
    assert (host / "sn1/ledger.db").exists()
    assert f"  {host / 'sn1'}\n" in capsys.readouterr().out
    assert run(uninstall.command, ["--yes"]) == 0
    assert [path for path in host.rglob("*") if path.is_file()] == [host / "up/org-1/sn-1-key.pem"]
    assert f"kept: {host / 'up/org-1'}" in capsys.readouterr().out


def test_uninstall_removes_nothing_while_a_node_runs_that_nobody_left_running(host, capsys):
    with StateDirectory(host / "sn9"):
        assert run(uninstall.command, ["--yes"]) == 5
        assert f"nodes run in {host / 'sn9'}, and not by -d: nothing was removed" in capsys.readouterr().err
        assert (host / "swop1/secrets").exists()


def test_uninstall_where_nothing_is(base, capsys):
    assert run(uninstall.command, []) == 0
    assert f"there is nothing in {base}" in capsys.readouterr().out
    assert not os.path.exists(base)
