"""``swarm sweep``: one command, once for each file of a directory of configurations, testers first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from swarm.cli.ending import print_json
from swarm.cli.entrance import network_flags_if_needed
from swarm.cli.help import Command
from swarm.errors import BadInput
from swarm.nodes.entrance import Entrance

EXAMPLES = """
swarm sweep -t cv -d mnist.npz -c configs/ --exec "python train.py -d %DATA -c %IN -o %OUT"
swarm sweep -t cv -d user.swci-1.mnist -c user.swci-1.configs --exec "..."     registered with swarm data add
swarm sweep ... --dry-run        every job's command, and nothing is submitted
swarm sweep ... --bypass         all at once, without testers
swarm status cv                  how it goes
swarm runs best cv --by accuracy
"""
PROCESS = "process"


@click.command(
    "sweep",
    cls=Command,
    examples=EXAMPLES,
    help="Submit a task with one job for each file of a directory. In the command %DATA stands for the data, %IN for "
    "the job's file, %OUT for the directory that the job puts its output in. The first ten jobs are testers: only when "
    "all of them have succeeded are the others started.",
)
@click.option("-t", "--task", "name", required=True, help="the task's name")
@click.option("-d", "--data", required=True, help="what %DATA stands for: a dataset, a file or a directory")
@click.option("-c", "--configs", required=True, help="a dataset or directory: one job for each file in it")
@click.option("--exec", "line", required=True, help="the command, with %DATA, %IN and %OUT")
@click.option("--shell", is_flag=True, help="the command is for a shell: set.sh && program && after.sh")
@click.option("--probe", type=click.IntRange(0, 10_000), help="testers  [default: 10, or all where there are fewer]")
@click.option("--bypass", is_flag=True, help="no testers, as --probe 0")
@click.option("--restart", default=0, show_default=True, type=click.IntRange(0, 100), help="tries more of a failed job")
@click.option("--cpu", default=1, show_default=True, type=click.IntRange(0, 4096), help="CPUs of each job")
@click.option("--gpu", default=0, show_default=True, type=click.IntRange(0, 4096), help="GPUs of each job")
@click.option("--image", help="a container image: operators start processes, so only with --engine process, unused")
@click.option("--engine", type=click.Choice([PROCESS]), help="how jobs are started, where there is an --image")
@click.option("--dry-run", is_flag=True, help="show every job's command; nothing is submitted")
@click.option("--json", "as_json", is_flag=True, help="one JSON object on stdout")
@network_flags_if_needed
def command(
    image: str | None,
    engine: str | None,
    probe: int | None,
    bypass: bool,
    dry_run: bool,
    as_json: bool,
    entrance: Callable[[], Entrance],
    **said: Any,
) -> None:
    from swarm.nodes.submitting import submit
    from swarm.nodes.sweeping import PROBE, Sweep, plan, planned

    _engine(image, engine)
    if bypass and probe:
        raise BadInput(f"--bypass means no testers, and --probe {probe}: choose one of them")
    testers = 0 if bypass else PROBE if probe is None else probe
    task = Sweep(**said, probe=testers).task(Path.cwd())
    if dry_run:
        _show(entrance().ask(partial(planned, task)) if task.body.datasets else plan(task, {}), as_json)
        return
    done = entrance().ask(submit(task))
    if as_json:
        print_json(done)
    else:
        click.echo(f"task {done['id']} {done['name']}: {done['jobs']} jobs, {_testers(done)}; {done['state']}")


def _engine(image: str | None, engine: str | None) -> None:
    if image is not None and engine is None:
        raise BadInput(
            f"operators start jobs as processes: the image {image} would not be used",
            hint="--engine process says that the jobs do without it",
        )
    if image is not None:
        click.echo(f"the image {image} is not used: jobs are processes of the operator's host", err=True)


def _testers(counts: Mapping[str, Any]) -> str:
    return f"the first {counts['testers']} are testers" if counts["testers"] else "no testers"


def _show(plan: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    for job in plan["jobs"]:
        click.echo(f"{job['index']:>5}  {job['command']}")
    click.echo(f"{len(plan['jobs'])} jobs, {_testers(plan)}; nothing was submitted")
