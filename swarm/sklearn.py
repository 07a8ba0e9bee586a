"""The public door for scikit-learn programs: ``from swarm.sklearn import SwarmCallback``. See ``callbacks/sklearn``."""

from swarm.callbacks.sklearn import SwarmCallback, SwarmSklearnTrainer
from swarm.errors import SwarmError

__all__ = ["SwarmCallback", "SwarmError", "SwarmSklearnTrainer"]
