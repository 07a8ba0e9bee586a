"""``swarmlearning.sklearn``: HPE's callback for scikit-learn."""

from swarm.sklearn import SwarmCallback, SwarmError, SwarmSklearnTrainer

__all__ = ["SwarmCallback", "SwarmError", "SwarmSklearnTrainer"]
