"""The documents say what is true: their commands run, what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md", "CONTRIBUTING.md", "docs/ARCHITECTURE.md", "docs/RELIABILITY.md", "docs/BENCHMARKS.md",
    "docs/from-hpe.md", "docs/SWCI.md", "docs/CALLBACKS.md", "docs/TASKS.md",
    "docs/tutorial-two-hosts.md", "certs/README.md", "profiles/README.md",
    "examples/mnist-pyt/README.md", "examples/sklearn/README.md", "examples/hf-peft/README.md",
    "examples/fraud/README.md", "examples/from_flame/README.md",
)  # fmt: skip
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


def rows_of(page):
    """The cells of the rows of all its tables, without the heads."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    rules = [at for at, row in enumerate(rows) if set("".join(row)) <= set("-:")]
    return [row for at, row in enumerate(rows) if at not in rules and at + 1 not in rules]


def named_tests(item, shown):
    """Those that a row names, all of which exist."""
    tests = re.findall(r"(tests/[\w/]+\.py)::(test_\w+)", shown)
    for path, name in tests:
        assert (ROOT / path).exists(), f"{item}: {path} does not exist"
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{item}: no {name} in {path}"
    return tests


def test_the_roadmap_names_tests_that_exist_and_nothing_is_done_without_one():
    rows = rows_of("docs/ROADMAP.md")
    assert len(rows) > 40
    for row in rows:
        assert len(row) == 3, row
        item, state, shown = row
        assert state in ("done", "under way", "planned"), row
        assert named_tests(item, shown) or state != "done", f"{item} is done, but nothing shows it"


def test_a_hundred_situations_have_their_state_and_none_holds_without_a_test():
    rows = [row for row in rows_of("docs/RELIABILITY.md") if row[0].isdigit()]
    assert [int(row[0]) for row in rows] == list(range(1, 101))
    for row in rows:
        assert len(row) == 5, row
        number, _, _, state, shown = row
        word = re.match(r"holds(?=$|, )|partly(?=: .)|planned$", state)
        assert word, f"{number}: {state}"
        tests = named_tests(number, shown)
        assert bool(tests) == (word[0] != "planned"), f"{number} is {word[0]}, and {tests} show it"


def test_every_kind_of_fault_has_its_figures_with_command_date_and_commit():
    from tests.chaos.faults import KINDS

    text = (ROOT / "docs/RELIABILITY.md").read_text(encoding="utf-8")
    ((head, table),) = re.findall(r"^\| kind \| what is done[^|]*\|(.+)\|\n\|-.+\n((?:\|.+\n)+)", text, re.MULTILINE)
    runs = [cell.strip() for cell in head.split("|")]
    for run in runs:
        assert re.fullmatch(
            r"`python -m tests\.chaos --minutes \d+ --seed \d+ --json`, \d+ \w+ 20\d\d, [0-9a-f]{7}", run
        ), run
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert [kind for kind, *_ in rows] == list(KINDS)
    for kind, what, *figures in rows:
        assert what
        assert len(figures) == len(runs), kind
        for figure in figures:
            assert re.fullmatch(r"\d+: \d+\.\d{1,2} s, \d+\.\d{1,2} s", figure), f"{kind}: {figure}"


def test_what_the_tools_found_is_kept_dead_by_tests_that_exist():
    rows = rows_of("docs/RELIABILITY.md")
    (begin,) = [at for at, row in enumerate(rows) if row[0] == "100"]
    assert len(rows[begin + 1 :]) >= 10
    for row in rows[begin + 1 :]:
        assert len(row) == 3, row
        assert named_tests(row[0], row[2]), f"nothing keeps dead: {row[0]}"


@pytest.mark.parametrize("page", PAGES)
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
    states = {one.value.replace(" ", "_") for one in Phase}  # in a drawing, one word each
    assert {name for source, target, _ in arrows for name in (source, target)} == {"[*]", *states}
    for _, _, event in arrows[1:]:
        assert hasattr(member_steps, event) or hasattr(events, event), event

    (table,) = re.findall(r"^\| what happens \| from \| to \|\n\|---.*\n((?:\|.+\n)+)", text, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    drawn = {(state, what.split(":")[0]): to for what, states, to in rows for state in states.split(", ")}
    assert drawn == MEMBER
