"""A network node that begins anew says what there is to do about the one that it was."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from swarm.nodes import sn_return
from swarm.runtime.statedir import StateDirectory


def test_who_begins_anew_says_how_the_former_node_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with StateDirectory(tmp_path / "sn") as state, caplog.at_level(logging.WARNING, "swarm.SN"):
        former = state.uid
        sn_return.begin_anew(state)
        assert state.uid != former
    (record,) = caplog.records
    assert record.message.endswith(f"until it is removed: swarm sn remove {former}")
