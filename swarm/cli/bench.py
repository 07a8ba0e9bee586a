"""``swarm bench``: what this machine makes of the product, held against plain TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command

if TYPE_CHECKING:
    from swarm.nodes.bench.stream import Comparison, Sample

STREAM_EXAMPLES = """
swarm bench stream                    256 MB, five times over the data plane and over a plain TLS socket
swarm bench stream --mb 1000 --json   a gigabyte; one JSON object on stdout
"""


@click.group("bench", help="Measure this machine: the product against plain TLS, alternating, results checked.")
def command() -> None:
    pass


@command.command(
    "stream",
    cls=Command,
    examples=STREAM_EXAMPLES,
    help="Move bytes between two fresh processes over the data plane that learning nodes use, and over a blocking "
    "Python SSLSocket (TLS 1.3, AES-256-GCM, mutual certificates), round by round. ratio 1 = as fast as that.",
)
@click.option("--mb", default=256, show_default=True, type=click.IntRange(1, 16_000), help="bytes a round, in 10^6")
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(1, 1000))
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def stream(mb: int, rounds: int, as_json: bool) -> None:
    from swarm.nodes.bench.stream import compare
    from swarm.nodes.launch import ended_by_signals
    from swarm.nodes.scratch import scratch_directory

    def watch(round_: int, stack: str, sample: Sample) -> None:
        rate = mb / sample.seconds
        click.echo(f"round {round_ + 1} of {rounds}  {stack:<5}  {rate:7.0f} MB/s  {sample.cpu_s:.2f} s CPU", err=True)

    with ended_by_signals(), scratch_directory("swarm-bench-") as directory:
        compared = compare(directory, mb, rounds, watch)
    failure = compared.failure()
    if as_json:
        print_json(compared.as_json(), failure=failure)
    else:
        _show_stream(compared)
    if failure:
        raise failure


def _show_stream(compared: Comparison) -> None:
    found = compared.as_json()
    click.echo(f"{'':8}{'MB/s':>9}{'CPU s per GiB':>16}")
    for stack in ("swarm", "ssl"):
        click.echo(f"{stack:8}{found[f'{stack}_mb_s']:9.0f}{found[f'{stack}_cpu_s_per_gib']:16.2f}")
    click.echo(f"{'ratio':8}{found['ratio']:9.2f}{found['cpu_ratio']:16.2f}   (median of {found['rounds']} rounds)")
