"""Swarm: organisations that may not pool their data train one model together.

The public door, for training programs and scripts. Importing it loads neither a framework nor the network;
names are fetched when first used. Guarantee: whatever is in ``__all__`` keeps its meaning within a minor version.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Client": "swarm.nodes.steering",
    "Swarm": "swarm.callbacks.swarm",
    "SwarmError": "swarm.errors",
    "log_metrics": "swarm.callbacks.metrics",
    "peers": "swarm.callbacks.roles",
    "scale": "swarm.callbacks.roles",
}
_MODULES = {"work": "swarm.callbacks.work"}
# All but the version are fetched by __getattr__.
__all__ = ["Client", "Swarm", "SwarmError", "__version__", "log_metrics", "peers", "scale", "work"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'swarm' has no attribute {name!r}")
