"""From a task with roles to what an engine is to start for one of its slots: a program, or one that merges.

Used by `nodes/swop`. Guarantees: what a slot is told of itself and of the roles that it needs is complete before
anything is started; what merges has a learning node of the operator's profile beside it, as any RUN_SWARM slot has.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from swarm.core.jobslot import JobSlot
from swarm.core.rolesrun import RolesRun
from swarm.core.task import Task
from swarm.engines.job import Job
from swarm.engines.pair import Pair, Program
from swarm.engines.paths import Mount
from swarm.nodes.goal import Goal
from swarm.nodes.jobbing import Jobbing
from swarm.nodes.jobwork import JobWork, MergingWork, Pass
from swarm.nodes.pairing import Pairing, own_address
from swarm.wire import channels
from swarm.wire.rolesfile import body_of_run

PLACE = "/platform/swarm/task"
"""Where a program that merges sees the copy of its code, in which it begins."""


@dataclass(frozen=True)
class Casting:
    """``desk``: the file that says where the operator hears its slots (`nodes/desk`)."""

    jobbing: Jobbing
    pairing: Pairing
    desk: Path

    def give(self, work: JobWork, task: Task, run: RolesRun) -> None:
        """Tell the work what to start for its attempt. Raises BadInput for what this host cannot do,
        and for what nobody has checked."""
        body = body_of_run(task.body, task.name, run.roles)
        slot, directory = run.slots[work.lease.slot], work.directory
        role = body.named(slot.role)
        directory.part = f"{slot.role}-{slot.index}"
        work.code, work.code_hash = (Path(body.Code) if body.Code else None), body.CodeHash
        if not directory.intended:
            directory.outputs.claim()
        work.keep_logs_only = body.Clean == "all"
        work.goal = Goal(body.StopOn.metric, body.StopOn.ge, directory.metrics) if body.StopOn else None
        work.pass_ = Pass.kept(directory.path) or Pass(secrets.token_hex(16), self._address())
        said = self.jobbing.secrets.resolved({**body.Envvars, **role.Envvars})
        merging = channels.environment(body, run.role(slot), slot.index)
        environment = {**said, **self._environment(work, run, slot), **merging}
        if isinstance(work, MergingWork):
            work.pair = self._pair(work, role.Command, environment, slot)
        else:
            work.pair = Job(role.Command, environment, directory.work, self.jobbing.life)

    def _environment(self, work: JobWork, run: RolesRun, slot: JobSlot) -> dict[str, str]:
        assert work.pass_ is not None
        role, replicas = run.role(slot), run.wanted[slot.role]
        there = [(each, run.addresses.get(each.id, "")) for part in run.roles for each in run.slots_of(part.name)]
        addresses = [work.pass_.address if each.id == slot.id else address for each, address in there]
        nodes = {
            f"SWARM_{needed.upper().replace('-', '_')}_NODES": ",".join(
                run.addresses[each.id] for each in run.slots_of(needed) if each.id in run.addresses
            )
            for needed in role.needs
        }
        return {
            **self.jobbing.environment(run, slot, work.directory),
            "SWARM_FENCE": str(slot.fence),
            "SWARM_ROLE": slot.role,
            "SWARM_INDEX": str(slot.index),
            "SWARM_REPLICAS": str(replicas),
            "SWARM_ADDRESS": work.pass_.address,
            "SWARM_RANK": str([each.id for each, _ in there].index(slot.id)),
            "SWARM_NODES": ",".join(address for address in addresses if address),
            **nodes,
            "RANK": str(slot.index),
            "WORLD_SIZE": str(replicas),
            "SWARM_DESK": str(self.desk),
            "SWARM_DESK_TOKEN": work.pass_.token,
        }

    def _pair(self, work: MergingWork, command: tuple[str, ...], environment: dict[str, str], slot: JobSlot) -> Pair:
        lease = {"SWARM_SLOT": slot.id, "SWARM_FENCE": str(slot.fence)}
        node, arguments = self.pairing.shared_node(slot.index)
        program = Program(command, environment, PLACE, (Mount("Code", work.directory.work, PLACE, own=True),))
        return Pair(arguments, {**self.pairing.profile.envvars, **node.slenvvars, **lease}, program)

    def _address(self) -> str:
        """A free port of this host, as the others reach it."""
        host = own_address(self.pairing.sn)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = probe.getsockname()[1]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
