"""The cases of ``sklearn_cases``, in one process of their own: scikit-learn takes seconds to load."""

from __future__ import annotations

import pytest

from tests.callbacks import cases


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    return cases.run("sklearn_cases.py", tmp_path_factory.mktemp("sklearn"))


@pytest.mark.parametrize("name", cases.names("sklearn_cases.py"))
def test_sklearn(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
