"""``swarmlearning.hf_transformers``: HPE's callback for Hugging Face's Trainer."""

from swarm.transformers import SwarmCallback, SwarmError

__all__ = ["SwarmCallback", "SwarmError"]
