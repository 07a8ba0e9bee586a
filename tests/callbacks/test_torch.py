"""The cases of ``torch_cases``, in one process of their own: torch takes seconds to load."""

from __future__ import annotations

import pytest

from tests.callbacks import cases


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return cases.run("torch_cases.py", tmp_path_factory.mktemp("torch"))


@pytest.mark.parametrize("name", cases.names("torch_cases.py"))
def test_torch(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
