"""How commands end: exit codes, sentences, one JSON object, no traceback unless asked for."""

import json
import signal
import subprocess
import sys

import click
import pytest

import swarm
from swarm import errors
from swarm.cli.ending import print_json, run
from swarm.runtime import report


def command_that(action):
    @click.command("probe")
    @click.option("--json", "as_json", is_flag=True)
    @click.option("--number", type=int)
    @click.argument("rest", nargs=-1)
    def command(as_json, number, rest):
        return action()

    return command


def raising(error):
    def action():
        raise error

    return command_that(action)


@pytest.mark.parametrize("kind", errors.BY_CODE.values())
def test_each_error_class_gives_its_exit_code_one_sentence_and_one_hint(kind, capsys):
    assert run(raising(kind("the sentence", hint="the hint")), []) == kind.code
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: the sentence\nhint: the hint\n"


def test_a_terminal_obeys_nothing_that_others_have_put_into_a_sentence(capsys):
    error = errors.BadInput("it holds \x1b]0;owned\x07.py\n  and \udc80\x9b2J", hint="it holds \u202ea\x1b[31m.py")
    assert run(raising(error), ["--json"]) == 2
    out, err = capsys.readouterr()
    assert err == "error: it holds  ]0;owned .py\n  and   2J\nhint: it holds  a [31m.py\n"
    assert json.loads(out)["error"] == {
        "code": 2, "message": "it holds  ]0;owned .py\n  and   2J", "hint": "it holds  a [31m.py",
    }  # fmt: skip


def test_a_terminal_obeys_nothing_of_a_json_answer_and_its_reader_has_every_character(capsys):
    names = "\x1b]0;\x7f \x9b2J \u202ea \udc80 \U000e0001 é 水"
    failure = errors.CheckFailed(f"{names} differ")

    def action():
        print_json({"name": names}, failure=failure)
        raise failure

    assert run(command_that(action), ["--json"]) == 1
    out = capsys.readouterr().out
    assert out.rstrip("\n").isprintable()
    assert "é 水" in out
    answer = json.loads(out)
    assert (answer["name"], answer["error"]["message"]) == (names, f"{names} differ")


def test_json_answers_a_failure_with_exactly_one_object(capsys):
    assert run(raising(errors.Refused("no", hint="ask")), ["--json"]) == 5
    answer = json.loads(capsys.readouterr().out)
    assert answer.pop("seconds") >= 0
    assert answer == {
        "ok": False, "version": swarm.__version__, "error": {"code": 5, "message": "no", "hint": "ask"},
    }  # fmt: skip


def test_a_result_that_failed_its_check_is_one_object_with_both(capsys):
    failure = errors.CheckFailed("the digests differ")

    def action():
        print_json({"digests": {"a": "1"}}, failure=failure)
        raise failure

    assert run(command_that(action), ["--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert not answer["ok"]
    assert answer["digests"] == {"a": "1"}
    assert answer["error"]["code"] == 1


def test_what_follows_two_dashes_belongs_to_the_users_program(capsys):
    assert run(raising(errors.WorkerFailed("gone")), ["--", "train.py", "--json"]) == 6
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--number", "x"], "invalid value for '--number': 'x' is not a valid integer"),
        (["--nonsense"], "no such option '--nonsense'"),
    ],
)
def test_a_wrong_flag_is_bad_input_in_the_same_form(arguments, sentence, capsys):
    assert run(command_that(lambda: None), arguments) == 2
    err = capsys.readouterr().err
    assert err == f"error: {sentence}\nhint: probe --help shows the flags and examples\n"


def test_ctrl_c_ends_with_130_also_out_of_a_nursery(capsys):
    assert run(raising(KeyboardInterrupt()), []) == 130
    group = BaseExceptionGroup("nursery", [ExceptionGroup("inner", [errors.BadInput("x")]), KeyboardInterrupt()])
    assert run(raising(group), []) == 130
    assert capsys.readouterr().err.count("error: interrupted\n") == 2


def test_of_several_errors_the_one_that_says_what_to_do_is_told(capsys):
    group = ExceptionGroup("nursery", [ValueError("noise"), ExceptionGroup("inner", [errors.Unreachable("no answer")])])
    assert run(raising(group), []) == 4
    assert capsys.readouterr().err == "error: no answer\n"


def test_an_unexpected_error_is_one_sentence_and_its_traceback_is_in_the_log(capsys, tmp_path, monkeypatch):
    monkeypatch.delenv("SWARM_DEBUG", raising=False)
    assert run(raising(KeyError("round")), []) == 70
    assert capsys.readouterr().err == (
        "error: probe met an unexpected KeyError: 'round'\nhint: with SWARM_DEBUG=1 the traceback is shown\n"
    )
    report.start(tmp_path, None, name="probe")
    try:
        assert run(raising(KeyError("round")), []) == 70
        log = tmp_path / "logs/probe.log"
        assert capsys.readouterr().err.endswith(f"hint: the traceback is in {log}\n")
        assert "Traceback (most recent call last)" in log.read_text()
    finally:
        report.start(None)
    monkeypatch.setenv("SWARM_DEBUG", "1")
    run(raising(KeyError("round")), [])
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_command_returns_its_exit_code(capsys):
    assert run(command_that(lambda: 6), []) == 6
    assert run(command_that(lambda: None), []) == 0
    assert run(command_that(lambda: True), []) == 0


def test_a_real_ctrl_c_ends_a_real_process_with_130():
    program = (
        "import click, signal, sys\n"
        "from swarm.cli.ending import entry\n"
        "@click.command('probe')\n"
        "def command():\n"
        "    print('ready', flush=True)\n"
        "    signal.pause()\n"
        "entry(command)()\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert err.strip() == b"error: interrupted"


def test_a_missing_library_names_the_extra_that_brings_it(capsys):
    assert run(raising(ModuleNotFoundError("No module named 'libp2p'", name="libp2p.host")), []) == 2
    assert capsys.readouterr().err == (
        "error: probe needs libp2p.host, which is not installed\nhint: pip install 'swarm-learning[node]'\n"
    )


def test_a_command_ends_with_all_that_it_has_said_and_without_taking_the_interpreter_apart():
    """Which costs a node more than all the rest of its end: an object's last words show that it is left out."""
    program = (
        "import atexit, click, sys\n"
        "from swarm.cli.ending import entry\n"
        "class Last:\n"
        "    def __del__(self): print('taken apart')\n"
        "kept = Last()\n"
        "atexit.register(print, 'registered')\n"
        "@click.command('probe')\n"
        "def probe(): sys.stdout.write('said'); return 5\n"
        "entry(probe)()\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (5, "saidregistered\n", "")
