"""Keras on JAX and on torch: each a process of its own, since Keras has one backend a process."""

from __future__ import annotations

import pytest

from tests.callbacks import cases

FILE = "keras_backend_cases.py"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_keras_on(backend, tmp_path_factory):
    pytest.importorskip(backend)
    outcomes = cases.run(FILE, tmp_path_factory.mktemp(backend), KERAS_BACKEND=backend)
    assert outcomes == dict.fromkeys(cases.names(FILE), "")
