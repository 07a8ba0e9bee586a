"""The cases of ``keras_cases``, in one process of their own: TensorFlow takes seconds and half a gigabyte to load."""

from __future__ import annotations

import pytest

from tests.callbacks import cases


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return cases.run("keras_cases.py", tmp_path_factory.mktemp("keras"))


@pytest.mark.parametrize("name", cases.names("keras_cases.py"))
def test_keras(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
