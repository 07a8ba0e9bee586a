"""The code of a task on its author's host: what its roles run is there, and a zip leads nowhere else."""

import zipfile

import pytest

from swarm.errors import BadInput
from swarm.nodes import codesource
from swarm.nodes.code import digest_of, manifest_of
from swarm.nodes.codesource import must_hold, opened

COMMAND = ("python", "trainer/main.py", "%DATA")


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


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
        ({"trainer/main.py": "0" * 1001}, "unpacks to more bytes"),
        ({f"trainer/{number}.py": "" for number in range(2001)}, "holds more than 2000 files"),
    ],
)
def test_code_that_a_role_could_not_run_is_refused(members, why, tmp_path, monkeypatch):
    monkeypatch.setattr(codesource, "BYTES_MAX", 1000)
    archive = zipped(tmp_path / "code.zip", **members)
    with pytest.raises(BadInput, match=why), opened(archive) as directory:
        must_hold(manifest_of(directory), "trainer", COMMAND, "c")


def test_a_file_that_is_no_zip_is_no_code(tmp_path):
    (tmp_path / "code.tar").write_text("")
    with pytest.raises(BadInput, match=r"is a file and no \.zip"), opened(tmp_path / "code.tar"):
        pass
