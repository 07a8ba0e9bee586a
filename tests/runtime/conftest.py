"""The two ends of a control link: a network node of one organisation, and a learning node of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.runtime.tls import Local
from tests.certificates import leaf
from tests.handshakes import GOOD, A, B, node


@pytest.fixture
def server(tmp_path: Path) -> Local:
    return node(tmp_path, GOOD, [A, B])


@pytest.fixture
def client(tmp_path: Path) -> Local:
    return node(tmp_path, leaf(B, "SL-1"), [A, B])
