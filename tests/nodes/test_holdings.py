"""What an operator's host holds: the very files that were registered, or one sentence."""

import io
import os
import tracemalloc
import zipfile
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from swarm.core import filelist
from swarm.core.dataset import Commit, Dataset
from swarm.errors import BadInput, Refused
from swarm.nodes import counting, holdings, registering
from swarm.nodes.holdings import Holdings


@pytest.fixture
def data(tmp_path):
    """Two commits of files below one directory, as a client would register them."""
    root = tmp_path / "of the owner"
    for name, text in {"1/a.csv": "text,label\nx,1\ny,2\n", "1/b/c.csv": "text,label\nz,2\n", "2/a.csv": "new"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    dataset = Dataset("user.me.x", bytes(32), "org", "me", 0)
    for place in (root / "1", root / "2"):
        dataset.add(commit(place))
    return dataset


def commit(*paths):
    root, files = registering._files(paths)
    entries, labels = registering._read(root, files)
    alone = len(paths) == 1 and paths[0].is_file()
    return Commit("", str(root), alone, tuple(entries), None if labels is None else tuple(labels), [], "me", 0)


def test_a_version_of_several_files_is_a_directory_of_just_these(data, tmp_path):
    held = Holdings(tmp_path / "views")
    (tmp_path / "of the owner" / "1" / "later").write_text("not of it")
    places = held.places({"%A": data.version((1,)), "%B": data.version((1, 2))})
    read = {tag: {str(p.relative_to(at)): p.read_text()[:3] for p in sorted(walk(at))} for tag, at in places.items()}
    assert read == {"%A": {"a.csv": "tex", "b/c.csv": "tex"}, "%B": {"a.csv": "new", "b/c.csv": "tex"}}
    assert held.places({"%A": data.version((1,))})["%A"] == places["%A"]


def test_what_no_task_uses_any_more_leaves_no_links_behind(data, tmp_path):
    held = Holdings(tmp_path / "views")
    first, both = data.version((1,)), data.version((1, 2))
    places = held.places({"%A": first, "%B": both})
    held.tidy(lambda: {(both.name, both.hash)})
    assert [os.path.isdir(places[tag]) for tag in ("%A", "%B")] == [False, True]
    held.tidy(set)
    assert list((tmp_path / "views").iterdir()) == []
    assert (tmp_path / "of the owner" / "1" / "a.csv").is_file(), "the owner's files stay"
    assert os.path.isdir(held.places({"%A": first})["%A"])


def test_what_a_job_begins_with_while_another_is_forgotten_stays(data, tmp_path):
    """The list of what is in use is made when nothing else is under way: not before a job that came meanwhile."""
    held, used = Holdings(tmp_path / "views"), set()
    version = data.version((1,))
    with held._one_at_a_time:
        thread = Thread(target=held.tidy, args=(lambda: set(used),))
        thread.start()
        used.add((version.name, version.hash))
        place = held._place(version)
    thread.join()
    assert os.path.isdir(place)


def walk(place):
    return [path for path in Path(place).rglob("*") if path.is_file()]


def test_a_file_of_one_commit_that_is_a_directory_of_another_is_said(data, tmp_path):
    below = tmp_path / "of the owner" / "3" / "a.csv" / "part"
    below.parent.mkdir(parents=True)
    below.write_text("text,label\n")
    data.add(commit(tmp_path / "of the owner" / "3"))
    with pytest.raises(BadInput, match=r"the files of dataset user.me.x cannot be put together in .*: File exists"):
        Holdings(tmp_path / "views").places({"%A": data.version((1, 3))})


def test_a_file_that_was_registered_alone_is_led_to_as_it_lies(data, tmp_path):
    path = tmp_path / "of the owner" / "2" / "a.csv"
    data.add(commit(path))
    assert Holdings(tmp_path / "views").places({"%A": data.version((3,))}) == {"%A": str(path)}


def test_a_file_that_has_changed_is_named_with_both_hashes(data, tmp_path):
    held = Holdings(tmp_path / "views")
    version = data.version((1,))
    held.places({"%A": version})
    path = tmp_path / "of the owner" / "1" / "b" / "c.csv"
    path.write_text("other")
    now = filelist.FileEntry("", holdings.hash_of(path), 0).hash
    with pytest.raises(BadInput) as refused:
        held.places({"%A": version})
    then = version.files[1].file.hash
    assert refused.value.message == (
        f"file {path} of dataset user.me.x has changed since it was registered: "
        f"its hash is {now}, and commit 1 says {then}"
    )
    path.unlink()
    with pytest.raises(BadInput, match=r"c.csv of dataset user.me.x cannot be read: No such file"):
        held.places({"%A": version})


def test_a_file_is_hashed_once_while_it_stays_as_it_is(data, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(holdings, "hash_of", lambda path, real=holdings.hash_of: read.append(path.name) or real(path))
    held = Holdings(tmp_path / "views")
    for _ in range(3):
        held.places({"%A": data.version((1,))})
    assert sorted(read) == ["a.csv", "c.csv"]
    os.utime(tmp_path / "of the owner" / "1" / "a.csv", (1, 1))
    held.places({"%A": data.version((1,))})
    assert sorted(read) == ["a.csv", "a.csv", "c.csv"]


def test_a_host_that_does_not_have_the_directory_leaves_it_to_another(data, tmp_path):
    os.rename(tmp_path / "of the owner", tmp_path / "elsewhere")
    with pytest.raises(Refused, match=r"this host does not hold dataset user.me.x: there is no directory"):
        Holdings(tmp_path / "views").places({"%A": data.version((1,))})


def test_tables_and_arrays_are_counted_and_other_files_are_not(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((5, 2)), y=np.array([0, 1, 1, 0, 2]))
    np.save(tmp_path / "b.npy", np.zeros((4, 3)))
    (tmp_path / "c.csv").write_text("a,Label\n1,x\n2,y\n3,x\n")
    (tmp_path / "d.jsonl").write_text('{"intent": "x"}\n{"intent": "z"}\n')
    (tmp_path / "e.npz").write_text("not one")
    (tmp_path / "f.bin").write_bytes(b"1")
    (tmp_path / "g.tsv").write_text("a\tb\n1\t2\n")
    (tmp_path / "h.jsonl").write_text("no json\n")
    counted = {path.name: counting.count(path) for path in sorted(tmp_path.iterdir())}
    assert {name: (each.examples, each.labels and len(each.labels)) for name, each in counted.items()} == {
        "a.npz": (5, 3), "b.npy": (4, None), "c.csv": (3, 2), "d.jsonl": (2, 2), "e.npz": (-1, None),
        "f.bin": (-1, None), "g.tsv": (1, None), "h.jsonl": (-1, None),
    }  # fmt: skip
    assert len(counted["c.csv"].labels & counted["d.jsonl"].labels) == 1, "the same label has the same fingerprint"


def npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def zipped(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("label.npy", content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"[" * 200_000 + b"\n"),
        ("a.jsonl", b"9" * 5000 + b"\n{\n"),
        ("a.npz", b"PK\x03\x04garbage" * 10),
        ("a.npz", zipped(b"nonsense")),
        ("a.npz", zipped(b"\x93NUMPY" + b"x" * 1000)),
        ("a.npy", npy(b"(" * 8000 + b"\n")),
        ("a.npy", npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999999,), }\n")),
        ("a.csv", bytes(range(128, 256))),
        ("a.csv", b'label\n"' + b"x" * 200_000 + b'"\n'),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_not_counted_whatever_reads_it_raises(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    assert counting.count(tmp_path / name) == counting.Counted()


def test_lines_are_counted_one_by_one(tmp_path):
    (tmp_path / "a.jsonl").write_text(f'{{"y": 1, "x": "{"x" * 100_000}"}}\n\n' * 200)
    tracemalloc.start()
    try:
        assert counting.count(tmp_path / "a.jsonl") == (200, counting._fingerprints(["1"]))
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("lines", "examples", "labels"),
    [
        ('{"y": 1}\n{"y": 2, "label": 3}\n', 2, ["1", "2"]),
        ('{"y": 1, "label": "a"}\n{"y": 2, "label": "a"}\n', 2, ["a"]),
        ('{"y": 1}\n{"label": 1}\n', 2, None),
        ('{"y": 1}\n[1]\n', 2, None),
        ("\n", 0, None),
    ],
)
def test_the_kinds_of_lines_are_those_of_the_first_name_that_all_have(tmp_path, lines, examples, labels):
    (tmp_path / "a.jsonl").write_text(lines)
    expected = None if labels is None else counting._fingerprints(labels)
    assert counting.count(tmp_path / "a.jsonl") == (examples, expected)


def test_what_cannot_be_registered_is_named(tmp_path):
    with pytest.raises(BadInput, match="there are no files in"):
        registering._files([tmp_path])
    os.mkfifo(tmp_path / "pipe")
    root, files = registering._files([tmp_path])
    with pytest.raises(BadInput, match="pipe is no file that could be registered"):
        registering._read(root, files)
    with pytest.raises(BadInput, match="missing is no file"):
        registering._read(*registering._files([tmp_path / "missing"]))
