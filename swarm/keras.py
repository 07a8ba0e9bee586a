"""The public door for Keras programs: ``from swarm.keras import SwarmCallback``. What it does: ``callbacks/keras``."""

from swarm.callbacks.keras import SwarmCallback
from swarm.errors import SwarmError

__all__ = ["SwarmCallback", "SwarmError"]
