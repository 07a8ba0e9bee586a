"""What a person at a terminal meets: completion, history, Ctrl-C and Ctrl-D."""

from __future__ import annotations

import pytest
import trio
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from swarm.nodes.swci.commands import COMMANDS, GRAMMAR
from swarm.nodes.swci.completion import candidates, partial
from swarm.nodes.swci.console import HISTORY_MAX, Console

NAMES = {
    "task": ["build", "run"], "taskrunner": ["first"], "contract": ["c"], "name": ["net"], "task-type": ["RUN_SWARM"],
}  # fmt: skip
SYNTAXES = [command.syntax for command in COMMANDS]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("SWI", ["SWITCH"]),
        ("swi", ["switch"]),
        ("switch context ", ["net"]),
        ("FINALIZE TASK r", ["run"]),
        ("assign task run to ", ["first"]),
        ("ASSIGN TASK run TO first WITH 2 ", ["PEERS"]),
        ("CREATE TASK ", ["FROM", "RUN_SWARM"]),
        ("WAIT FOR ", ["IP", "SERVICE", "TASKRUNNER"]),
        ("PERFDATA ", ["c"]),
        ("EXIT ON FAILURE OFF ", []),
        ("no such thing ", []),
        ("SLEEP ", []),
    ],
)
def test_what_may_come_next(line, offered):
    assert candidates(line, SYNTAXES, NAMES) == offered


def test_every_command_can_be_reached_word_by_word_and_is_read_then():
    known = {part.strip("<>[]."): ["7"] for syntax in SYNTAXES for part in syntax.parts if part[0] in "<["}
    for command in COMMANDS:
        line = ""
        for part in command.syntax.parts:
            wanted = "7" if part[0] in "<[" else part
            assert wanted in candidates(line, SYNTAXES, known), (command.text, line)
            line += f"{wanted} "
        assert GRAMMAR.read(line)[0].syntax.own_words >= command.syntax.own_words


def test_the_word_that_is_being_typed():
    assert [partial(line) for line in ("", "GET", "GET ", "GET TA", "GET\tTASK\t")] == ["", "GET", "", "TA", ""]


def typed(tmp_path, *keys):
    """What comes of these keys, one prompt after the other, until the person is done."""

    async def main():
        console = Console(tmp_path / "private" / "history", lambda text: (len(partial(text)), ["LIST TASKS"]))
        lines = []
        while (line := await console.ask("> ")) is not None:
            lines.append(line)
        return lines

    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        keyboard.send_text("".join(keys))
        return trio.run(main)


CTRL_C, CTRL_D, UP, TAB = "\x03", "\x04", "\x1b[A", "\t"


def test_lines_end_with_ctrl_d_and_ctrl_c_drops_one(tmp_path):
    assert typed(tmp_path, "PWD\r", "never sent", CTRL_C, "LS\r", CTRL_D) == ["PWD", "LS"]


def test_lines_are_found_again_in_a_private_file(tmp_path):
    typed(tmp_path, "PWD\r", CTRL_D)
    assert typed(tmp_path, UP, "\r", CTRL_D) == ["PWD"]
    history = tmp_path / "private" / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700


def test_a_long_history_is_cut_to_its_newer_half(tmp_path):
    history = tmp_path / "private" / "history"
    history.parent.mkdir()
    history.write_text("".join(f"\n# then\n+SLEEP {number}\n" for number in range(20_000)))
    assert history.stat().st_size > HISTORY_MAX
    assert typed(tmp_path, UP, "\r", CTRL_D) == ["SLEEP 19999"]
    assert history.stat().st_size <= HISTORY_MAX // 2 + 100
    assert history.read_text().startswith("# then\n+SLEEP ")


def test_a_prompt_that_is_given_up_ends_its_thread(tmp_path):
    async def main():
        console = Console(tmp_path / "history", lambda text: (0, []))
        with trio.move_on_after(0.3):
            await console.ask("> ")
        return console._session.app.is_running

    with create_pipe_input() as keyboard, create_app_session(input=keyboard, output=DummyOutput()):
        assert not trio.run(main)
