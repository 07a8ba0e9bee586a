"""Task files of every type come out typed and go into the ledger and back unchanged; what does not fit is named."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.kinds import check_body
from swarm.errors import BadInput
from swarm.wire.taskfile import (
    BODIES,
    Login,
    MakeSwarmUserContent,
    MakeUserContainer,
    PullImage,
    RunSwarm,
    body_of,
    body_to_wire,
    parse,
)

DOCUMENTS = Path(__file__).parent / "documents"
FILES = {name: (DOCUMENTS / f"{name}.yaml").read_bytes() for name in ("train", "build", "pull", "content")}
TRAIN = FILES["train"].decode()


def faults_of(data: str) -> list[str]:
    """One line a fault, the hint in parentheses."""
    with pytest.raises(BadInput) as caught:
        parse(data.encode(), "t.yaml")
    lines = [line.strip() for line in caught.value.message.splitlines()]
    if len(lines) == 1:
        return [lines[0] + (f" ({caught.value.hint})" if caught.value.hint else "")]
    assert lines[0].endswith(" faults")
    return lines[1:]


def keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key that is not the user's own, in the first item of each list."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, (*path, key)) if key not in ("Envvars", "Options") else ()
    elif isinstance(value, list):
        yield from keys(value[0], (*path, 0))


PLACES = [(name, path) for name, data in FILES.items() for path in keys(yaml.safe_load(data))]


def place(value: Any) -> str:
    return value if isinstance(value, str) else written(value)


def written(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path)).replace(".0", "[0]")


def changed(name: str, path: tuple[Any, ...], change: Any) -> str:
    value = copy.deepcopy(yaml.safe_load(FILES[name]))
    inside = value
    for step in path[:-1]:
        inside = inside[step]
    change(inside, path[-1])
    return yaml.safe_dump(value, sort_keys=False)


def test_a_training_task_comes_out_typed() -> None:
    task = parse(FILES["train"], "t.yaml")
    assert (task.name, task.type, task.author, task.prereq, task.outcome, task.warnings) == (
        *("train-1", "RUN_SWARM", "Ward North", "image-1", "train-1"),
        (),
    )
    body = task.body
    assert isinstance(body, RunSwarm)
    assert (body.Command, body.Entrypoint, body.WorkingDir) == ("model/train.py --epochs 3", "python3", "/tmp/test")
    assert body.Envvars == {"DATA_DIR": "app-data", "MAX_EPOCHS": "2", "SWARM_LOOPBACK": "False", "NOTE": ""}
    assert body.PrivateContent == "/tmp/test/"
    assert [(one.Src, one.Tgt, one.MType) for one in body.SharedContent] == [("/srv/model", "/tmp/test/model", "BIND")]


def test_a_training_task_may_share_nothing() -> None:
    data = TRAIN[: TRAIN.index("    Envvars")] + "    Envvars: ~\n    PrivateContent: null\n    SharedContent:\n"
    body = parse(data.encode(), "t.yaml").body
    assert isinstance(body, RunSwarm)
    assert (body.Envvars, body.PrivateContent, body.SharedContent) == ({}, None, ())


def test_tasks_that_prepare_hosts_come_out_typed() -> None:
    build, pull, content = (parse(FILES[name], "t.yaml").body for name in ("build", "pull", "content"))
    assert isinstance(build, MakeUserContainer)
    assert (build.BuildContext, build.BuildType) == ("lib-volume", "INLINE")
    assert build.BuildSteps == ("FROM python:3.12-slim", " ", "RUN pip install numpy && \\", "  echo 'done'", "")
    assert isinstance(pull, PullImage)
    assert (pull.OrgAndReg, pull.RepoName, pull.Tag) == ("registry.example/ward", "trainer", "1.10")
    assert pull.Auth == Login("north", "")
    assert isinstance(content, MakeSwarmUserContent)
    assert [(one.Operation, one.Options) for one in content.OpsList] == [
        ("DOWNLOAD", {"Out": "model.tgz"}),
        ("EXTRACT", {}),
    ]


@pytest.mark.parametrize(("auth", "typed"), [("~", None), ("/root/config.json", "/root/config.json")])
def test_a_registry_is_entered_without_name_or_by_a_file(auth: str, typed: str | None) -> None:
    data = FILES["pull"].decode().replace('{Username: north, Password: ""}', auth)
    body = parse(data.encode(), "t.yaml").body
    assert isinstance(body, PullImage)
    assert body.Auth == typed


def test_a_password_does_not_go_into_the_ledger_nor_into_the_message() -> None:
    data = FILES["pull"].decode()
    body = parse(data.replace('Password: ""', "Password: secret:registry").encode(), "t.yaml").body
    assert isinstance(body, PullImage)
    assert body.Auth == Login("north", "secret:registry")
    assert faults_of(data.replace('Password: ""', "Password: hunter2")) == [
        "t.yaml:6: Body.Auth.Password: what a task says stands in the ledger for everybody to read: "
        "expected secret:NAME"
    ]


@pytest.mark.parametrize("name", FILES)
def test_the_ledger_takes_every_task_and_gives_its_body_back(name: str) -> None:
    task = parse(FILES[name], "t.yaml")
    wire = task.to_wire()
    check_body("TaskCreated", wire)
    assert body_of(task.type, msgpack.unpackb(msgpack.packb(wire["body"])), task.name) == task.body
    assert parse(yaml.safe_dump({**yaml.safe_load(FILES[name]), "Body": wire["body"]}).encode(), "t.yaml") == task


@given(
    st.dictionaries(st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]*", fullmatch=True), st.text("ab1:'\"#{}~ \n", max_size=20))
)
def test_every_environment_comes_back_from_the_ledger_and_from_yaml(environment: dict[str, str]) -> None:
    body = RunSwarm("m.py", "python3", "/tmp", [{key: value} for key, value in environment.items()] or None, None, None)  # type: ignore[arg-type]
    wire = body_to_wire(body)
    assert body.Envvars == environment
    assert body_of("RUN_SWARM", wire) == body
    assert parse(yaml.safe_dump({**yaml.safe_load(TRAIN), "Body": wire}).encode(), "t.yaml").body == body


@pytest.mark.parametrize(("name", "path"), PLACES, ids=place)
def test_a_key_that_is_missing_is_named(name: str, path: tuple[Any, ...]) -> None:
    faults = faults_of(changed(name, path, dict.pop))
    inside = written(path[:-1])
    assert any(f'"{path[-1]}" is missing' + (f" in {inside}" if inside else "") in fault for fault in faults)


@pytest.mark.parametrize(("name", "path"), PLACES, ids=place)
def test_a_key_that_nobody_knows_is_a_fault_everywhere(name: str, path: tuple[Any, ...]) -> None:
    def add(inside: dict[str, Any], key: str) -> None:
        inside[key.lower() + "_"] = 1

    inside = written(path[:-1])
    said = f'unknown key "{path[-1].lower()}_"' + (f" in {inside}" if inside else "")
    assert f'{said} (did you mean "{path[-1]}"?)' in faults_of(changed(name, path, add))[0]


@pytest.mark.parametrize(("name", "path"), PLACES, ids=place)
@pytest.mark.parametrize(
    "wrong", [{"x": {"y": 1}}, [[1]], -1, True, "x" * 161, [], ["x"] * 81], ids=lambda wrong: repr(wrong)[:16]
)
def test_a_value_that_does_not_fit_is_named(name: str, path: tuple[Any, ...], wrong: Any) -> None:
    def put(inside: dict[str, Any], key: str) -> None:
        inside[key] = wrong

    if wrong == [] and path[-1] in ("Envvars", "Options"):
        return
    faults = faults_of(changed(name, path, put))
    assert any(f" {written(path)}" in fault for fault in faults), faults


NAME = (
    "a name of 1 to 160 printable ASCII characters, without blanks and slashes, that begins with a letter, digit or _"
)
FAULTS = {
    "Name : train-1": {
        "Name : ../../etc/cron.d/x": f'1: Name is "../../etc/cron.d/x", expected {NAME}',
        "Name : '🐝'": f'1: Name is "🐝", expected {NAME}',
        "Name : ''": f'1: Name is "", expected {NAME}',
        "Name : 1": '1: Name is the number 1, expected text (put it in quotes: "1")',
        "Name : image-1": "1: Prereq is the task itself, image-1: expected another task, or ROOTTASK",
        "Name : train-1\nName : train-2": '2: the key "Name" stands twice, first on line 1',
    },
    "TaskType : RUN_SWARM": {
        "TaskType : RUNSWARM": "2: TaskType is \"RUNSWARM\", expected 'RUN_SWARM', 'MAKE_USER_CONTAINER', 'PULL_IMAGE' "
        "or 'MAKE_SWARM_USER_CONTENT' (did you mean \"RUN_SWARM\"?)",
    },
    "WorkingDir : /tmp/test": {
        "WorkingDir : tmp": "9: Body.WorkingDir is \"tmp\", expected an absolute path without '..'",
        "WorkingDir : /../etc": "9: Body.WorkingDir is \"/../etc\", expected an absolute path without '..'",
    },
    '"MAX_EPOCHS": 2': {
        '"DATA_DIR": 2': "10: Body.Envvars: DATA_DIR stands twice",
        "MAX_EPOCHS: [2]": "10: Body.Envvars[1].MAX_EPOCHS is a list of 1, expected text",
    },
    "MType : BIND": {
        "MType : bind": "15: Body.SharedContent[0].MType is \"bind\", expected 'BIND' or 'VOLUME' "
        '(did you mean "BIND"?)',
    },
}


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, news in FAULTS.items() for new in news])
def test_a_fault_says_where_what_and_what_was_expected(old: str, new: str) -> None:
    assert old in TRAIN
    assert faults_of(TRAIN.replace(old, new, 1)) == [f"t.yaml:{FAULTS[old][new]}"]


def test_all_faults_are_told_at_once() -> None:
    data = TRAIN
    for old, new in {
        "Author :": "Autor :",
        "Command :": "Comand :",
        "/tmp/test\n": "tmp\n",
        ": BIND": ": LINK",
    }.items():
        data = data.replace(old, new, 1)
    assert faults_of(data) == [
        't.yaml:1: "Author" is missing',
        't.yaml:3: unknown key "Autor" (did you mean "Author"?)',
        't.yaml:6: "Command" is missing in Body',
        't.yaml:7: unknown key "Comand" in Body (did you mean "Command"?)',
        "t.yaml:9: Body.WorkingDir is \"tmp\", expected an absolute path without '..'",
        "t.yaml:15: Body.SharedContent[0].MType is \"LINK\", expected 'BIND' or 'VOLUME'",
    ]


def test_the_body_of_a_type_that_nobody_knows_is_not_judged() -> None:
    (fault,) = faults_of(TRAIN.replace("RUN_SWARM", "BUILD_SWARM").replace("Command", "Cmd"))
    assert fault.startswith('t.yaml:2: TaskType is "BUILD_SWARM", expected ')


def test_a_body_of_another_type_is_a_fault() -> None:
    faults = faults_of(TRAIN.replace("RUN_SWARM", "PULL_IMAGE"))
    assert 't.yaml:6: "Tag" is missing in Body' in faults
    assert 't.yaml:7: unknown key "Command" in Body' in faults


def test_a_placeholder_that_was_left_is_warned_of() -> None:
    (warning,) = parse(TRAIN.replace("/srv/model", "<PROJECT-MODEL>").encode(), "t.yaml").warnings
    assert warning == "t.yaml:13: Body.SharedContent[0].Src holds the placeholder <PROJECT-MODEL>: replace it"


@pytest.mark.parametrize("type_", BODIES)
def test_a_body_of_the_ledger_that_nobody_checked_is_refused(type_: str) -> None:
    with pytest.raises(BadInput, match=r"^train-1: \d faults"):
        body_of(type_, {"Command": 1}, "train-1")


def test_a_body_of_the_ledger_with_control_characters_is_refused() -> None:
    body = parse(FILES["train"], "t.yaml").to_wire()["body"]
    with pytest.raises(BadInput, match=r"^train-1: holds the control character U\+0000$"):
        body_of("RUN_SWARM", {**body, "Command": "m.py \0"}, "train-1")


def test_a_task_of_a_type_of_a_later_version_is_refused() -> None:
    with pytest.raises(BadInput, match="train-1 is of the type 'RUN_JOBS', expected one of RUN_SWARM, "):
        body_of("RUN_JOBS", {}, "train-1")
