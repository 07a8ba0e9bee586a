"""The public door for PyTorch programs: ``from swarm.torch import SwarmCallback, wrap``. See ``callbacks/torch``."""

from swarm.callbacks.torch import SwarmCallback, Wrapped, wrap
from swarm.errors import SwarmError

__all__ = ["SwarmCallback", "SwarmError", "Wrapped", "wrap"]
