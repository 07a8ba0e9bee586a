"""docs/from-hpe.md says what is true: every flag and variable as the code has it, every line of the checklist shown."""

import importlib
import re
from pathlib import Path

import click
import pytest

from swarm.cli.flags import FLAGS, LAUNCHERS, VARIABLES, Row
from swarm.cli.launching import PORTS, Denied, WithoutEffect
from tests.test_documents import named_tests, rows_of

PAGE = "docs/from-hpe.md"
ROOT = Path(__file__).resolve().parent.parent
COMMANDS = {name: importlib.import_module(f"swarm.cli.{name.replace('-', '_')}") for name in LAUNCHERS}


def command_of(launcher):
    return next(one for one in vars(COMMANDS[launcher]).values() if isinstance(one, click.Command))


def option_of(command, name):
    return next((one for one in command.params if isinstance(one, click.Option) and name in one.opts), None)


def line(row):
    names = [f"`{name}`" for each in row.names for name in each.split()]
    if row.state == "harmless" and row.names[0].startswith("--ml-"):  # one for each option of docker
        names = ["`--ml-…`"]
    readers = "all" if row.of == LAUNCHERS else " ".join(row.of)
    return f"| {' '.join(names)} | {readers} | {row.state} | {row.says}{'; ' + row.hint if row.hint else ''} |"


def test_the_page_has_every_flag_and_variable_as_the_table_in_the_code_has_it():
    page = (ROOT / PAGE).read_text(encoding="utf-8").splitlines()
    expected = list(dict.fromkeys(line(row) for row in (*FLAGS, *VARIABLES)))
    missing = [one for one in expected if one not in page]
    assert not missing, "not on the page:\n" + "\n".join(missing)
    shown = [one for one in page if re.match(r"\| `(-|[A-Z])", one) and one.count(" | ") == 3]
    assert shown == expected, "on the page and not in the table: " + "\n".join(set(shown) - set(expected))


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_flag_is_what_its_row_says(launcher):
    command = command_of(launcher)
    kinds = {"harmless": WithoutEffect, "refused": Denied}
    for row in (row for row in FLAGS if launcher in row.of):
        for name in (name for each in row.names for name in each.split() if name != "--help"):
            option = option_of(command, name)
            assert option is not None, f"{launcher} does not know {name}"
            assert isinstance(option, kinds.get(row.state, click.Option)), (launcher, name)
            assert isinstance(option, WithoutEffect | Denied) == (row.state != "implemented"), (launcher, name)
            assert option.is_flag == row.switch, (launcher, name)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_variables_that_say_what_a_flag_says_are_read_by_that_flag(launcher):
    command = command_of(launcher)
    for row in VARIABLES:
        flags = re.findall(r"--[\w-]+", row.says) if row.says.startswith("as `") else []
        if launcher not in row.of or len(flags) != len(row.names):
            continue
        for variable, flag in zip(row.names, flags, strict=True):
            option = option_of(command, flag)
            if option is None:
                assert any(option_of(command_of(other), flag) for other in row.of), flag
                continue
            read = [option.envvar] if isinstance(option.envvar, str) else option.envvar or []
            assert variable in read, (launcher, flag, variable)


def test_the_ports_that_hpe_publishes_are_ports_that_commands_listen_on():
    for role, ports in PORTS.items():
        for port, flag in ports.items():
            option = option_of(command_of(f"run-{role}"), flag)
            assert option is not None, (role, flag)
            assert option.default == int(port), (role, flag)


def test_no_flag_and_no_variable_stands_in_two_rows_of_one_command():
    for launcher in LAUNCHERS:
        names = [name for row in FLAGS if launcher in row.of for each in row.names for name in each.split()]
        assert len(names) == len(set(names)), [name for name in names if names.count(name) > 1]
    variables = [name for row in VARIABLES for name in row.names]
    assert len(variables) == len(set(variables))


def test_a_row_that_refuses_says_what_to_do_instead():
    for row in (*FLAGS, *VARIABLES):
        assert row.says, row
        assert bool(row.hint) == (row.state == "refused"), row
        if isinstance(row, Row):
            assert set(row.of) <= set(LAUNCHERS)


def test_the_checklist_has_every_line_once_and_nothing_is_done_without_a_test():
    rows = [row for row in rows_of(PAGE) if re.fullmatch(r"P[01]-\d+", row[0])]
    assert [row[0] for row in rows] == [f"P{int(number > 13)}-{number}" for number in range(1, 23)]
    for row in rows:
        assert len(row) == 4, row
        number, _, state, shown = row
        assert re.match(r"done$|(under way|replaced|coming): .", state), f"{number}: {state}"
        assert named_tests(number, shown) or not state.startswith(("done", "replaced")), f"nothing shows {number}"
