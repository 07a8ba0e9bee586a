"""The terms of jobs: what the ledger has to know of them, whatever they are about.

Said by a task's file (`wire/jobsfile`), kept by its run (`core/jobrun`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """What the ledger has to know of the jobs: how many, and what each of them needs of an operator."""

    slots: int = 1
    gang: bool = False
    """All of them run at one operator, at the same time, or none."""
    probe: int = 0
    """So many testers have to succeed before the rest is dealt."""
    restart: int = 0
    """How often a slot that failed, or the gang, is tried again."""
    cpu: int = 1
    gpu: int = 0
