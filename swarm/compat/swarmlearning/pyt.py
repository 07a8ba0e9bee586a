"""``swarmlearning.pyt``: HPE's callback for PyTorch."""

from swarm.torch import SwarmCallback, SwarmError

__all__ = ["SwarmCallback", "SwarmError"]
