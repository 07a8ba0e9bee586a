"""`swarm.Client`: a network steered from a Python program, as the commands of `swarm` steer it.

Used by people's own scripts and notebooks. Guarantees: each method does what the command of the same name does with
``--json`` and answers with what that prints (but for ok, version and seconds); errors are the same SwarmError, with the
same sentence, hint and exit code; each call makes a connection of its own, which is gone when it returns, and has a
deadline. Calls block; they may come from any thread, several at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

from swarm.errors import BadInput
from swarm.nodes import (
    artifacts,
    governing,
    history,
    logs,
    playing,
    promotion,
    registering,
    runlog,
    slotlist,
    submitting,
)
from swarm.nodes import client as asking
from swarm.nodes.entrance import Entrance, of_swarm_up
from swarm.nodes.sweeping import Sweep, plan, planned
from swarm.runtime.statedir import default_state_dir
from swarm.wire.jobsfile import JobsFile

Answer = dict[str, Any]
File = str | os.PathLike[str]


class SweepTerms(TypedDict, total=False):
    """What may be said of a sweep, too. ``probe``: testers, 0 for none; ``shell``: a shell runs the line; ``restart``:
    how often a job is tried again; ``cpu``, ``gpu``: how many of them each job has."""

    probe: int
    shell: bool
    restart: int
    cpu: int
    gpu: int


class Client:
    """Without arguments in the network that `swarm up` runs on this host; else through the network node ``sn_ip``.

    ``key``, ``cert`` and ``capath``: files of a command interface (SWCI), as for the commands. ``state``: the directory
    where nodes of this host keep theirs, for `logs`, `runs` and `best`.
    """

    def __init__(
        self,
        sn_ip: str | None = None,
        sn_api_port: int = 30304,
        *,
        key: File | None = None,
        cert: File | None = None,
        capath: File | None = None,
        state: File | None = None,
    ) -> None:
        if sn_ip and key and cert and capath:
            self._entrance = Entrance((sn_ip, sn_api_port), Path(cert), Path(key), Path(capath))
        elif any((sn_ip, key, cert, capath)):
            raise BadInput("sn_ip, key, cert and capath belong together", hint="give all of them, or none")
        else:
            self._entrance = of_swarm_up()
        self._state = Path(state) if state is not None else default_state_dir("up").parent

    # ---- the network

    def status(self) -> Answer:
        """The ledger, the nodes, the contracts and the tasks: where each stands and whom it waits for."""
        said = self._entrance.ask(asking.Client.status)
        return {name: value for name, value in said.items() if name != "version"}

    def nodes(self) -> list[Answer]:
        rows: list[Answer] = self.status()["nodes"]
        return rows

    def organisations(self) -> list[Answer]:
        """Those that the ledger has admitted."""
        rows: list[Answer] = self.status()["organisations"]
        return rows

    def admit(self, ca: File) -> Answer:
        """Let the organisation with the CA certificate in this file take part."""
        return self._entrance.ask(governing.admitted(Path(ca)))

    def reset_contract(self, name: str) -> Answer:
        """Forget a contract: the next program that names it opens it anew."""
        return self._entrance.ask(governing.reset(name))

    def rebase_contract(self, name: str, *, force: bool = False) -> Answer:
        """Give up the newest model of a contract, because everybody who holds it is gone for good."""
        return self._entrance.ask(governing.rebased(name, force=force))

    def promote_sn(self, *, force: bool = False, reason: str = promotion.REASON) -> Answer:
        """Let this network node decide alone: what others acknowledged without it is lost."""
        promotion.must_be_meant(force)
        status = self._entrance.ask(lambda client: promotion.promote(client, reason))
        return {name: status[name] for name in ("node", "epoch", "head")}

    def remove_sn(self, name: str) -> Answer:
        """Take a network node out of the ledger for good, by its name or uid."""
        return self._entrance.ask(governing.removed(name))

    # ---- tasks

    def run(self, task: File | Mapping[str, Any]) -> Answer:
        """Submit the task in a file, or one that is given as such a file says it; the answer has its ``id``.

        What is given names files as seen from the working directory.
        """
        if isinstance(task, Mapping):
            return self._entrance.ask(submitting.given(task, Path.cwd()))
        return self._entrance.ask(submitting.submitted(Path(task)))

    def create(self, task: File | Mapping[str, Any]) -> Answer:
        """Submit as `run` does, but as a draft: nothing of it begins before it is finalized and started."""
        if isinstance(task, Mapping):
            return self._entrance.ask(submitting.given(task, Path.cwd(), draft=True))
        return self._entrance.ask(submitting.submitted(Path(task), draft=True))

    def finalize(self, task: str | int) -> Answer:
        """Make a draft final: it has its slots from now on, and participants may join them."""
        return self._entrance.ask(submitting.asked("JobsFinalized", str(task)))

    def start(self, task: str | int) -> Answer:
        """Begin a final task, as soon as operators have room."""
        return self._entrance.ask(submitting.asked("JobsStarted", str(task)))

    def check(self, task: File) -> Answer:
        """What is wrong with the task in a file, as an error, without the network: datasets are not looked up."""
        return submitting.checked(Path(task))

    def sweep(self, task: str, data: str, configs: str, line: str, **terms: Unpack[SweepTerms]) -> Answer:
        """Submit a command (``line``, with %DATA, %IN and %OUT) as one job for each file in ``configs``; ``terms`` as
        in `SweepTerms`."""
        return self._entrance.ask(submitting.submit(_swept(task, data, configs, line, **terms)))

    def plan_sweep(self, task: str, data: str, configs: str, line: str, **terms: Unpack[SweepTerms]) -> Answer:
        """Every job's command, and nothing is submitted: the network is asked for datasets only."""
        made = _swept(task, data, configs, line, **terms)
        return self._entrance.ask(partial(planned, made)) if made.body.datasets else plan(made, {})

    def tasks(self) -> list[Answer]:
        """All tasks of jobs, with how many slots are in which state."""
        rows: list[Answer] = self._entrance.ask(submitting.listed)["tasks"]
        return rows

    def task(self, task: str | int) -> Answer:
        """One task by its id or name, with its slots."""
        return self._entrance.ask(submitting.shown(str(task)))

    def wait(self, task: str | int, deadline_s: float = 3600.0, *, until: str = submitting.ENDED) -> Answer:
        """The task when it has ended, or is in the state ``until``. Raises WorkerFailed when it ended otherwise, and
        Unreachable when the time is over."""
        return self._entrance.ask(submitting.awaited(str(task), deadline_s, until))

    def history(self, task: str | int) -> list[Answer]:
        """Every change of a task, with time and author; the whole ledger is read and verified here for that."""
        rows: list[Answer] = self._entrance.ask(history.history(str(task)))["changes"]
        return rows

    def clone(self, task: str | int, name: str, *, data: Mapping[str, str] | None = None) -> Answer:
        """Submit once more, as a task `name`, what a task says; ``data``: what tags of its Data stand for now."""
        return self._entrance.ask(submitting.cloned(str(task), name, data or {}))

    def slots(self, task: str | int | None = None) -> list[Answer]:
        """The slots of a task, or of all that have not ended: owner, holder, lease, state, attempts, address, log."""
        found = self._entrance.ask(slotlist.slots(None if task is None else str(task)))
        rows: list[Answer] = found["slots"]
        return rows

    def slot(self, slot: str) -> Answer:
        """One slot by its id, with the last lines of its log."""
        return self._entrance.ask(slotlist.slot(slot))

    def queue(self) -> Answer:
        """The tasks that wait, the next one first, and the room that operators have."""
        return self._entrance.ask(slotlist.queue)

    def stop(self, task: str | int) -> Answer:
        """What waits never starts, what runs has some seconds to end in."""
        return self._entrance.ask(submitting.asked("JobsStopped", str(task)))

    def kill(self, task: str | int) -> Answer:
        """End a task at once, with all that its jobs have started."""
        return self._entrance.ask(submitting.asked("JobsStopped", str(task), kill=True))

    def retry(self, task: str | int) -> Answer:
        """Try again whatever of an ended task is not done."""
        return self._entrance.ask(submitting.asked("JobsRetried", str(task)))

    def remove(self, task: str | int, *, force: bool = False, outputs: bool = False) -> Answer:
        """Forget an ended task or a draft; with ``force`` kill it first, with ``outputs`` have its outputs removed."""
        return self._entrance.ask(submitting.deleted(str(task), force=force, outputs=outputs))

    def scale(self, task: str | int, change: str) -> Answer:
        """``change``: such as ``collector=+1``, ``collector=3``, ``collector=-1``; the answer names removed slots."""
        return self._entrance.ask(playing.scaled(str(task), change))

    # ---- datasets

    def add_data(self, name: str, *paths: File, message: str = "", tags: tuple[str, ...] = ()) -> Answer:
        """Give files a name in the ledger; they stay where they are."""
        return self._register("DatasetAdded", name, paths, message, tags)

    def commit_data(self, name: str, *paths: File, message: str = "", tags: tuple[str, ...] = ()) -> Answer:
        """Add files to a dataset; of one name the newest counts."""
        return self._register("DatasetCommitted", name, paths, message, tags)

    def _register(self, kind: str, name: str, paths: tuple[File, ...], message: str, tags: tuple[str, ...]) -> Answer:
        return self._entrance.ask(registering.registered(kind, name, [Path(path) for path in paths], message, tags))

    def tag_data(self, name: str, tag: str, *, commit: int) -> Answer:
        """Give a commit a tag, by which it can be selected."""
        return self._entrance.ask(registering.asked("DatasetTagged", {"name": name, "commit": commit, "tag": tag}))

    def remove_data(self, name: str) -> Answer:
        """Forget a dataset; its files stay."""
        return self._entrance.ask(registering.asked("DatasetRemoved", {"name": name}))

    def datasets(self) -> list[Answer]:
        rows: list[Answer] = self._entrance.ask(registering.listed)["datasets"]
        return rows

    def dataset(self, name: str) -> Answer:
        """A version, by ``NAME`` or ``NAME@SELECTION``: its hash, statistics, commits and files."""
        return self._entrance.ask(registering.shown(name))

    # ---- what this host has

    def runs(self, task: str | int) -> list[Answer]:
        """What the jobs of a task have logged with `swarm.log_metrics` on this host."""
        return runlog.of_slots(self._state, self.task(task)["slots"])

    def best(self, task: str | int, by: str, *, lowest: bool = False) -> list[Answer]:
        """The jobs that are done by the last value of a metric, the best first; of a sweep each swarm, by the mean."""
        found = self.task(task)
        rows = runlog.of_slots(self._state, found["slots"])
        return runlog.best(rows, by, lowest=lowest, swarms=found.get("swarms", ()))

    def artifacts(self) -> list[Answer]:
        """What tasks with an Output have made: versions, each with its data, code and attempt."""
        rows: list[Answer] = self._entrance.ask(artifacts.listed)["artifacts"]
        return rows

    def fetch(self, artifact: str, directory: File) -> Answer:
        """Copy what was made, NAME[@NUMBER] or the newest of a task, into a new directory."""
        row = artifacts.chosen(self.artifacts(), artifact)
        return {**row, "path": str(artifacts.fetched(row, self._state, Path(directory).absolute()))}

    def logs(self, name: str, lines: int = 100) -> list[str]:
        """The last lines of the log of a node or slot of this host, or of a task that ran one slot here."""
        return logs.find(self._state, name).last(lines)[0]


def _swept(task: str, data: str, configs: str, line: str, **terms: Unpack[SweepTerms]) -> JobsFile:
    """The task that a sweep is; files as seen from the working directory."""
    return Sweep(name=task, data=data, configs=configs, line=line, **terms).task(Path.cwd())
