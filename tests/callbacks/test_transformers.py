"""The cases of ``transformers_cases``, in one process of their own: the Trainer takes seconds to load."""

from __future__ import annotations

import pytest

from tests.callbacks import cases

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return cases.run("transformers_cases.py", tmp_path_factory.mktemp("transformers"))


@pytest.mark.parametrize("name", cases.names("transformers_cases.py"))
def test_transformers(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
