"""The code of a task on its author's host: what its roles run is there, and a zip leads nowhere else."""

import io
import tarfile
import tempfile
import zipfile

import pytest

from swarm.errors import BadInput
from swarm.nodes import codesource
from swarm.nodes.code import digest_of, manifest_of
from swarm.nodes.codesource import must_hold, opened

COMMAND = ("python", "trainer/main.py", "%DATA")
FILE, LINK = 0o100644, 0o120777


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def member(name, mode=FILE):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    return info


def test_a_zip_is_the_same_code_as_the_directory_that_it_is_of(tmp_path):
    (tmp_path / "code" / "trainer").mkdir(parents=True)
    (tmp_path / "code" / "trainer" / "main.py").write_text("print()")
    archive = zipped(tmp_path / "code.zip", **{"trainer/main.py": "print()"})
    with opened(archive) as unpacked, opened(tmp_path / "code") as directory:
        assert digest_of(unpacked) == digest_of(directory)
        must_hold(manifest_of(unpacked), "trainer", COMMAND, "code.zip")
    assert not unpacked.exists()


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"wrapped/trainer/main.py": ""}, r"is one folder too deep: it holds wrapped/trainer/main\.py"),
        ({"other/main.py": ""}, r"runs trainer/main\.py, and the code c holds no such file"),
        ({"../trainer/main.py": ""}, "leads out of where it is unpacked"),
        ({"trainer/main.py": "0" * 1001}, "unpacks to more than 1000 bytes"),
        ({f"trainer/{number}.py": "" for number in range(2001)}, "holds more than 2000 files"),
    ],
)
def test_code_that_a_role_could_not_run_is_refused(members, why, tmp_path, monkeypatch):
    monkeypatch.setattr(codesource, "BYTES_MAX", 1000)
    archive = zipped(tmp_path / "code.zip", **members)
    with pytest.raises(BadInput, match=why), opened(archive) as directory:
        must_hold(manifest_of(directory), "trainer", COMMAND, "c")


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ([("a", FILE), ("a/b", FILE)], "cannot be unpacked: 'a/b': File exists"),
        ([("a/b", FILE), ("a", FILE)], "cannot be unpacked: 'a': Is a directory"),
        ([("a", FILE), ("a/", 0)], "cannot be unpacked: 'a/': File exists"),
        ([("x" * 300, FILE)], f"cannot be unpacked: '{'x' * 80}': File name too long"),
        ([(".", FILE)], "holds '.', which is no file, directory or plain link"),
        ([(".", LINK)], "holds '.', which is no file, directory or plain link"),
        ([("l", LINK), ("./l", LINK)], "cannot be unpacked: './l': File exists"),
        ([("a/" * count, 0) for count in range(1, 1000)], f"holds '{'a/' * 40}', a path of more than 64 parts"),
        ([("a/" * 64 + "b", FILE)], f"holds '{'a/' * 40}', a path of more than 64 parts"),
    ],
)
def test_a_zip_that_no_file_system_takes_is_one_sentence_and_leaves_nothing(members, why, tmp_path, monkeypatch):
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        for name, mode in members:
            archive.writestr(member(name, mode), "" if name.endswith("/") else "target")
    with pytest.raises(BadInput) as refused, opened(tmp_path / "code.zip"):
        pass
    assert refused.value.message == f"code.zip {why}"
    assert not list(place.iterdir())


def test_a_zip_that_is_damaged_is_said_to_be_so(tmp_path):
    path = tmp_path / "code.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a.py", "hello" * 1000)
    data = bytearray(path.read_bytes())
    data[60] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(BadInput, match=r"^code\.zip cannot be unpacked: 'a\.py': Invalid data stream$"), opened(path):
        pass


def test_the_list_of_a_zips_files_is_bounded_before_it_is_read(tmp_path):
    archive = zipped(tmp_path / "code.zip", **{f"{number}/{'x' * 240}": "" for number in range(9000)})
    with pytest.raises(BadInput, match="says more of its files than memory is spent on"), opened(archive):
        pass


def test_a_zip_is_what_who_unzips_it_sees_and_no_tar_that_it_is_too(tmp_path):
    path = tmp_path / "code.zip"
    with tarfile.open(path, "w") as tar:
        hidden = tarfile.TarInfo("main.py")
        hidden.size = 5
        tar.addfile(hidden, io.BytesIO(b"run()"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("main.py", "print()")
    with opened(path) as directory:
        assert (directory / "main.py").read_text() == "print()"


def test_a_tar_is_no_code_whatever_its_name(tmp_path):
    with tarfile.open(tmp_path / "code.zip", "w") as tar:
        tar.addfile(tarfile.TarInfo("main.py"))
    with pytest.raises(BadInput, match=r"^code\.zip is no zip archive$"), opened(tmp_path / "code.zip"):
        pass


def test_a_file_that_is_no_zip_is_no_code(tmp_path):
    (tmp_path / "code.tar").write_text("")
    with pytest.raises(BadInput, match=r"is a file and no \.zip"), opened(tmp_path / "code.tar"):
        pass
