"""``swarm bench``: what this machine makes of the product, held against plain TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarm.cli.ending import print_json
from swarm.cli.help import Command
from swarm.core.merge import METHODS
from swarm.core.wireform import WIRES
from swarm.errors import BadInput

if TYPE_CHECKING:
    from swarm.nodes.bench.merge import Measured, Settings
    from swarm.nodes.bench.stream import Comparison, Sample

STREAM_EXAMPLES = """
swarm bench stream                    256 MB, five times over the data plane and over a plain TLS socket
swarm bench stream --mb 1000 --json   a gigabyte; one JSON object on stdout
"""

MERGE_EXAMPLES = """
swarm bench merge --peers 2 --mb 1              rounds of a 1 MB model, as a training program sees them
swarm bench merge --peers 4 --mb 100 --json     400 MB of models; one JSON object on stdout
swarm bench merge --peers 4 --kill scatter      one learning node dies in the middle of a round
swarm bench merge --peers 5 --method geomedian  another merge method
swarm bench merge --peers 4 --mb 25 --link 100mbit,25ms   links of 100 Mbit/s, 50 ms there and back, as root
swarm bench merge --peers 4 --mb 25 --wire int8 a quarter of the bytes
"""

OVERLAP_EXAMPLES = """
swarm bench overlap --peers 2 --mb 4 --step-ms 20 --every 100          what merging costs who trains on meanwhile
swarm bench overlap --peers 2 --mb 4 --step-ms 20 --every 100 --json   one JSON object on stdout
"""


LEDGER_EXAMPLES = """
swarm bench ledger                              three network nodes; etcd beside them, where it is installed
swarm bench ledger --sns 3 --failover 50 --json the leader killed 50 times, too; one JSON object on stdout
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


@command.command(
    "merge",
    cls=Command,
    examples=MERGE_EXAMPLES,
    help="Whole rounds of a swarm on this machine, from the last program's call to the last program's merged arrays, "
    "each result checked bit by bit; between them rounds of a plain TLS ring all-reduce (benchmarks/ring_tls.py).",
)
@click.option("--peers", default=2, show_default=True, type=click.IntRange(2, 64), help="learning nodes with programs")
@click.option(
    "--mb", default=1, show_default=True, type=click.IntRange(1, 4000), help="size of the model, in 10^6 bytes"
)
@click.option("--method", default="mean", show_default=True, type=click.Choice(list(METHODS)))
@click.option("--wire", default="fp32", show_default=True, type=click.Choice(list(WIRES)), help="how weights travel")
@click.option("--commitments", default="result", show_default=True, type=click.Choice(["result", "full"]))
@click.option("--topology", default="auto", show_default=True, type=click.Choice(["auto", "sharded", "broadcast"]))
@click.option(
    "--rounds", default=7, show_default=True, type=click.IntRange(1, 1000), help="measured, after some that warm up"
)
@click.option("--sns", default=1, show_default=True, type=click.IntRange(1, 5), help="network nodes")
@click.option(
    "--link",
    default="none",
    show_default=True,
    metavar="RATE[/RATE…][,DELAY]",
    help="put each learning node behind a link of its own of this rate each way, such as 1gbit, or one rate a peer: "
    "1gbit/1gbit/100mbit; with a delay from node to node, as in 100mbit,25ms; needs root. The ring stays without.",
)
@click.option(
    "--kill",
    default="none",
    show_default=True,
    type=click.Choice(["none", "scatter", "gather", "ready"]),
    help="SIGKILL one learning node in this phase of the middle round; minPeers is one less then",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def merge(
    peers: int,
    mb: int,
    method: str,
    wire: str,
    commitments: str,
    topology: str,
    rounds: int,
    sns: int,
    link: str,
    kill: str,
    as_json: bool,
) -> None:
    if kill != "none" and rounds < 2:
        raise BadInput("--kill needs at least 2 rounds: one of them is measured undisturbed")
    from swarm.nodes.bench import links
    from swarm.nodes.bench import merge as bench
    from swarm.nodes.launch import Launch, ended_by_signals
    from swarm.nodes.localrun import environment
    from swarm.nodes.scratch import scratch_directory

    linked = None if link == "none" else links.parsed(link, peers)
    settings = bench.Settings(peers, mb, method, topology, rounds, sns, kill, commitments, wire, linked)
    with (
        ended_by_signals(),
        bench.places(settings) as places,
        scratch_directory("swarm-bench-") as directory,
        Launch(environment=environment()) as launch,
    ):
        measured = bench.Bench(settings, places, directory, launch, lambda line: click.echo(line, err=True)).run()
    failure = measured.failure()
    if as_json:
        print_json(bench.as_json(settings, measured), failure=failure)
    else:
        _show_merge(settings, measured)
    if failure:
        raise failure


def _show_merge(settings: Settings, measured: Measured) -> None:
    from swarm.nodes.bench.merge import LOST_S, as_json

    found = as_json(settings, measured)
    click.echo(f"{found['peers']} peers, {found['mb']} MB, {found['topology']}: median of {found['rounds']} rounds")
    click.echo(f"  round     {found['median_s']:8.3f} s   (p10 {found['p10_s']:.3f}, p90 {found['p90_s']:.3f})")
    if found["ratio"] is not None:
        click.echo(f"  ring      {found['baseline_ring_tls_s']:8.3f} s   ratio {found['ratio']:.2f}")
    for phase, seconds in found["phases_s"].items():
        click.echo(f"  {phase:<9} {seconds:8.3f} s")
    if found["ratio_to_link_optimum"] is not None:
        click.echo(f"  links     {found['ratio_to_link_optimum']:8.2f} times the least that they allow")
    if found["recovery_s"] is not None:
        took, allowed = found["median_s"] + found["recovery_s"], found["allowed_s"]
        of = f"the round took {took:.3f} s, allowed are {allowed:.3f}: twice one before it and {LOST_S:.0f} s"
        click.echo(f"  recovery  {found['recovery_s']:8.3f} s   (killed in {settings.kill}; {of})")
    click.echo(
        f"  sent by a peer {found['bytes_per_peer'] / 1e6:.1f} MB, optimum {found['bytes_optimal'] / 1e6:.1f} MB"
    )


@command.command(
    "overlap",
    cls=Command,
    examples=OVERLAP_EXAMPLES,
    help="Training that goes on while its weights are merged (overlap=True), and the same loop alone, block by block "
    "in turns. A step keeps a core busy for --step-ms and changes all weights. ratio 1 = merging costs no step.",
)
@click.option("--peers", default=2, show_default=True, type=click.IntRange(2, 64), help="learning nodes with programs")
@click.option(
    "--mb", default=4, show_default=True, type=click.IntRange(1, 4000), help="size of the model, in 10^6 bytes"
)
@click.option("--step-ms", default=20.0, show_default=True, type=click.FloatRange(1, 10_000), help="length of a step")
@click.option("--every", default=100, show_default=True, type=click.IntRange(2, 100_000), help="steps between syncs")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def overlap(peers: int, mb: int, step_ms: float, every: int, as_json: bool) -> None:
    from swarm.nodes.bench import overlap as bench
    from swarm.nodes.launch import Launch, ended_by_signals
    from swarm.nodes.localrun import environment
    from swarm.nodes.scratch import scratch_directory

    settings = bench.Settings(peers, mb, step_ms, every)
    with (
        ended_by_signals(),
        scratch_directory("swarm-bench-") as directory,
        Launch(environment=environment()) as launch,
    ):
        measured = bench.Bench(settings, directory, launch, lambda line: click.echo(line, err=True)).run()
    found, failure = measured.as_json(), measured.failure()
    if as_json:
        print_json(found, failure=failure)
    else:
        click.echo(f"alone         {found['alone_steps_per_s']:8.2f} steps a second")
        click.echo(f"in the swarm  {found['steps_per_s']:8.2f} steps a second   ratio {found['ratio']:.3f}")
    if failure:
        raise failure


@command.command(
    "ledger",
    cls=Command,
    examples=LEDGER_EXAMPLES,
    help="Writes a second of the ledger of several network nodes on this machine: opaque entries one by one (in turn "
    "with etcd) and many at once, then signed proposals that every network node verifies; with --failover the leader "
    "is killed, and the time until the next acknowledged write is taken.",
)
@click.option("--sns", default=3, show_default=True, type=click.IntRange(1, 5), help="network nodes")
@click.option("--failover", default=0, show_default=True, type=click.IntRange(0, 1000), help="kills of the leader")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
def ledger(sns: int, failover: int, as_json: bool) -> None:
    if failover and sns < 3:
        raise BadInput(f"{sns} network nodes cannot do without their leader", hint="--failover needs --sns 3 or more")
    from swarm.nodes.bench import ledger as bench
    from swarm.nodes.launch import Launch, ended_by_signals
    from swarm.nodes.scratch import scratch_directory

    settings = bench.Settings(sns, failover)
    with ended_by_signals(), scratch_directory("swarm-bench-") as directory, Launch() as launch:
        measured = bench.Bench(settings, directory, launch, lambda line: click.echo(line, err=True)).run()
    found = bench.as_json(settings, measured)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name:26}{'-' if value is None else value}")
