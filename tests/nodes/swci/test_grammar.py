"""Lines and commands: what is read, in which spelling, and what a person is told about a line that is none."""

import re
from pathlib import Path

import pytest

from swarm.errors import BadInput
from swarm.nodes.swci.commands import COMMANDS, GRAMMAR
from swarm.nodes.swci.grammar import Syntax, is_command

# HPE's published scripts and documentation, in their spellings.
AS_PUBLISHED = {
    "EXIT ON FAILURE": {},
    "wait for ip sn1": {"ip": "sn1"},
    "WAIT FOR IP 172.1.1.1 30304 12": {"ip": "172.1.1.1", "port": "30304", "retries": "12"},
    "wait for service api.sn-1.swarm": {"service": "api.sn-1.swarm"},
    "create context test-mnist with ip 172.1.1.1": {"name": "test-mnist", "ip": "172.1.1.1"},
    "create context example with service api.sn-1.swarm": {"name": "example", "service": "api.sn-1.swarm"},
    "switch context test-mnist": {"name": "test-mnist"},
    "EXIT ON FAILURE OFF": {},
    "cd /platform/swarm/usr": {"directory": "/platform/swarm/usr"},
    "finalize task user_env_tf_build_task": {"task": "user_env_tf_build_task"},
    "get task info user_env_tf_build_task": {"task": "user_env_tf_build_task"},
    "get task body user_env_tf_build_task": {"task": "user_env_tf_build_task"},
    "list tasks": {},
    "RESET TASKRUNNER defaulttaskbb.taskdb.sml.hpe": {"taskrunner": "defaulttaskbb.taskdb.sml.hpe"},
    "ASSIGN TASK t TO r WITH 2 PEERS": {"task": "t", "taskrunner": "r", "n": "2"},
    "ASSIGN TASK t TO r WITH ALL PEERS": {"task": "t", "taskrunner": "r"},
    "assign task t to r target 3e5423d2": {"task": "t", "taskrunner": "r", "swop_uid": "3e5423d2"},
    "WAIT FOR TASKRUNNER r": {"taskrunner": "r"},
    "get taskrunner peer status r 0": {"taskrunner": "r", "swop": "0"},
    "SLEEP 15": {"seconds": "15"},
    "LIST CONTRACTS": {},
    "list Nodes": {},
    "RESET CONTRACT defaultbb.cqdb.sml.hpe": {"contract": "defaultbb.cqdb.sml.hpe"},
    "EXIT": {},
    "ls": {},
    "help HELP": {"command": "HELP"},
    "get context env APISRV_CON_RETRY": {"variable": "APISRV_CON_RETRY"},
    "GET CONTEXT ENV here X": {"context": "here", "variable": "X"},
    "list context env": {},
    "LIST CONTEXT ENV here": {"context": "here"},
    "set context env X 'two words'": {"variable": "X", "value": "two words"},
    "SET CONTEXT ENV here X 1": {"context": "here", "variable": "X", "value": "1"},
    "perfdata defaultbb.cqdb.sml.hpe": {"contract": "defaultbb.cqdb.sml.hpe"},
    "CREATE TASK FROM taskdefs/run.yaml": {"file": "taskdefs/run.yaml"},
    "CREATE TASK PULL_IMAGE t me ROOTTASK img": {
        "task_type": "PULL_IMAGE",
        "task": "t",
        "author": "me",
        "prereq": "ROOTTASK",
        "outcome": "img",
    },
    "APPEND TASK BODY t 3 - FROM  scratch": {"task": "t", "index": "3", "line": "- FROM  scratch"},
    "APPEND TASK BODY t 4   - indented": {"task": "t", "index": "4", "line": "  - indented"},
    "append task body t 5": {"task": "t", "index": "5"},
    "WAIT\tFOR TASKRUNNER  r\r": {"taskrunner": "r"},
}


@pytest.mark.parametrize("line", AS_PUBLISHED)
def test_what_is_published_is_read(line):
    _, arguments = GRAMMAR.read(line)
    assert arguments == AS_PUBLISHED[line]


def test_every_command_is_meant_by_its_own_syntax():
    for command in COMMANDS:
        line = command.text.replace("<n>", "7")
        assert GRAMMAR.read(line)[0] is command


def test_each_function_takes_what_its_syntax_has():
    for command in COMMANDS:
        syntax = command.syntax
        names = syntax.read(command.text)
        taken = command.run.__code__.co_varnames[1 : command.run.__code__.co_argcount]
        assert tuple(names) == taken, command.text
        defaults = len(command.run.__defaults__ or ())
        assert defaults == sum(part[0] == "[" for part in syntax.parts), command.text


def test_words_in_any_case_arguments_as_written():
    command, arguments = GRAMMAR.read("  cReAtE\tContext MyName wITH ip Host-1  ")
    assert command.text == "CREATE CONTEXT <name> WITH IP <ip> [port]"
    assert arguments == {"name": "MyName", "ip": "Host-1"}


def test_quotes_keep_blanks_and_are_no_words_of_commands():
    assert GRAMMAR.read("cd 'my directory'")[1] == {"directory": "my directory"}
    assert GRAMMAR.read('cd "it\'s here"')[1] == {"directory": "it's here"}
    with pytest.raises(BadInput):
        GRAMMAR.read("'list' tasks")


def test_the_rest_of_a_line_comes_as_it_stands():
    syntax = Syntax("APPEND <task> <line...>")
    assert syntax.read("append t   - a:  'b'") == {"task": "t", "line": "  - a:  'b'"}
    assert syntax.read("append t").reason == "it ends where <line...> is expected"


def test_comments_and_blank_lines_are_no_commands():
    assert not any(map(is_command, ["", "   ", "\t", "# list tasks", "   # list tasks", "####"]))
    assert is_command("list tasks # all")


# What is wrong, and what the person is told: the sentence and the hint.
WRONG = {
    "LIST TASK": ("there is no command 'LIST TASK'", "did you mean LIST TASKS?"),
    "creat context a with ip b": (
        "there is no command 'creat context a with ip b'",
        "did you mean CREATE CONTEXT <name> WITH IP <ip> [port]?",
    ),
    "WAIT FOR TASKRUNER x": ("there is no command 'WAIT FOR TASKRUNER x'", "did you mean WAIT FOR TASKRUNNER"),
    "RESETTASKRUNNER x": ("there is no command 'RESETTASKRUNNER x'", "did you mean RESET TASKRUNNER"),
    "rm -rf /": ("there is no command 'rm -rf /'", "HELP lists the commands"),
    "SWITCH CONTEXT": ("SWITCH CONTEXT: it ends where <name> is expected", "syntax: SWITCH CONTEXT <name>"),
    "switch context a b": ("SWITCH CONTEXT: 'b' is one word too many", "syntax: SWITCH CONTEXT <name>"),
    "exit now": ("EXIT: 'now' is one word too many", "syntax: EXIT"),
    "exit on failure maybe": ("EXIT ON FAILURE: 'maybe' is one word too many", "syntax: EXIT ON FAILURE"),
    "CREATE CONTEXT a WITH 172.1.1.1": (
        "CREATE CONTEXT: it says '172.1.1.1' where IP is expected",
        "syntax: CREATE CONTEXT <name> WITH IP <ip> [port] | CREATE CONTEXT <name> WITH SERVICE <service>",
    ),
    "assign task t to r": ("ASSIGN TASK: it ends where WITH is expected", "syntax: ASSIGN TASK <task> TO"),
    "assign task t too r with 2 peers": ("ASSIGN TASK: it says 'too' where TO is expected", "syntax: ASSIGN TASK"),
    "assign task t to r with 2": ("ASSIGN TASK: it ends where PEERS is expected", "syntax: ASSIGN TASK"),
    "get taskrunner peer status r": (
        "GET TASKRUNNER PEER STATUS: it ends where <swop> is expected",
        "syntax: GET TASKRUNNER PEER STATUS <taskrunner> <swop>",
    ),
    "x" * 5000: (f"there is no command {'x' * 80!r}", "HELP lists the commands"),
}


@pytest.mark.parametrize("line", WRONG, ids=lambda line: line[:40])
def test_what_is_wrong_is_named(line):
    message, hint = WRONG[line]
    with pytest.raises(BadInput) as refused:
        GRAMMAR.read(line)
    assert refused.value.message == message
    assert refused.value.hint.startswith(hint)


def test_help_finds_all_commands_that_begin_with_the_words():
    assert [row.text for row in GRAMMAR.about("list task")] == []
    assert {row.text.split(" [")[0] for row in GRAMMAR.about("exit on")} == {
        "EXIT ON FAILURE", "EXIT ON FAILURE ON", "EXIT ON FAILURE OFF",
    }  # fmt: skip
    assert len(GRAMMAR.about("")) == len(COMMANDS)


def test_the_page_has_every_command_as_the_grammar_has_it():
    page = (Path(__file__).parents[3] / "docs" / "SWCI.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z][^`]*)` \| (.*) \|$", page.partition("## The web mode")[0], re.MULTILINE)
    assert rows == [(command.text, command.about) for command in COMMANDS]
