"""What can be set for the commands of a context: how long they wait, and how often they ask again.

Used by the commands of this room. A variable is looked for in the context, then in the environment of the process. Any
name can be set, as in HPE's SWCI; one that nothing here reads is accepted with a warning. What is set is checked when
it is set; what the environment holds, when it is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from swarm.errors import BadInput
from swarm.nodes.swci import arguments
from swarm.nodes.swci.session import Session

RETRIES_MAX = 100_000
_MINUTES_MAX = 1e6
_VALUE_MAX = 1000
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")

RUN_MINUTES = "SWCI_RUN_TASK_MAX_WAIT_TIME"
GENERIC_MINUTES = "SWCI_GENERIC_TASK_MAX_WAIT_TIME"
RETRIES = "APISRV_CON_RETRY"
DEFAULTS = {RUN_MINUTES: "120", GENERIC_MINUTES: "120", RETRIES: "360"}
"""Minutes that WAIT FOR TASKRUNNER waits for RUN_SWARM tasks, and for others; tries of WAIT FOR IP and SERVICE."""


def minutes(session: Session, *, of_a_run: bool) -> float:
    name = RUN_MINUTES if of_a_run else GENERIC_MINUTES
    return _minutes(name, session.variable(name) or DEFAULTS[name])


def retries(session: Session, asked: str = "") -> int:
    """How often is tried what has to succeed: as the command says, else as is set."""
    if asked:
        return arguments.whole("the number of retries", asked, 1, RETRIES_MAX)
    return _retries(RETRIES, session.variable(RETRIES) or DEFAULTS[RETRIES])


def context_of(session: Session, name: str = "") -> str:
    """The context of this name, or the active one; raises BadInput if there is none."""
    name = name or session.context
    if name not in session.contexts:
        known = ", ".join(session.contexts) or "none"
        what = f"there is no context {name}" if name else "no context is active"
        raise BadInput(f"{what}, known: {known}", hint="CREATE CONTEXT <name> WITH IP <ip>")
    return name


# ---- commands


async def get(session: Session, variable: str) -> None:
    await get_in(session, session.context, variable)


async def get_in(session: Session, context: str, variable: str) -> None:
    context = context_of(session, context)
    session.say(_line(session, _name(variable), context))


async def names(session: Session, context: str = "") -> None:
    context = context_of(session, context)
    shown = dict.fromkeys([*DEFAULTS, *session.contexts[context].variables])
    session.say("\n".join(_line(session, name, context) for name in shown))


async def change(session: Session, variable: str, value: str) -> None:
    await change_in(session, session.context, variable, value)


async def change_in(session: Session, context: str, variable: str, value: str) -> None:
    context = context_of(session, context)
    name = _name(variable)
    if check := _CHECKS.get(name):
        check(name, value)
    elif len(value) > _VALUE_MAX or not value.isprintable():
        raise BadInput(f"the value of {name} is no printable text of at most {_VALUE_MAX} characters")
    else:
        session.say(f"WARNING - nothing here goes by {name}: what does is {', '.join(DEFAULTS)}")
    session.contexts[context].variables[name] = value
    session.say(f"CONTEXT ENV SET : {name} : {value}")


def _line(session: Session, name: str, context: str) -> str:
    return f"{name} : {session.variable(name, context) or DEFAULTS.get(name, '')}"


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise BadInput(f"{text[:80]!r} is no name of a variable: letters, digits and _, and no digit first")
    return text


def _minutes(name: str, text: str) -> float:
    return arguments.number(f"{name} (minutes)", text, _MINUTES_MAX)


def _retries(name: str, text: str) -> int:
    return arguments.whole(f"{name} (tries)", text, 1, RETRIES_MAX)


_CHECKS: dict[str, Callable[[str, str], float]] = {
    RUN_MINUTES: _minutes,
    GENERIC_MINUTES: _minutes,
    RETRIES: _retries,
}
