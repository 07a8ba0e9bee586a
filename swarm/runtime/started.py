"""The type of trio's ``task_status``, for tasks started with ``nursery.start``.

trio has it as ``trio.TaskStatus``, but the stubs for an older trio that libp2p brings along hide that from mypy; this
is the one place that knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from trio_typing import TaskStatus as AnyTaskStatus

TaskStatus: TypeAlias = "AnyTaskStatus[None]"
