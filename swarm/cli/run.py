"""``swarm run``: your own program as a swarm on this machine, or a task of jobs for the operators of a network."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from click.core import ParameterSource

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags_if_needed
from swarm.cli.help import Command
from swarm.errors import BadInput
from swarm.nodes.entrance import Entrance

if TYPE_CHECKING:
    from swarm.nodes.localrun import LocalRun, Ran

EXAMPLES = """
swarm run -- python train.py                  two copies of it, as two organisations
swarm run --peers 3 -- python train.py --lr 0.1
swarm run --peers 3 --json -- python train.py >result.json
swarm run -f job.yaml                         submit a task to the network of swarm up; prints its id
"""
SNS = 2
_OF_A_NODE = re.compile(rb"[\d-]{10} [\d:,]{12} : swarm\.[\w.]+ : (INFO|DEBUG) : ")


@click.command(
    "run",
    cls=Command,
    examples=EXAMPLES,
    help="Run N copies of a training program as N organisations on this machine, each with a learning node of its own. "
    "A copy finds its number in SWARM_PEER (0 to N-1) and theirs in SWARM_PEERS. When one fails, all are ended. "
    "Each waits for the others as long as its callback's tooFewPeersSeconds says: 600 s if it says nothing. "
    "With -f: submit the task in a file, for operators to run when they have room; swarm status ID says how it goes.",
)
@click.option("--peers", default=2, show_default=True, type=click.IntRange(1, 64), help="copies of the program")
@click.option("-f", "--file", "task_file", type=click.Path(path_type=Path), help="a task: RUN_JOBS, or with Roles")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout; the programs' output goes to stderr")
@network_flags_if_needed
@click.argument("program", nargs=-1, type=click.UNPROCESSED, metavar="[-- PROGRAM...]")
def command(
    peers: int, task_file: Path | None, as_json: bool, entrance: Callable[[], Entrance], program: tuple[str, ...]
) -> None:
    if task_file is not None:
        if program:
            raise BadInput("-f names a task and -- a program: choose one of them")
        if click.get_current_context().get_parameter_source("peers") is ParameterSource.COMMANDLINE:
            raise BadInput(
                f"--peers {peers} is for a program after --: how many a task has is said in its file",
                hint="Replicas in the task's Body, or in each of its Roles",
            )
        submit(task_file, entrance, as_json)
        return
    if not program:
        raise BadInput("neither a program nor a task is named", hint="swarm run -- python train.py, or -f job.yaml")
    here(peers, as_json, program)


def submit(path: Path, entrance: Callable[[], Entrance], as_json: bool) -> None:
    """Have the network take the task in a file; says its id. What is wrong with the file is said without a network."""
    from swarm.nodes.submitting import submitted

    work = submitted(path)
    done = entrance().ask(work)
    if as_json:
        print_json(done)
    else:
        click.echo(done["id"])


def here(peers: int, as_json: bool, program: tuple[str, ...]) -> None:
    """Run copies of the program as a swarm that begins and ends with them."""
    from swarm.nodes.launch import Launch, ended_by_signals
    from swarm.nodes.localrun import LocalRun, Program
    from swarm.nodes.program import must_exist
    from swarm.nodes.scratch import scratch_directory

    must_exist(program, "swarm run --peers 2 -- python train.py")
    copies = [
        Program(program, {"SWARM_PEER": str(number), "SWARM_PEERS": str(peers)}, Path.cwd()) for number in range(peers)
    ]
    output = Output(sys.stderr if as_json else sys.stdout)
    with ended_by_signals(), scratch_directory("swarm-run-") as directory, Launch() as launch:
        run = LocalRun(directory, launch, peers=peers, sns=SNS, look=lambda: output.show(run))
        try:
            run.start(copies)
            run.train()
            ran = run.finish()
        finally:
            output.show(run)
    failure = ran.failure()
    if as_json:
        print_json(ran.as_json(peers, SNS, {}), failure=failure)
    else:
        summary(run, ran)
    if failure:
        raise failure


class Output:
    """What the programs say, line by line, each with its peer's name before it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._at: dict[str, int] = {}

    def show(self, run: LocalRun) -> None:
        for peer in run.swarm.peers:
            for line in self._new(peer.name, peer.node.log):
                if not _OF_A_NODE.match(line):
                    self._stream.write(f"{peer.name} | {line.decode(errors='replace')}\n")
        self._stream.flush()

    def _new(self, name: str, log: Path) -> list[bytes]:
        with log.open("rb") as file:
            file.seek(self._at.get(name, 0))
            complete, newline, _ = file.read().rpartition(b"\n")
        self._at[name] = self._at.get(name, 0) + len(complete) + len(newline)
        return complete.split(b"\n") if newline else []


def summary(run: LocalRun, ran: Ran) -> None:
    from swarm.cli.tables import count_bytes, output, short_digest, table

    if not ran.rounds:
        click.echo(
            "the programs ended well, but no round was merged: do they use SwarmCallback or Swarm? docs/CALLBACKS.md "
            "has the lines that make a program take part"
        )
        return
    rows = table("peer", "organisation", ">rounds", ">sent", "digest of the final model")
    for peer in run.swarm.peers:
        rows.add_row(
            peer.name, peer.organisation, str(len(peer.rounds)), count_bytes(peer.bytes_sent), short_digest(peer.digest)
        )
    console = output()
    console.print(rows)
    console.print(f"\nledger  last COMMIT {ran.ledger_digest}")
