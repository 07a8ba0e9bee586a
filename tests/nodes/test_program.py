"""A program that is not there is said before anything is started for it, a Python script too."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.errors import BadInput
from swarm.nodes.program import must_exist


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "train.py").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("given", ["python trian.py", "python3 -u -W ignore -X dev trian.py --x", "python -- trian.py"])
def test_a_script_that_is_not_there_is_named_with_where_it_was_looked_for(given: str, here: Path) -> None:
    with pytest.raises(BadInput) as caught:
        must_exist(given.split(), "try train.py")
    assert caught.value.message == f"the program 'trian.py' was not found in {here}"
    assert caught.value.hint == "try train.py"


@pytest.mark.parametrize(
    "given",
    [
        "python train.py",
        "python -m trian",
        "python -um trian",
        "python -c print(1) x",
        "python -",
        "python",
        "ls trian.py",
    ],
)
def test_what_is_no_script_is_for_the_program_to_say(given: str) -> None:
    must_exist(given.split(), "")
