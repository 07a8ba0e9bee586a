"""Jobs and tasks with roles, in a share of the worlds: which, and what the commander does about each of them.

What is drawn here comes from a generator of its own, so that the other worlds are what they would be without. Those who
take part: `swci` submits, scales and tries again, `swop` runs what is dealt, `participant` joins. Judged by
`checkers_jobs`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from swarm.core.jobrun import JobRun
from swarm.core.roles import Role
from swarm.core.rolesrun import RolesRun
from swarm.core.taskrunner import DEFAULT_NAME

SHARE = 0.06
ITEMS = 6
ITEM_S = 4
START_S = 60
SCALES = 5
RETRIES = 2
ENDED = ("done", "partial", "failed", "stopped")
LEAD, WORKER, SITE = "lead", "worker", "site"
"""The roles: it puts items and waits for them; it takes and does them; participants'."""

Proposal = tuple[str, dict[str, Any]]


@dataclass
class Errand:
    """A task that is submitted, scaled a few times while it runs if it has roles, and tried again a few times."""

    kind: str
    body: dict[str, Any]
    scales: int = 0
    retries: int = 0

    @property
    def name(self) -> str:
        return str(self.body["name"])

    def ended(self, run: JobRun | None) -> bool:
        """For good: as well as it could, or as often as it is tried."""
        return run is not None and run.state in ENDED and (run.state == "done" or self.retries >= RETRIES)

    def next(self, run: JobRun | None, random: Random) -> Proposal | None:
        """What is to be proposed about it now, if anything."""
        if run is None:
            return self.kind, self.body
        if run.state in ENDED:
            if self.ended(run):
                return None
            self.retries += 1
            return "JobsRetried", {"task": self.name}
        if isinstance(run, RolesRun) and self.scales < SCALES and random.random() < 0.3:
            self.scales += 1
            role = run.role_named(random.choice((WORKER, SITE)))
            more = role.high if run.wanted[role.name] < role.high else role.low
            return "RolesScaled", {"task": self.name, "role": role.name, "to": random.choice((more, role.high))}
        return None


@dataclass
class Errands:
    """``room``: the CPUs that each operator has for them; ``sites``: how many participants there are."""

    tasks: list[Errand] = field(default_factory=list)
    room: int = 0
    sites: int = 0

    def __bool__(self) -> bool:
        return bool(self.tasks)


def drawn(seed: int, *, always: bool) -> Errands:
    """Those of a world; most have none."""
    random = Random(f"errands of {seed}")
    if not always and random.random() >= SHARE:
        return Errands()
    sweep, crew = Errand("JobsSubmitted", _sweep(random)), Errand("RolesSubmitted", _crew(random))
    return Errands([crew, sweep] if random.random() < 0.5 else [sweep, crew], room=3, sites=3)


def _sweep(random: Random) -> dict[str, Any]:
    gang = random.random() < 0.3
    slots = random.randint(2, 3) if gang else random.randint(3, 8)
    probe = random.choice((0, 0, 1, 2)) if not gang else 0
    terms = {"slots": slots, "gang": gang, "probe": probe, "restart": random.randint(0, 2), "cpu": 1, "gpu": 0}
    return {
        "taskrunner": DEFAULT_NAME, "name": "sweep", "author": "alice", "terms": terms, "body": {"Command": ["true"]},
    }  # fmt: skip


def _crew(random: Random) -> dict[str, Any]:
    start = random.randint(1, 2)
    roles = (
        Role(LEAD, lead=True, restart=3),
        Role(WORKER, low=1, high=3, start=random.randint(1, 2), needs=(LEAD,), restart=random.randint(1, 4)),
        Role(
            SITE,
            owner="participant",
            low=random.randint(0, 1),
            high=2,
            start=start,
            needs=random.choice(((), (LEAD,))),
            cpu=0,
        ),
    )
    return {
        "taskrunner": DEFAULT_NAME, "name": "crew", "author": "alice", "roles": [role.said() for role in roles],
        "within_s": START_S, "clean": random.random() < 0.7, "body": {"Roles": ["x"]},
    }  # fmt: skip
