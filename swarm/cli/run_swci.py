"""``run-swci``: be a command interface, for a script, a person, or both in this order."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path

import click

from swarm.cli.ending import entry, print_json
from swarm.cli.launching import Launcher, identified
from swarm.errors import BadInput, Interrupted

EXAMPLES = """
run-swci --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
run-swci --usr-dir workspace/mnist/swci --init-script-name swci-init \\
         --key swci-1-key.pem --cert swci-1-cert.pem --capath ca/capath
"""
DEFAULT_SCRIPT = "swci-init"


@click.command(
    "run-swci",
    cls=Launcher,
    role="swci",
    examples=EXAMPLES,
    help="Be a command interface (SWCI): run the script of the user directory, then what is typed, until EXIT. "
    "HELP lists the commands. After EXIT ON FAILURE the first command that fails ends it, with that failure's code.",
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
@identified
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout; the session is on stderr")
@click.option("--log-level", default=None, help="DEBUG INFO WARNING ERROR  [default: SWARM_LOG_LEVEL or INFO]")
def command_line(
    usr_dir: Path | None,
    init_script_name: str | None,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    as_json: bool,
    log_level: str | None,
) -> None:
    from swarm.nodes.scratch import scratch_directory
    from swarm.nodes.starting import run_node
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
        if state:
            (state / "ready.json").write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
        settings = shell.Settings(
            credentials=credentials,
            state=directory,
            usr_dir=usr_dir,
            script=script,
            stdin=sys.stdin.fileno() if sys.stdin else None,
            transcript=transcript,
            environment=os.environ,
        )
        ended = run_node(shell.run, settings)
    if ended is None:
        raise Interrupted("interrupted")
    if as_json:
        print_json({"commands": transcript.commands}, failure=ended.failure)
    if ended.failure:
        raise ended.failure


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


main = entry(command_line)

if __name__ == "__main__":
    main()
