"""The working directory: HPE's mount point leads to the user directory, everything else to where it is."""

import pytest

from swarm.errors import BadInput
from swarm.nodes.swci.directory import Directory


@pytest.fixture
def usr(tmp_path):
    (tmp_path / "usr" / "taskdefs").mkdir(parents=True)
    (tmp_path / "usr" / "taskdefs" / "build.yaml").write_text("x")
    (tmp_path / "usr" / ".hidden").write_text("")
    (tmp_path / "elsewhere").mkdir()
    return tmp_path / "usr"


def test_the_mount_point_is_the_user_directory(usr):
    directory = Directory(usr)
    directory.change("/platform/swarm/usr")
    assert directory.current == "/platform/swarm/usr"
    assert directory.file("taskdefs/build.yaml").read_text() == "x"
    directory.change("taskdefs")
    assert directory.current == "/platform/swarm/usr/taskdefs"
    assert directory.file("build.yaml") == directory.file("/platform/swarm/usr/taskdefs/build.yaml")
    directory.change("../")
    assert directory.entries("", hidden=False) == ["taskdefs/"]
    assert directory.entries(".", hidden=True) == [".hidden", "taskdefs/"]
    assert directory.entries("taskdefs/build.yaml", hidden=False) == ["build.yaml"]


def test_other_places_are_where_they_are(usr):
    directory = Directory(usr)
    directory.change(str(usr.parent / "elsewhere"))
    assert directory.current == str(usr.parent / "elsewhere")
    assert directory.entries("..", hidden=False) == ["elsewhere/", "usr/"]


def test_without_a_user_directory_it_begins_where_the_process_is(usr, monkeypatch):
    monkeypatch.chdir(usr)
    directory = Directory(None)
    assert directory.current == str(usr)
    with pytest.raises(BadInput, match=r"no directory /platform/swarm/usr \(it stands for --usr-dir\)"):
        directory.change("/platform/swarm/usr")


def test_what_is_not_there_is_named_in_both_worlds(usr):
    directory = Directory(usr)
    with pytest.raises(BadInput) as refused:
        directory.file("taskdefs/biuld.yaml")
    expected = f"there is no file /platform/swarm/usr/taskdefs/biuld.yaml (which is {usr}/taskdefs/biuld.yaml)"
    assert refused.value.message == expected
    with pytest.raises(BadInput, match=r"there is no directory /platform/swarm$"):
        directory.change("..")
    with pytest.raises(BadInput, match=r"there is no directory .*build\.yaml"):
        directory.change("taskdefs/build.yaml")
    assert directory.current == "/platform/swarm/usr"


def test_what_can_be_no_path_is_not_there(usr):
    directory = Directory(usr)
    for path in ("x" * 300, "a\0b"):
        for look in (directory.change, directory.read, lambda path: directory.entries(path, hidden=False)):
            with pytest.raises(BadInput, match="there is no"):
                look(path)


def test_what_may_not_be_read_is_said(usr, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    with pytest.raises(BadInput, match=r"the file /platform/swarm/usr/taskdefs/build\.yaml cannot be read: Permission"):
        Directory(usr).read("taskdefs/build.yaml")
    with pytest.raises(BadInput, match="the directory /platform/swarm/usr cannot be read: Permission denied"):
        Directory(usr).entries(".", hidden=False)


def test_a_confined_one_sees_the_user_directory_only(usr):
    (usr / "out").symlink_to(usr.parent / "elsewhere")
    (usr / "in").symlink_to(usr / "taskdefs")
    directory = Directory(usr, confined=True)
    directory.change("in")
    assert directory.read("build.yaml") == b"x"
    directory.change("..")
    for path in ("/etc", str(usr.parent), "..", "../../../etc/passwd", "out", "/platform/swarm/usr2", "~", "a\0b"):
        for look in (directory.change, directory.read, lambda path: directory.entries(path, hidden=True)):
            with pytest.raises(BadInput, match="nothing else is seen from the web"):
                look(path)
    nowhere = Directory(None, confined=True)
    assert nowhere.current == "/platform/swarm/usr"
    with pytest.raises(BadInput, match="nothing else is seen from the web"):
        nowhere.entries("", hidden=False)
