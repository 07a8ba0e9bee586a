"""The channels of a task with roles: who merges with whom, in which contracts, and how groups meet above them.

Part of `wire/rolesfile`, which reads them; asked by `nodes/casting` and `nodes/participant` what a slot is told.
Guarantees: what `fault` finds nothing wrong with connects all roles; each slot merges in one contract; where groups
meet, each has one leader, and nobody but leaders is there.

    Channels:
      - {Name: param, Between: [trainer, leader], GroupBy: [eu, us]}    contracts param-eu and param-us
      - {Name: all, Between: [leader, leader], Every: 5}                after every five merges of a group
      - {Name: flat, Between: [peer, peer], pickPeers: 2}               two of all in each round

A slot is in the group of its index: 0 in the first, 1 in the second, and so on, and again from the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import Field
from pydantic.dataclasses import dataclass

from swarm.core.agreement import LEADS_VARIABLE, OPTION_VARIABLES
from swarm.core.fields import CONTRACT
from swarm.core.role_kinds import ROLE_NAME
from swarm.core.roles import ROLES_MAX, SLOTS_MAX, Role
from swarm.errors import BadInput
from swarm.wire.shapes import CLOSED, fits

EVERY_MAX = 1_000_000
RoleName = Annotated[str, Field(strict=True), fits(ROLE_NAME)]
_Contract = Annotated[str, Field(strict=True), fits(CONTRACT)]


@dataclass(frozen=True, config=CLOSED)
class Channel:
    """The roles that merge with each other, in the contract of this name; one role twice: its slots with each other."""

    Name: _Contract
    Between: Annotated[tuple[RoleName, ...], Field(min_length=2, max_length=ROLES_MAX)]
    GroupBy: Annotated[tuple[_Contract, ...], Field(max_length=ROLES_MAX)] = ()
    """The groups that merge each for itself; one or none: all merge together."""
    Every: Annotated[int, Field(strict=True, ge=1, le=EVERY_MAX)] | None = None
    """Where groups meet: after how many merges of a group; left out: after each."""
    pickPeers: Annotated[int, Field(strict=True, ge=1, le=SLOTS_MAX)] | None = None
    """The contract's option (`core/agreement`), for programs that do not say it: so many members a round."""
    asyncGoal: Annotated[int, Field(strict=True, ge=1, le=SLOTS_MAX)] | None = None
    """Likewise: a round begins to merge with so many offers."""

    @property
    def grouped(self) -> bool:
        return len(self.GroupBy) > 1

    def contract(self, index: int) -> str:
        """In which a slot with this index merges."""
        return f"{self.Name}-{self.group(index)}" if self.grouped else self.Name

    def group(self, index: int) -> str:
        return self.GroupBy[index % len(self.GroupBy)] if self.grouped else ""

    def contracts(self) -> list[str]:
        return [self.contract(index) for index in range(max(1, len(self.GroupBy)))]

    @property
    def options(self) -> dict[str, int]:
        """What it says for the programs that merge in it, by the option's name."""
        said = {"pickPeers": self.pickPeers, "asyncGoal": self.asyncGoal}
        return {name: members for name, members in said.items() if members is not None}


class HasChannels(Protocol):
    """The body of a task with roles."""

    @property
    def Channels(self) -> tuple[Channel, ...]: ...

    def roles(self) -> tuple[Role, ...]: ...


def of_role(channels: Sequence[Channel], role: str) -> tuple[Channel | None, Channel | None]:
    """The channel in which the role's slots merge, and the one in which they lead their groups; None: there is none."""
    there = sorted((channel for channel in channels if role in channel.Between), key=lambda each: not each.grouped)
    return (there[0] if there else None), (there[1] if len(there) > 1 else None)


def indices(body: HasChannels, role: Role, group: str, task: str) -> list[int]:
    """Of the slots that the role may ever have in this group. Raises BadInput where there is no such group."""
    own, _ = of_role(body.Channels, role.name)
    groups = own.GroupBy if own is not None and own.grouped else ()
    if group not in groups:
        has = f"the groups {', '.join(groups)}" if groups else "no groups"
        raise BadInput(f"the role {role.name} of task {task} has {has}, asked for {group}", hint="leave out --group")
    return list(range(groups.index(group), role.high, len(groups)))


def environment(body: HasChannels, role: Role, index: int) -> dict[str, str]:
    """What a slot's program is told of where it merges."""
    own, leads = of_role(body.Channels, role.name)
    if own is None:
        return {"SWARM_CONTRACT": role.contract}
    told = {"SWARM_CONTRACT": own.contract(index)}
    options: dict[str, int | str] = {**own.options}
    if own.grouped:
        told["SWARM_GROUP"] = own.group(index)
        upper = leads or next(filter(None, (of_role(body.Channels, other)[1] for other in own.Between)), None)
        if upper is not None:
            options |= {"upper": upper.Name, "upperEvery": upper.Every or 1, "upperPeers": len(own.GroupBy)}
        if leads:
            told[LEADS_VARIABLE] = "true"
    return told | {OPTION_VARIABLES[name]: str(value) for name, value in options.items()}


# ---- what is wrong with them


def fault(channels: Sequence[Channel], roles: Mapping[str, Role]) -> str:
    """In one sentence; empty: nothing."""
    for channel in channels:
        for name in channel.Between:
            if name not in roles:
                return f"the channel {channel.Name} is between {name} and others, and there is no role {name}"
        if len(set(channel.GroupBy)) < len(channel.GroupBy):
            return f"the channel {channel.Name} has a group twice: {', '.join(channel.GroupBy)}"
    contracts = [contract for channel in channels for contract in channel.contracts()]
    for contract in contracts:
        if contracts.count(contract) > 1:
            return f"two channels, or groups of them, would merge in one contract, {contract}"
        if not CONTRACT.fits(contract):
            return f"a group would merge in the contract {contract}, expected {CONTRACT.expected}"
    found = (_of_role(role, channels) or _empty(role, channels, roles) for role in roles.values())
    return next(filter(None, found), "") or _without_meaning(channels) or _out_of_reach(channels, roles)


def _of_role(role: Role, channels: Sequence[Channel]) -> str:
    there = [channel for channel in channels if role.name in channel.Between]
    if len(there) < 2:
        return ""
    names = " and ".join(channel.Name for channel in there)
    below = [channel for channel in there if channel.grouped]
    if len(there) > 2 or len(below) != 1:
        return (
            f"the role {role.name} is in the channels {names}: a role merges in one, or leads the groups of one "
            "(GroupBy) in one other, which has none"
        )
    groups = below[0].GroupBy
    if (role.low, role.high) != (len(groups), len(groups)):
        return (
            f"the role {role.name} leads the groups {', '.join(groups)} of channel {below[0].Name}: "
            f"expected Replicas: {len(groups)}, one slot for each"
        )
    leaders = sorted({name for name in below[0].Between if of_role(channels, name)[1]})
    twice = f"the groups of channel {below[0].Name} are led by {' and '.join(leaders)}: expected one role"
    return twice if len(leaders) > 1 else ""


def _empty(role: Role, channels: Sequence[Channel], roles: Mapping[str, Role]) -> str:
    """A group that nobody may ever be in, or somebody who is above and in no group."""
    own, leads = of_role(channels, role.name)
    if own is None or leads is not None:
        return ""
    if own.grouped:
        most = max(roles[name].start for name in own.Between)
        missing = own.GroupBy[most:]
        return f"nobody is in the group {missing[0]} of channel {own.Name}: it has slots for {most}" if missing else ""
    others = [name for name in own.Between if of_role(channels, name)[1] is own]
    if others:
        return f"the role {role.name} is in the channel {own.Name}, in which {others[0]} leads groups, and leads none"
    return ""


def _without_meaning(channels: Sequence[Channel]) -> str:
    for channel in channels:
        leads = any(of_role(channels, name)[1] is channel for name in channel.Between)
        if channel.Every is not None and not leads:
            return f"Every of channel {channel.Name} has no meaning: none of its roles leads groups of another channel"
    return ""


def _out_of_reach(channels: Sequence[Channel], roles: Mapping[str, Role]) -> str:
    """Rounds of so many members that could never come about, or of fewer than all where groups need all."""
    for channel in channels:
        said = [f"{name}={members}" for name, members in channel.options.items()]
        if len(said) > 1:
            return f"{' and '.join(said)} of channel {channel.Name} are not possible together: expected one"
        if said and any(of_role(channels, name)[1] for name in channel.Between):
            return f"{said[0]} of channel {channel.Name} is not possible where groups meet: all members merge there"
        names = dict.fromkeys(channel.Between)
        most = sum(roles[name].high // max(1, len(channel.GroupBy)) for name in names)
        if any(members > most for members in channel.options.values()):
            where = f"a group of channel {channel.Name}" if channel.grouped else f"channel {channel.Name}"
            return (
                f"{said[0]} of {where} is not possible: expected {most} or less, "
                f"as many as {' and '.join(names)} may have slots there"
            )
    return ""
