"""``run-swci``: be a command interface, for a script, a person, or both in this order."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.ending import entry, print_json
from swarm.cli.launching import Launcher, identified
from swarm.errors import BadInput, Interrupted

if TYPE_CHECKING:
    from swarm.nodes.swci.shell import Ended, Settings

EXAMPLES = """
run-swci --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
run-swci --usr-dir workspace/mnist/swci --init-script-name swci-init \\
         --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
run-swci --mode web --usr-dir workspace/mnist/swci \\
         --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
"""
DEFAULT_SCRIPT = "swci-init"


@click.command(
    "run-swci",
    cls=Launcher,
    role="swci",
    examples=EXAMPLES,
    help="Be a command interface (SWCI): run the script of the user directory, then what is typed, until EXIT. "
    "HELP lists the commands. In WEB mode it takes commands over HTTPS, of people of its own organisation. "
    "After EXIT ON FAILURE the first command that fails ends it, with that failure's code.",
)
@click.option(
    "--usr-dir", type=click.Path(path_type=Path), envvar="USR_DIR", help="what scripts know as /platform/swarm/usr"
)
@click.option(
    "--init-script-name",
    metavar="FILE",
    envvar="SWCI_STARTUP_SCRIPT",
    help="script in --usr-dir  [default: swci-init, if it is there]",
)
@click.option(
    "--mode",
    type=click.Choice(["CLI", "WEB"], case_sensitive=False),
    default="CLI",
    show_default=True,
    envvar="SWCI_MODE",
    help="WEB: take commands over HTTPS",
)
@click.option("--web-host", default="127.0.0.1", show_default=True, help="address that the WEB mode listens on")
@click.option("--web-port", type=click.IntRange(0, 65535), default=30306, show_default=True, envvar="SWCI_WEB_PORT")
@partial(identified, level="SWARM_LOG_LEVEL or WARNING")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout; the session is on stderr")
def command_line(
    usr_dir: Path | None,
    init_script_name: str | None,
    mode: str,
    web_host: str,
    web_port: int,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    as_json: bool,
    log_level: str | None,
) -> None:
    from swarm.nodes.scratch import scratch_directory
    from swarm.nodes.swci import shell
    from swarm.nodes.swci.transcript import Transcript
    from swarm.runtime import report
    from swarm.runtime.credentials import Credentials

    script = script_lines(usr_dir, init_script_name)
    credentials = Credentials.load(cert, key, capath, expect_roles=("swci",))
    transcript = Transcript(sys.stderr if as_json else sys.stdout)
    with ExitStack() as stack:
        directory = state or stack.enter_context(scratch_directory("swarm-swci-"))
        report.start(state, log_level or os.environ.get("SWARM_LOG_LEVEL", "WARNING"))
        settings = shell.Settings(
            credentials=credentials,
            state=directory,
            usr_dir=usr_dir,
            script=script,
            stdin=sys.stdin.fileno() if sys.stdin and mode == "CLI" else None,
            transcript=transcript,
            environment=os.environ,
            history=None if as_json or mode == "WEB" else history_file(state, credentials.identity.name),
        )
        ready = state / "ready.json" if state else None
        if mode == "WEB":
            ended = serve(settings, web_host, web_port, stack.enter_context(scratch_directory("swarm-web-")), ready)
        else:
            ended = converse(settings, ready)
    if ended is None:
        raise Interrupted("interrupted")
    if as_json:
        print_json({"commands": transcript.commands}, failure=ended.failure)
    if ended.failure:
        raise ended.failure


def history_file(state: Path | None, name: str) -> Path | None:
    """Where the lines of a person at a terminal are kept; None if nobody sits at one."""
    from swarm.runtime.statedir import default_state_dir

    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        return None
    return (state or default_state_dir(name)) / "history"


def converse(settings: Settings, ready: Path | None) -> Ended | None:
    """Be a shell."""
    from swarm.nodes.starting import run_node
    from swarm.nodes.swci import shell

    if ready:
        ready.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
    return run_node(shell.run, settings)


def serve(settings: Settings, host: str, port: int, private: Path, ready: Path | None) -> Ended | None:
    """Be a web interface."""
    from swarm.nodes.starting import run_node
    from swarm.nodes.swci import web

    return run_node(web.run, web.Settings(settings, web.Address(host, port), private, ready))


def script_lines(usr_dir: Path | None, name: str | None) -> tuple[str, ...]:
    """Of the script to run first; none if nothing was named and nothing is there."""
    if usr_dir is None:
        if name:
            raise BadInput(f"--init-script-name {name} needs --usr-dir, the directory that it is in")
        return ()
    if not usr_dir.is_dir():
        raise BadInput(f"bad directory: --usr-dir {usr_dir} is none")
    script = usr_dir / (name or DEFAULT_SCRIPT)
    if not script.is_file():
        if name:
            raise BadInput(f"bad file: there is no {script}", hint="--init-script-name is a file in --usr-dir")
        return ()
    try:
        return tuple(script.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise BadInput(f"{script} is no UTF-8 text: byte {error.start} cannot be read") from error
    except OSError as error:
        raise BadInput(f"bad file: {script} cannot be read: {error.strerror}") from None


main = entry(command_line)

if __name__ == "__main__":
    main()
