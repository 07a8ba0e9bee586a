"""The environment in which a program written for HPE Swarm Learning finds ``swarmlearning``.

Used by whoever starts workers: ``run-sl``, ``engines/process``, ``swarm compat``. The directory goes to the end of
PYTHONPATH. What lies beside the program or on the program's own path is found first, so nothing of a user's is
shadowed; what is installed is found after it, so HPE's own client, which speaks to pipes that are not there, is not
taken by mistake. Python ignores PYTHONPATH with -E and -I: such programs name the directory themselves.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import swarm

VARIABLE = "PYTHONPATH"
DIRECTORY = str(Path(swarm.__file__).parent / "compat")


def with_import_path(environment: Mapping[str, str]) -> dict[str, str]:
    """The same, with the directory at the end of the path; twice is the same as once."""
    before = [part for part in environment.get(VARIABLE, "").split(os.pathsep) if part and part != DIRECTORY]
    return {**environment, VARIABLE: os.pathsep.join([*before, DIRECTORY])}
