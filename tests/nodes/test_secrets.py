"""secret:NAME, resolved by each operator from a file of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarm.errors import BadInput, IdentityError, SwarmError
from swarm.nodes.secrets import Secrets

ASKED = {"DB": "secret:db", "PLAIN": "x"}


def file_of(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "secrets"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_what_a_task_asks_for_comes_from_the_operators_own_file(tmp_path: Path) -> None:
    secrets = Secrets(file_of(tmp_path, "# ours\n\nother=1\ndb = s3=cret\n"))
    assert secrets.resolved(ASKED) == {"DB": "s3=cret", "PLAIN": "x"}
    file_of(tmp_path, "db=changed\n")
    assert secrets.resolved(ASKED)["DB"] == "changed"


def test_without_secrets_no_file_is_read(tmp_path: Path) -> None:
    assert Secrets(tmp_path / "none").resolved({"PLAIN": "x"}) == {"PLAIN": "x"}


@pytest.mark.parametrize(
    ("text", "mode", "kind", "said"),
    [
        ("other=hunter2", 0o600, BadInput, "DB is to be secret:db, and this operator has no secret of this name"),
        ("db=hunter2", 0o640, IdentityError, "can be read by others (mode 0640), expected 0600"),
        (None, 0o600, BadInput, "cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_resolved_is_named_and_its_value_never(
    tmp_path: Path, text: str | None, mode: int, kind: type[SwarmError], said: str
) -> None:
    file = tmp_path / "none" if text is None else file_of(tmp_path, text, mode)
    with pytest.raises(kind) as caught:
        Secrets(file).resolved(ASKED)
    assert said in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_without_a_file_the_flag_is_named() -> None:
    with pytest.raises(BadInput) as caught:
        Secrets().resolved(ASKED)
    assert caught.value.hint == "a line db=VALUE in the file of run-swop --secrets"
