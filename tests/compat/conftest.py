"""A learning node to talk to, as the callbacks' tests have it."""

from tests.callbacks.conftest import log, node

__all__ = ["log", "node"]
