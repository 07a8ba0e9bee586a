"""How every command ends: one place for exit codes, error sentences and the one JSON object of --json.

`entry(command)` is the console script of a click command; `print_json` is how a command answers --json. Guarantees: an
error is one sentence `error: …` and at most one `hint: …` on stderr, with the exit code of its class in swarm.errors;
a terminal obeys nothing of it, whatever names it holds; with --json stdout is exactly one object, on failure too; a
traceback is shown only with SWARM_DEBUG=1 (and is in the log file).

A command returns its exit code, or None for 0. To report a result that failed a check:

    failure = None if good else CheckFailed("the digests differ: …")
    print_json(result, failure=failure)
    if failure: raise failure
"""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import click

import swarm
from swarm.errors import BadInput, InternalError, Interrupted, SwarmError

# What the base install lacks on purpose, and the extra that brings it.
EXTRAS = dict.fromkeys(("libp2p", "trio", "cryptography", "pydantic", "yaml", "blake3", "psutil"), "node")
EXTRAS |= {"keras": "tensorflow", "tensorflow": "tensorflow", "sklearn": "demo"}
EXTRAS |= {"starlette": "web", "hypercorn": "web", "prompt_toolkit": "node"}

_started = time.monotonic()
_answered = False  # stdout has its one object: a fact about this process, so it lives as long as the process


def entry(command: click.Command) -> Callable[[], NoReturn]:
    """The function that a console script calls."""

    def main() -> NoReturn:
        _leave(run(command, sys.argv[1:]))

    return main


def _leave(code: int) -> NoReturn:
    """End without taking the interpreter apart: with libp2p loaded that takes a third of a second of CPU, of each node
    of a host that is shut down, when all of them end at once and somebody waits for it."""
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        sys.exit(code)  # nobody reads any more: the interpreter's own way to end then
    os._exit(code)


def run(command: click.Command, arguments: Sequence[str]) -> int:
    """Run the command to its end; returns the exit code, having said on stdout and stderr what there is to say."""
    global _started, _answered
    _started, _answered = time.monotonic(), False
    name = command.name or "swarm"
    try:
        code = command.main(list(arguments), prog_name=name, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as page:
        click.echo(page.format_message(), err=True)
        return BadInput.code
    except Exception as error:
        return _fail(error, name, arguments)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        return _fail(error, name, arguments)
    return code if type(code) is int else 0


def print_json(result: Mapping[str, Any], started: float | None = None, *, failure: SwarmError | None = None) -> None:
    """Answer --json: `result` with `ok`, `version`, `seconds` (since `started`, a monotonic time) and the failure."""
    global _answered
    assert not _answered, "stdout is to be one JSON object"
    _answered = True
    head: dict[str, Any] = {"ok": failure is None, "version": swarm.__version__}
    head["seconds"] = round(time.monotonic() - (_started if started is None else started), 3)
    tail = {"error": failure.to_wire()} if failure else {}
    click.echo(_escaped(json.dumps({**head, **result, **tail}, ensure_ascii=False)))


def _escaped(text: str) -> str:
    """The same JSON, of which a terminal obeys nothing either: JSON itself escapes only the oldest of what it obeys."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in text)


def printable(text: str) -> str:
    """Whatever others have put into it, its reader's terminal obeys nothing of it."""
    return "".join(each if each.isprintable() or each in "\n\t" else " " for each in text)


def _fail(raised: BaseException, name: str, arguments: Sequence[str]) -> int:
    error = _as_swarm_error(raised, name)
    error.message, error.hint = printable(error.message), printable(error.hint)
    report = sys.modules.get("swarm.runtime.report")  # only when this command has started its log
    log = report.log_file() if report else None
    if report:
        report.to_file(f"{name} ended with code {error.code}: {error.message}", raised)
    if isinstance(error, InternalError) and not error.hint:
        error.hint = f"the traceback is in {log}" if log else "with SWARM_DEBUG=1 the traceback is shown"
    if os.environ.get("SWARM_DEBUG") == "1":
        traceback.print_exception(raised)
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    own = arguments[: arguments.index("--")] if "--" in arguments else arguments  # what follows is another's command
    if "--json" in own and not _answered:
        print_json({}, failure=error)
    return error.code


def _as_swarm_error(raised: BaseException, name: str) -> SwarmError:
    """What a person is told: of several errors at once Ctrl-C first, then the first that says what to do."""
    leaves = list(_leaves(raised))
    if any(isinstance(leaf, KeyboardInterrupt | click.Abort) for leaf in leaves):
        return Interrupted("interrupted")
    for leaf in leaves:
        if isinstance(leaf, SwarmError):
            return leaf
    first = leaves[0]
    if isinstance(first, click.ClickException):
        where = first.ctx.command_path if isinstance(first, click.UsageError) and first.ctx else name
        if near := getattr(first, "possibilities", None):  # of an option or a command that does not exist
            return BadInput(_sentence(first.message), hint=f"did you mean {near[0]}?")
        return BadInput(_sentence(first.format_message()), hint=f"{where} --help shows the flags and examples")
    if isinstance(first, ModuleNotFoundError) and (extra := EXTRAS.get((first.name or "").split(".")[0])):
        return BadInput(
            f"{name} needs {first.name}, which is not installed", hint=f"pip install 'swarm-learning[{extra}]'"
        )
    return InternalError(f"{name} met an unexpected {type(first).__name__}: {_sentence(str(first)) or 'no details'}")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _sentence(text: str) -> str:
    """One line without its full stop; click begins with a capital, our sentences do not."""
    line = " ".join(text.split()).rstrip(".")
    return line if line[:2].isupper() else line[:1].lower() + line[1:]
