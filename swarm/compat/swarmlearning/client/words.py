"""The words of HPE's arguments as enums, for programs that use them so: names and numbers are HPE's.

A member is taken wherever its name is: ``mergeMethod=SLMergeMethod.geomedian``.
"""

from __future__ import annotations

from enum import Enum


class CheckinModel(Enum):
    """What a peer whose own training has ended goes on offering."""

    inactive = 1
    active = 2
    snapshot = 3


class SLPlatforms(Enum):
    TF = 1
    KERAS = 2
    PYTORCH = 3
    HF_TRANSFORMER = 4


class SLMergeMethod(Enum):
    mean = 1
    coordmedian = 2
    geomedian = 3


class HFMode(Enum):
    full = 1
    peft = 2
