"""``swarm demo``: two organisations train one model on this machine, watched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command
from swarm.errors import BadInput

EXAMPLES = """
swarm demo                                  two organisations, handwritten digits, about a minute
swarm demo --peers 4 --keep /tmp/demo       four of them; certificates, logs and weights stay in /tmp/demo
swarm demo --chaos                          three, of which a node of each kind is killed while they train
swarm demo --dataset mnist.npz --json       your own data (the keys of Keras' mnist.npz); one JSON object on stdout
"""


@click.command(
    "demo",
    cls=Command,
    examples=EXAMPLES,
    help="Two or more organisations with different data train one model on this machine: real certificates, network "
    "nodes, learning nodes and training programs. Each peer trains alone, and all train together; at the end "
    "the digests of the weights that the peers saved are held against the ledger's.",
)
@click.option("--peers", type=click.IntRange(2, 64), help="organisations that train  [default: 2; with --chaos 3]")
@click.option("--sns", type=click.IntRange(1, 5), help="network nodes  [default: 2; with --chaos 3]")
@click.option("--epochs", type=click.IntRange(1), help="of each peer  [default: as many as make 352 batches]")
@click.option("--dataset", default="digits", show_default=True, metavar="digits|FILE.npz")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="of the split and the weights")
@click.option("--keep", type=click.Path(path_type=Path), metavar="DIR", help="make everything there, and leave it")
@click.option("--chaos", is_flag=True, help="kill and freeze processes in mid-round; the training goes on")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def command(
    peers: int | None,
    sns: int | None,
    epochs: int | None,
    dataset: str,
    seed: int,
    keep: Path | None,
    chaos: bool,
    as_json: bool,
) -> None:
    from swarm.nodes.demo import play

    play.check_installed(dataset)
    settings = play.settings(peers, sns, epochs, dataset, seed, chaos=chaos)
    from swarm.cli.demo_view import View
    from swarm.nodes.launch import Launch, ended_by_signals
    from swarm.nodes.localrun import environment
    from swarm.nodes.taskrun import no_workers_left

    with (
        ended_by_signals(),
        place(keep, "swarm-demo-") as directory,
        no_workers_left(directory),
        Launch(environment=environment(settings.patience_s)) as launch,
    ):
        view = View(settings)
        scene = play.Play(settings, directory, launch, view.refresh)
        with view.showing(scene):
            played = scene.play()
    failure = played.failure()
    if as_json:
        print_json(play.as_json(settings, played), failure=failure)
    else:
        view.summary(played, keep)
    if failure:
        raise failure


@contextlib.contextmanager
def place(keep: Path | None, prefix: str) -> Iterator[Path]:
    """Where a run makes its files: a temporary directory, or the one to keep, which must be new or empty."""
    if keep is None:
        from swarm.nodes.scratch import scratch_directory

        with scratch_directory(prefix) as directory:
            yield directory
        return
    try:
        keep.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise BadInput(f"{keep} is not empty", hint="name a directory that does not exist yet")
    except OSError as error:
        raise BadInput(f"{keep} cannot be used: {error.strerror}") from error
    yield keep.absolute()
