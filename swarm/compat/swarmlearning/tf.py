"""``swarmlearning.tf``: HPE's callback for Keras, and what Keras 2 took and Keras 3 refuses, made to work."""

from swarm.compat.swarmlearning import keras2
from swarm.keras import SwarmCallback, SwarmError

keras2.install()

__all__ = ["SwarmCallback", "SwarmError"]
