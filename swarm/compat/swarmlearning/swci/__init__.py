"""``from swarmlearning.swci import Swci``: a command interface in web mode, from Python.

Needs nothing but Python itself; `Swci.plotTopology` alone needs networkx and matplotlib.
"""

from swarm.compat.swarmlearning.swci.client import Swci

__all__ = ["Swci"]
