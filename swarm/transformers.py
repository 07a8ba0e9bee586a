"""The public door for Hugging Face's Trainer: ``from swarm.transformers import SwarmCallback``."""

from swarm.callbacks.transformers import SwarmCallback
from swarm.errors import SwarmError

__all__ = ["SwarmCallback", "SwarmError"]
