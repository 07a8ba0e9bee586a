"""The cases on TensorFlow, in one process of their own: TensorFlow takes seconds and half a gigabyte to load."""

from __future__ import annotations

import pytest

from tests.callbacks import cases

FILES = ("keras_cases.py", "keras2_cases.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return cases.run(FILES[0], tmp_path_factory.mktemp("keras"), *FILES[1:])


@pytest.mark.parametrize("name", [name for file in FILES for name in cases.names(file)])
def test_keras(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
