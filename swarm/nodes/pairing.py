"""From a profile and a task to what an engine is to start: one learning node with its program.

Used by `nodes/swop`. Guarantees: the profile's word goes before the task's (variables, mounts of private data); every
path is checked on this host before anything is started, and what does not fit is named with the document's own key.
"""

from __future__ import annotations

import ipaddress
import shlex
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from swarm.core.events import SlotAssigned
from swarm.core.task import Task
from swarm.engines.pair import Pair, Program
from swarm.engines.paths import Mount, in_order, source_of, target_of
from swarm.errors import BadInput, Unreachable
from swarm.nodes.ledgerlink import Address
from swarm.nodes.secrets import Secrets
from swarm.wire.profile import Profile, SlNode
from swarm.wire.taskfile import RunSwarm, body_of


@dataclass(frozen=True)
class Pairing:
    profile: Profile
    sn: Address
    volumes: Path
    report: Callable[[str], None]
    """Told what a profile asks for and this host cannot give."""
    secrets: Secrets = field(default_factory=Secrets)

    def pair(self, task: Task, lease: SlotAssigned) -> Pair:
        """For the learning node of the profile that the lease is for."""
        body = body_of(task.type, task.body, task.name)
        assert isinstance(body, RunSwarm)
        node = self._node(lease.index)
        slot = {"SWARM_SLOT": lease.slot, "SWARM_FENCE": str(lease.fence)}
        return Pair(
            self._learning_node(node, node.slport),
            {**self.profile.envvars, **node.slenvvars, **_hostname(node.slhostname), **slot},
            self._program(body, node),
        )

    def shared_node(self, number: int) -> tuple[SlNode, tuple[str, ...]]:
        """For the slot of a role with this index: a learning node of the profile, and its arguments.

        There may be more such slots than nodes: they share identities, and those beyond take free ports.
        """
        nodes = self.profile.nodes
        node = nodes[number % len(nodes)]
        return node, self._learning_node(node, node.slport if number < len(nodes) else None)

    def _node(self, index: int) -> SlNode:
        count = len(self.profile.nodes)
        if index >= count:
            raise BadInput(f"the slot is for nodes[{index}], and the profile has but {count} nodes by now")
        return self.profile.nodes[index]

    def _learning_node(self, node: SlNode, port: int | None) -> tuple[str, ...]:
        return (
            *("--sn-ip", self.sn[0], "--sn-api-port", str(self.sn[1])),
            *("--host-ip", self._host_ip(node), "--sl-fs-port", str(port or 0)),
            *("--key", self._identity(node, "KEY"), "--cert", self._identity(node, "CERT")),
            *("--capath", self._authorities(node)),
            *(("--sl-fs-service", node.slfsservice) if node.slfsservice else ()),
        )

    def _authorities(self, node: SlNode) -> str:
        """One file of CAs will do where there is no directory of them."""
        return self._identity(node, "CAPATH" if node.attribute("CAPATH") or not node.attribute("CACERT") else "CACERT")

    def _identity(self, node: SlNode, kind: str) -> str:
        """The path of the key, certificate or capath."""
        attribute, what = node.attribute(kind), f"{kind} of nodes[{node.idx}]"
        if attribute is None:
            spire = node.attribute("SPIFFE_SOCKETPATH") is not None
            raise BadInput(
                f"the profile names no {what}: a learning node takes KEY, CERT and CAPATH or CACERT, which are files"
                + (", and nothing from a SPIRE agent's socket" if spire else ""),
                hint="gen-cert makes them; put the CA certificates of all organisations in one directory, the CAPATH",
            )
        part = attribute.subPath or ""
        return str(source_of(attribute.mType, attribute.src, what, volumes=self.volumes, sub_path=part))

    def _host_ip(self, node: SlNode) -> str:
        own = own_address(self.sn)
        if not node.slhostip:
            return own
        try:
            socket.getaddrinfo(node.slhostip, None)
        except (OSError, UnicodeError):
            self.report(
                f"slhostip {node.slhostip} of nodes[{node.idx}] is no name that this host knows "
                f"(of a container, perhaps): using {own}"
            )
            return own
        return node.slhostip

    def _program(self, task: RunSwarm, node: SlNode) -> Program:
        words = (*_words("Entrypoint", task.Entrypoint), *_words("Command", task.Command))
        if not words:
            raise BadInput("Entrypoint and Command of the task are blank: they name no program")
        return Program(
            words,
            self.secrets.resolved({**_devices(node), **task.Envvars, **node.usrenvvars, **_hostname(node.usrhostname)}),
            target_of(task.WorkingDir, "WorkingDir"),
            in_order(self._mounts(task, node)),
        )

    def _mounts(self, task: RunSwarm, node: SlNode) -> list[Mount]:
        mounts = []
        if task.PrivateContent is not None:
            private = node.privatedata
            if private is None:
                raise BadInput(
                    f"the task asks for PrivateContent, and nodes[{node.idx}] of the profile has no privatedata"
                )
            what = f"privatedata of nodes[{node.idx}]"
            source = source_of(private.mType, private.src, what, volumes=self.volumes, node=node.idx)
            mounts.append(Mount("PrivateContent", source, target_of(task.PrivateContent, "PrivateContent")))
        for number, shared in enumerate(task.SharedContent):
            what = f"SharedContent[{number}]"
            source = source_of(shared.MType, shared.Src, f"Src of {what}", volumes=self.volumes, node=node.idx)
            mounts.append(Mount(what, source, target_of(shared.Tgt, f"Tgt of {what}"), read_only=True))
        return mounts


def _words(what: str, text: str) -> list[str]:
    """As Docker splits it: quotes keep words together, nothing is expanded."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise BadInput(f"{what} {text!r} of the task cannot be split: {str(error).lower()}") from None


def _devices(node: SlNode) -> dict[str, str]:
    """What a container engine would be told of GPUs, for CUDA."""
    chosen = str(node.usrcontaineropts.get("gpus", "")).strip('"').removeprefix("device=")
    return {"CUDA_VISIBLE_DEVICES": chosen} if chosen not in ("", "all") else {}


def without_effect(profile: Profile) -> list[str]:
    """The keys of a profile that mean something to containers only."""
    found = ["dns"] if profile.dns else []
    for node in profile.nodes:
        keys = ["sllabels", "usrlabels", "slnetworkopts", "usrnetworkopts"]
        keys += ["usrcontaineropts"] if set(node.usrcontaineropts) - {"gpus"} else []
        found += [f"{key} of nodes[{node.idx}]" for key in keys if getattr(node, key)]
    return found


def _hostname(name: str | None) -> dict[str, str]:
    """What a container's environment would say."""
    return {"HOSTNAME": name} if name else {}


def own_address(peer: Address) -> str:
    """This host's address on the way to the peer."""
    try:
        family = socket.getaddrinfo(*peer, type=socket.SOCK_DGRAM)[0][0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(peer)  # sends nothing
            return str(ipaddress.ip_address(probe.getsockname()[0].partition("%")[0]))
    except (OSError, UnicodeError) as error:
        raise Unreachable(f"this host finds no way to {peer[0]}:{peer[1]}: {error}") from error
