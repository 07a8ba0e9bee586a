"""A command that is killed at one step of its own. The trap is set from outside: the program knows no such points.

    python -m tests.trapped after swarm.nodes.slotdirectory SlotDirectory.intend swarm.cli.run_swop --usr-dir …
    python -m tests.trapped before swarm.nodes.client Client.propose:TaskCreated swarm.cli.run_swci …

The first call of the method counts, or the first that is given the word behind the colon.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def trapped(genuine: Callable[..., Any], when: str, word: str) -> Callable[..., Any]:
    def step(moment: str, values: tuple[Any, ...]) -> None:
        if moment == when and (not word or word in values):
            os.kill(os.getpid(), signal.SIGKILL)

    def plain(*values: Any, **named: Any) -> Any:
        step("before", values)
        result = genuine(*values, **named)
        step("after", values)
        return result

    async def waiting(*values: Any, **named: Any) -> Any:
        step("before", values)
        result = await genuine(*values, **named)
        step("after", values)
        return result

    return waiting if inspect.iscoroutinefunction(genuine) else plain


def main() -> None:
    when, module, point, command, *arguments = sys.argv[1:]
    method, _, word = point.partition(":")
    owner, _, name = method.partition(".")
    place = getattr(importlib.import_module(module), owner)
    setattr(place, name, trapped(getattr(place, name), when, word))
    sys.argv = [command, *arguments]
    importlib.import_module(command).main()


if __name__ == "__main__":
    main()
