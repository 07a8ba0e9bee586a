"""The documents say what is true: their commands run, what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Stands in for scp between hosts: HOST:path is the folder HOST beside the current one.
SCP = """#!/bin/sh
place() { case "$1" in *:*) echo "../${1%%:*}/${1#*:}" ;; *) echo "$1" ;; esac; }
exec cp "$(place "$1")" "$(place "$2")"
"""


def shell_blocks(path):
    return re.findall(r"^```sh\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_commands_of_the_certificates_page_run_as_they_stand(tmp_path):
    tools = tmp_path / "tools"
    for folder in (tools, tmp_path / "HOST-A", tmp_path / "HOST-B"):
        folder.mkdir()
    (tools / "scp").write_text(SCP)
    (tools / "scp").chmod(0o755)
    path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
    blocks = shell_blocks(ROOT / "certs/README.md")
    # The other host's part comes first: the exchange needs both.
    blocks.sort(key=lambda block: not block.startswith("# on HOST-B"))
    out = ""
    for block in blocks:
        host = "HOST-B" if block.startswith("# on HOST-B") else "HOST-A"
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=tmp_path / host, env={**os.environ, "PATH": path},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"
        out += done.stdout
    for host in ("HOST-A", "HOST-B"):
        names = {file.name for file in (tmp_path / host).glob("workspace/mnist/cert*/ca/capath/*")}
        assert names == {"ca-1-cert.pem", "ca-2-cert.pem"}
    assert "URI:swarm://hospital-a/sn/sn-1" in out
    assert "sn-1-cert.pem: OK" in out


def test_the_certificates_folder_lets_nothing_else_in():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    ignored = subprocess.run(
        ["git", "check-ignore", "certs/ca-1-cert.txt", "certs/mnist/cert", "certs/README.md", "certs/.gitignore"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert ignored.stdout.split() == ["certs/ca-1-cert.txt", "certs/mnist/cert"]


def roadmap_rows():
    lines = (ROOT / "docs/ROADMAP.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if row[0] != "item" and not set("".join(row)) <= set("-")]


def test_the_roadmap_names_tests_that_exist_and_nothing_is_done_without_one():
    rows = roadmap_rows()
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        item, state, shown = row
        assert state in ("done", "under way", "planned"), row
        tests = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", shown)
        for path, name in tests:
            assert (ROOT / path).exists(), f"{item}: {path} does not exist"
            text = (ROOT / path).read_text(encoding="utf-8")
            assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{item}: no {name} in {path}"
        assert tests or state != "done", f"{item} is done, but nothing shows it"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "certs/README.md", "profiles/README.md"]
)
def test_links_between_documents_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}"


def test_every_direct_dependency_has_one_version_and_its_reason():
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    declared = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    names = {re.split(r"[<>=\[ ]", line)[0].lower() for text in declared for line in text.split("\n") if line.strip()}
    reasons = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if pinned := re.match(r"([\w.-]+)==\S+(  # .+)?$", line):
            reasons[pinned[1].lower()] = pinned[2]
        else:
            assert not line or line.startswith("# "), line
    for name in names - {"#", "swarm-learning"}:
        assert reasons.get(name), f"{name}: no pinned version with a reason in constraints.txt"


def test_the_design_draws_the_states_that_the_code_has():
    from swarm.core import events, member_steps
    from swarm.core.contract import MEMBER
    from swarm.core.member import Phase

    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    arrows = re.findall(r"^ +(\S+) --> (\S+?)(?:: (\w+).*)?$", drawing, re.MULTILINE)
    assert {name for source, target, _ in arrows for name in (source, target)} == {"[*]", *(one.value for one in Phase)}
    for _, _, event in arrows[1:]:
        assert hasattr(member_steps, event) or hasattr(events, event), event

    (table,) = re.findall(r"^\| what happens \| from \| to \|\n\|---.*\n((?:\|.+\n)+)", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    drawn = {(state, what.split(":")[0]): to for what, states, to in rows for state in states.split(", ")}
    assert drawn == MEMBER
