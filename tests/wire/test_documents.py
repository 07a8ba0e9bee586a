"""The text of a document: plain values that know their lines, or one BadInput that names all faults."""

from __future__ import annotations

import pytest
import yaml

from swarm.errors import BadInput
from swarm.wire import documents
from swarm.wire.documents import Real, Whole, read

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def _loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers that pyyaml may have: nothing that we promise hangs on which one it is."""
    monkeypatch.setattr(documents, "_Loader", request.param)


def fault_of(data: bytes) -> str:
    """Faults that let us read on come in the document, to be told with those of its keys."""

    def refuse() -> None:
        document = read(data, "x.yaml")
        documents.refuse(document.name, document.faults)

    with pytest.raises(BadInput) as caught:
        refuse()
    return caught.value.message + (f" [{caught.value.hint}]" if caught.value.hint else "")


pytestmark = pytest.mark.usefixtures("_loader")


def test_words_are_what_yaml_says_and_numbers_remember_how_they_were_written() -> None:
    value = read(b"a: ~\nb: [yes, Off, 'yes']\nc: {n: 010, f: 1.50, t: 2026-11-21, m: 1:30}\nd: !!str 5\n", "x").value
    assert value == {
        "a": None,
        "b": [True, False, "yes"],
        "c": {"n": 8, "f": 1.5, "t": "2026-11-21", "m": 90},
        "d": "5",
    }
    assert isinstance(value["c"]["n"], Whole)
    assert isinstance(value["c"]["f"], Real)
    assert (value["c"]["n"].written, value["c"]["f"].written, value["c"]["m"].written) == ("010", "1.50", "1:30")


def test_keys_are_texts_as_they_are_written() -> None:
    assert list(read(b"NO: 1\n2: 2\n~: 3\n1.0: 4", "x").value) == ["NO", "2", "~", "1.0"]


def test_every_value_knows_its_line() -> None:
    document = read(b"# a\na:\n  - b\n  -\n    c: 1\n    d:\n      2\n", "x")
    assert document.lines == {(): 2, ("a",): 2, ("a", 0): 3, ("a", 1): 5, ("a", 1, "c"): 5, ("a", 1, "d"): 6}
    assert document.line(("a", 1, "missing")) == 5


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no BOM", "BOM of UTF-8"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
def test_a_bom_and_other_ends_of_lines_change_nothing(mark: bytes, end: bytes) -> None:
    document = read(mark + b"a: 1\nb: |\n  c\n  d\n".replace(b"\n", end), "x")
    assert document.value == {"a": 1, "b": "c\nd\n"}
    assert document.lines[("b",)] == 2


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "x.yaml: is empty"),
        (b" \n\n", "x.yaml: is empty"),
        (b"# nothing\n", "x.yaml:1: holds nothing, expected keys with their values"),
        (b"~", "x.yaml:1: holds nothing, expected keys with their values"),
        (b"- a", "x.yaml:1: holds a list, expected keys with their values"),
        (b"\n\nword", "x.yaml:3: holds one value, expected keys with their values"),
        (b"a: 1\n" * 2**21, "x.yaml: has 10485760 bytes, expected at most 1048576 (1 MiB)"),
        ("a: ü".encode("utf-16"), "x.yaml: is written in UTF-16 or UTF-32, expected UTF-8 [save the file as UTF-8]"),
        (
            "\ufeffa: ü".encode("utf-16-be"),
            "x.yaml: is written in UTF-16 or UTF-32, expected UTF-8 [save the file as UTF-8]",
        ),
        ("a: ü".encode("utf-16-le"), "x.yaml: is written in UTF-16 or UTF-32, expected UTF-8 [save the file as UTF-8]"),
        ("a: ü".encode("utf-32-be"), "x.yaml: is written in UTF-16 or UTF-32, expected UTF-8 [save the file as UTF-8]"),
        ("a: 1\r\nb: ü".encode("latin-1"), "x.yaml:2: the byte 0xfc is not UTF-8 [save the file as UTF-8]"),
        (b"a: 1\nb: \x00", "x.yaml:2: holds the control character U+0000"),
        (b"a: 1\nb: \x1b[2J", "x.yaml:2: holds the control character U+001B"),
        ("a: 1\nb: \u2028".encode(), "x.yaml:2: holds the control character U+2028"),
        ("a: 1\nb: \ufeff".encode(), "x.yaml:2: holds the control character U+FEFF"),
        (b'a: 1\nb: "\\e[2J"', "x.yaml:2: holds the control character U+001B"),
        (b'a: 1\n"b\\0": 1', "x.yaml:2: holds the control character U+0000"),
        (b"a:\n\tb: 1", "x.yaml:2: a tab in the indentation [indent with spaces]"),
        (b"a: 1\nb: 2\na: 3", 'x.yaml:3: the key "a" stands twice, first on line 1'),
        (b"a: {b: 1, b: 1}", 'x.yaml:1: the key "b" stands twice, first on line 1'),
        (b"a: &x [1]\nb: *x", "x.yaml:2: the alias *x: aliases are not read here [write the value out]"),
        (b"a: {<<: {b: 1}}", "x.yaml:1: the key <<: maps are not merged here [write its keys out]"),
        (b"a: 1\n? [b]\n: 1", "x.yaml:2: a key that is a map, a list or an alias, expected a text"),
        (
            b"a: !!python/object/apply:os.system ['touch /tmp/x']",
            "x.yaml:1: the tag !!python/object/apply:os.system: tags are not read here [write the plain value]",
        ),
        (b"a: !!int 3", "x.yaml:1: the tag !!int: tags are not read here [write the plain value]"),
        (b"a: !own {b: 1}", "x.yaml:1: the tag !own: tags are not read here [write the plain value]"),
        (b"a: 1\n---\na: 1", "x.yaml:2: a second document begins, expected one a file"),
        (b"a: " + b"[" * 10_000, "x.yaml:1: holds over 32 maps and lists inside each other"),
        (b"a:\n" + b"- b\n" * 30_000, "x.yaml:19999: holds over 20000 values"),
    ],
    ids=lambda value: repr(value[:24])[2:-1] if isinstance(value, bytes) else "",
)
def test_a_fault_is_one_sentence_with_its_line(data: bytes, fault: str) -> None:
    assert fault_of(data) == fault


def test_what_is_no_yaml_is_said_with_its_line() -> None:
    assert fault_of(b"a: 1\nb: c: d").startswith("x.yaml:2: not YAML: mapping values are not allowed")
    unclosed = fault_of(b"a: 1\nb: [1, 2\nc: 3")
    assert unclosed.startswith("x.yaml:3: not YAML: ")
    assert unclosed.endswith(", while parsing a flow sequence that begins on line 2")
    assert fault_of(b'a: "\\UFFFFFFFF"').startswith("x.yaml")


def test_all_tabs_are_named_at_once() -> None:
    assert fault_of(b"a:\n\tb: 1\n \tc: 1\nd: 1").splitlines() == [
        "x.yaml: 2 faults",
        "  x.yaml:2: a tab in the indentation (indent with spaces)",
        "  x.yaml:3: a tab in the indentation (indent with spaces)",
    ]


def test_a_tab_inside_a_value_is_a_tab() -> None:
    assert read(b"a: |\n  b\n  \tc\n", "x").value == {"a": "b\n\tc\n"}


def test_of_many_faults_the_first_are_shown_and_all_are_counted() -> None:
    lines = fault_of(b"a: 1\n" * 31).splitlines()
    assert lines[0] == "x.yaml: 30 faults"
    assert lines[1] == '  x.yaml:2: the key "a" stands twice, first on line 1'
    assert lines[-1] == "  and 10 more"
    assert len(lines) == 22
