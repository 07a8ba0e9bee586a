"""Metrics of a job: what is kept of them, and what is refused."""

import json

import numpy as np
import pytest

import swarm
from swarm.callbacks.metrics import FILE
from swarm.errors import BadInput


def test_numbers_are_kept_a_line_a_call_with_epoch_and_rank(tmp_path, monkeypatch):
    monkeypatch.setenv(FILE, str(tmp_path / "metrics"))
    monkeypatch.setenv("RANK", "2")
    assert swarm.log_metrics({"loss": np.float32(0.5), "lr": 1}, epoch=3)
    assert swarm.log_metrics({"loss": float("nan")})
    first, second = (json.loads(line) for line in (tmp_path / "metrics").read_text().splitlines())
    assert (first["epoch"], first["rank"], first["metrics"]) == (3, 2, {"loss": 0.5, "lr": 1.0})
    assert (second["epoch"], second["metrics"]) == (None, {"loss": None})


def test_outside_of_a_job_nothing_is_kept(monkeypatch):
    monkeypatch.delenv(FILE, raising=False)
    assert swarm.log_metrics({"loss": 0.5}) is False


@pytest.mark.parametrize(("metrics", "said"), [({"loss": "low"}, "loss is 'low'"), ({1: 2}, "200 characters, got 1")])
def test_what_is_no_number_is_refused(metrics, said):
    with pytest.raises(BadInput, match=said):
        swarm.log_metrics(metrics)
