from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.core import names
from swarm.errors import BadInput
from swarm.runtime.statedir import StateDirectory, default_state_dir, in_use


def test_a_new_directory_is_private_and_gets_a_node_key(tmp_path: Path) -> None:
    with StateDirectory(tmp_path / "deep" / "state") as state:
        assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
        assert stat.S_IMODE((state.path / "node.key").stat().st_mode) == 0o600
        assert state.uid == names.uid_of(state.node_public)
        assert state.peer_id == names.peer_id(state.node_public)
        assert state.network_id == b""


def test_the_key_stays_and_the_incarnation_counts_up(tmp_path: Path) -> None:
    seen = []
    for _ in range(3):
        with StateDirectory(tmp_path) as state:
            seen.append((state.node_public, state.incarnation))
    assert len({key for key, _ in seen}) == 1
    assert [int.from_bytes(incarnation[:8], "big") for _, incarnation in seen] == [1, 2, 3]
    assert len({incarnation[8:] for _, incarnation in seen}) == 3


def test_a_directory_in_use_names_the_process(tmp_path: Path) -> None:
    with StateDirectory(tmp_path):
        code = f"from swarm.runtime.statedir import *; StateDirectory(Path({str(tmp_path)!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"state directory {tmp_path} is in use by process {os.getpid()}" in other.stderr
    StateDirectory(tmp_path).close()


@pytest.mark.parametrize("inside", [".", "sn-1", "slots/13.0-7/sl"])
def test_a_directory_is_in_use_while_a_process_holds_it_or_what_is_in_it(inside: str, tmp_path: Path) -> None:
    (tmp_path / inside).mkdir(parents=True, exist_ok=True)
    with StateDirectory(tmp_path / inside):
        assert in_use(tmp_path)
    assert not in_use(tmp_path)


def test_a_failed_opening_does_not_count_as_a_start(tmp_path: Path) -> None:
    with StateDirectory(tmp_path), pytest.raises(BadInput, match="in use"):
        StateDirectory(tmp_path)
    with StateDirectory(tmp_path) as state:
        assert state.incarnation[:8] == (2).to_bytes(8, "big")


def test_a_node_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    StateDirectory(tmp_path).close()
    (tmp_path / "node.key").chmod(0o644)
    with pytest.raises(BadInput, match=r"can be read by others \(mode 0644\)") as caught:
        StateDirectory(tmp_path)
    assert caught.value.hint == f"chmod 600 {tmp_path / 'node.key'}"


NO_NETWORKS = [("network", text) for text in ("zz", "", "00ff", "ab" * 31, "ab" * 33)]


@pytest.mark.parametrize(("name", "text"), [("node.key", "x"), ("starts", "many"), *NO_NETWORKS])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    StateDirectory(tmp_path).close()
    (tmp_path / name).write_text(text)
    with pytest.raises(BadInput, match=f"{tmp_path / name} is damaged"):
        StateDirectory(tmp_path)


def test_the_network_is_kept_and_another_one_refused(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.set_network_id(b"\1" * 32)
    with StateDirectory(tmp_path) as state:
        assert state.network_id == b"\1" * 32
        state.set_network_id(b"\1" * 32)
        with pytest.raises(BadInput, match="belongs to network 0101010101010101, the other side to network 0202"):
            state.set_network_id(b"\2" * 32)


def test_a_place_that_cannot_be_a_directory_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"state directory .*/file cannot be used: File exists"):
        StateDirectory(tmp_path / "file")


def test_write_atomic_replaces_and_leaves_no_part(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.write_atomic("ready.json", b"1")
        state.write_atomic("ready.json", b"2", fsync=False)
        assert (tmp_path / "ready.json").read_bytes() == b"2"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["lock", "node.key", "ready.json", "starts"]


def test_the_default_place_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_state_dir("SN-1") == tmp_path / "swarm" / "sn-1"


def test_another_incarnation_without_another_process(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        before = (state.uid, state.incarnation)
        state.begin_anew()
        assert state.uid == before[0]
        assert int.from_bytes(state.incarnation[:8], "big") == 2


def test_what_is_set_aside_is_kept_and_the_node_is_another_of_the_same_network(tmp_path: Path) -> None:
    with StateDirectory(tmp_path) as state:
        state.set_network_id(b"n" * 32)
        for name in ("ledger.db", "ledger.db-wal", "notes"):
            state.write_atomic(name, name.encode())
        uids = [state.uid]
        for _ in range(2):
            aside = state.set_aside(("ledger.db*",))
            uids.append(state.uid)
        assert len(set(uids)) == 3
        assert aside == tmp_path / "aside-2"
        assert sorted(each.name for each in aside.iterdir()) == ["node.key", "starts"]
        first = tmp_path / "aside-1"
        assert sorted(each.name for each in first.iterdir()) == ["ledger.db", "ledger.db-wal", "node.key", "starts"]
        assert (tmp_path / "notes").exists()
        assert state.network_id == b"n" * 32
        assert int.from_bytes(state.incarnation[:8], "big") == 1
    with StateDirectory(tmp_path) as again:
        assert again.uid == uids[-1]
