"""``swarmlearning.client.swarm``: the base class of platforms of one's own, HPE's words, and the one error."""

from swarm.compat.swarmlearning.client.base import SwarmCallbackBase
from swarm.compat.swarmlearning.client.words import CheckinModel, HFMode, SLMergeMethod, SLPlatforms
from swarm.errors import SwarmError

__all__ = ["CheckinModel", "HFMode", "SLMergeMethod", "SLPlatforms", "SwarmCallbackBase", "SwarmError"]
