"""docs/TASKS.md has every key of a task's file, with the default that the code has; its files run as they stand."""

import dataclasses
import json
import re
import subprocess

import pytest
import yaml

from swarm.wire import channels, jobsfile, rolesfile
from tests.cli.conftest import front  # noqa: F401
from tests.test_documents import ROOT, shell_blocks

PAGE = ROOT / "docs/TASKS.md"
TEXT = PAGE.read_text(encoding="utf-8")
TABLES = {
    "key of a `Body` of jobs": jobsfile.RunJobs,
    "key of `Resources`": jobsfile.Resources,
    "key of a `Body` with roles": rolesfile.RolesBody,
    "key of a role": rolesfile.RoleBody,
    "key of bounds in `Replicas`": rolesfile.Bounds,
    "key of `StopOn`": rolesfile.Goal,
    "key of a channel": channels.Channel,
}


def defaults(head):
    """By key, what the table with this head gives as its default."""
    (table,) = re.findall(rf"^\| {re.escape(head)} \| default \| what it says \|\n\|-.*\n((?:\|.+\n)+)", TEXT, re.M)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    assert all(len(row) == 3 and row[2] for row in rows)
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0].strip("`"): row[1] for row in rows}


def written(field):
    """The default of a key as a file would say it."""
    made = field.default_factory
    value = field.default if made is dataclasses.MISSING else made()
    if value is dataclasses.MISSING:
        return "needed"
    if dataclasses.is_dataclass(value):
        value = dataclasses.asdict(value)
    return yaml.safe_dump(value, default_flow_style=True).split("\n")[0] if value not in (None, (), {}) else "–"


@pytest.mark.parametrize("head", TABLES)
def test_a_table_has_every_key_with_its_default(head):
    assert defaults(head) == {field.name: written(field) for field in dataclasses.fields(TABLES[head])}


def test_the_first_table_has_the_keys_of_both_kinds_of_file():
    fields = [*dataclasses.fields(jobsfile.Written), *dataclasses.fields(rolesfile.Written)]
    assert defaults("key") == {field.name: written(field) for field in fields}


def test_the_variables_that_the_page_names_are_given_to_programs():
    sources = "".join((ROOT / "swarm" / name).read_text() for name in ("nodes/jobbing.py", "nodes/casting.py"))
    sources += (ROOT / "swarm/wire/channels.py").read_text()
    named = set(re.findall(r"`((?:SWARM|MASTER|CUDA|WORLD)_[A-Z_]+|RANK)`", TEXT))
    assert len(named) >= 8
    assert all(f'"{name}"' in sources for name in named)


def files():
    return dict(re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL))


def test_the_files_on_the_page_are_read_without_a_warning():
    for name, text in files().items():
        read = jobsfile if "RUN_JOBS" in text else rolesfile
        assert read.parse(text.encode(), name).warnings == ()


@pytest.mark.slow
def test_the_files_on_the_page_run_by_its_commands(front, tmp_path):  # noqa: F811
    for name, text in files().items():
        (tmp_path / name).write_text(text)
    for line in "".join(shell_blocks(PAGE)).splitlines():
        if line == "swarm down":
            shown = [json.loads(front("task", "show", name, "--json").stdout) for name in ("greetings", "squares")]
            said = [front("logs", each["slots"][0]["id"]).stdout for each in shown]
        done = subprocess.run(
            ["sh", "-e", "-c", line], cwd=tmp_path, env=front.environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, line + done.stdout + done.stderr
    assert [each["state"] for each in shown] == ["done", "done"]
    assert "hello alice" in said[0]
    assert "{'a': 9, 'b': 16}" in said[1]
