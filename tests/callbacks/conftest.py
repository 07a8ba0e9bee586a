"""A learning node to talk to, and the log of the programs that do."""

from __future__ import annotations

import logging

import pytest

from tests.runtime.channel_node import running


@pytest.fixture
def node(tmp_path, monkeypatch):
    """One whose channel this process finds as a training program does, by its environment."""
    with running(tmp_path / "channel") as started:
        for name, value in started.environment.items():
            monkeypatch.setenv(name, value)
        yield started.node


@pytest.fixture
def log(caplog):
    """What the loggers below `test` say, who are given to callbacks."""
    caplog.set_level(logging.INFO, "test")
    return caplog
