"""What a task would run on a participant's host: named by one hash, and trusted by that hash or an own copy only."""

import json
import py_compile
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import cache_from_source
from types import SimpleNamespace

import pytest

from swarm.core.task import Task
from swarm.errors import BadInput, Refused
from swarm.nodes.publishing import prepared
from swarm.nodes.roleprogram import RoleProgram, hash_of, lay_out, own_copy
from swarm.wire import rolesfile

LEDGER = SimpleNamespace(nodes={"uid": SimpleNamespace(identity=SimpleNamespace(name="swci-1"))})
TRAINER = {
    "Name": "trainer", "Owner": "participant", "Command": ["python", "trainer/main.py", "%DATA"], "Merge": "digits",
}  # fmt: skip


@pytest.fixture
def file(tmp_path):
    (tmp_path / "code" / "trainer").mkdir(parents=True)
    (tmp_path / "code" / "trainer" / "main.py").write_text("print()")
    return tmp_path / "task.yaml"


def written(file, *roles, **body):
    said = {
        "Name": "digits",
        "TaskType": "RUN_SWARM",
        "Body": {"Roles": list(roles or [TRAINER]), "Code": "code", **body},
    }
    file.write_text(json.dumps(said))
    return rolesfile.parse(file.read_bytes(), str(file)).body


def program(body):
    said = rolesfile.to_wire(body)
    task = Task("digits", "RUN_SWARM", "alice", "ROOTTASK", "digits", said, "uid", b"", 0)
    return RoleProgram.of(LEDGER, task, "trainer")


def test_it_is_trusted_by_its_hash_or_by_an_own_copy_and_by_nothing_else(file):
    submitted = prepared(written(file), file.parent)
    found = program(submitted.body)
    assert found.code == submitted.code.digest
    found.must_be_trusted(found.digest, None, None)
    with own_copy(file) as (own, code):
        found.must_be_trusted(None, own, None)
        assert (code / "trainer" / "main.py").exists()
    for said in (None, found.code, found.digest[:-1]):
        with pytest.raises(Refused, match=r"would run python trainer/main\.py %DATA") as refused:
            found.must_be_trusted(said, None, None)
        assert f"--trust {found.digest}" in refused.value.hint


def test_who_is_to_trust_it_sees_its_variables_too(file):
    """One may decide what runs, as BASH_ENV does."""
    found = program(prepared(written(file, Envvars={"BASH_ENV": "$(id)"}), file.parent).body)
    with pytest.raises(Refused, match=r"would run 'BASH_ENV=\$\(id\)' python trainer/main\.py"):
        found.must_be_trusted(None, None, None)


def poisoned(code):
    """A compiled module of another source in the code's cache, which Python takes as it is."""
    (code / "trainer" / "main.py").write_text("import model; print(model.SAYS)")
    (code / "trainer" / "model.py").write_text("SAYS = 'what was looked at'")
    other = code.parent / "other.py"
    other.write_text("SAYS = 'something else'")
    cache = cache_from_source(str(code / "trainer" / "model.py"))
    py_compile.compile(str(other), cfile=cache, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


@pytest.mark.parametrize("code", ["code", "code.zip"])
def test_what_runs_of_an_own_copy_is_what_its_hash_covers_and_nothing_that_lies_beside_it(file, code, tmp_path):
    poisoned(file.parent / "code")
    shutil.make_archive(str(file.parent / "code"), "zip", file.parent / "code")
    found, work = program(prepared(written(file, Code=code), file.parent).body), tmp_path / "state" / "5-trainer"
    with own_copy(file) as (own, directory):
        found.must_be_trusted(None, own, directory)
        lay_out(work, directory, found.code)
    done = subprocess.run([sys.executable, "trainer/main.py"], cwd=work, capture_output=True, text=True)
    assert done.stdout == "what was looked at\n", done.stderr


def test_an_own_copy_that_changes_once_it_is_trusted_does_not_run(file, tmp_path):
    found, work = program(prepared(written(file), file.parent).body), tmp_path / "state" / "5-trainer"
    with own_copy(file) as (own, directory):
        found.must_be_trusted(None, own, directory)
        (directory / "trainer" / "main.py").write_text("print('something else')")
        with pytest.raises(BadInput, match="has changed: its hash is"):
            lay_out(work, directory, found.code)
    assert list(work.parent.rglob("*")) == [work]


def test_a_program_that_begins_again_finds_what_it_wrote_beside_its_code(file, tmp_path):
    found, work = program(prepared(written(file), file.parent).body), tmp_path / "state" / "5-trainer"
    for _ in range(2):
        lay_out(work, file.parent / "code", found.code)
        (work / "trainer" / "main.py").write_text("as the program has changed it")
        (work / "kept").touch()
    lay_out(work, file.parent / "code", found.code)
    assert (work / "kept").exists()
    assert (work / "trainer" / "main.py").read_text() == "print()"
    with pytest.raises(BadInput, match="cannot be copied to"):
        lay_out(file / "5-trainer", file.parent / "code", found.code)


def test_roles_that_the_ledger_has_otherwise_are_nobodys_to_run(file):
    """As by an author whose own client says one contract to people and another one to the ledger."""
    body = prepared(written(file), file.parent).body
    said, roles = rolesfile.to_wire(body), body.roles()
    assert rolesfile.body_of_run(said, "digits", roles) == body
    for other in (replace(roles[0], contract="elsewhere"), replace(roles[0], name="coach")):
        with pytest.raises(BadInput, match="task digits was submitted with other roles than its body says"):
            rolesfile.body_of_run(said, "digits", (other,))


def test_a_role_for_organisations_is_the_same_once_the_ledger_has_their_keys(file):
    known, other = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
    body = prepared(written(file, {**TRAINER, "Organisations": ["hospital-b", known]}), file.parent).body
    said, (role, *rest) = rolesfile.to_wire(body), body.roles()
    for there in ((known, other), (known,)):
        assert rolesfile.body_of_run(said, "digits", (replace(role, organisations=there), *rest)) == body
    for there in ((), (other,), (known, other, f"sha256:{'3' * 64}")):
        with pytest.raises(BadInput, match="task digits was submitted with other roles than its body says"):
            rolesfile.body_of_run(said, "digits", (replace(role, organisations=there), *rest))


@pytest.mark.parametrize("change", ["code", "command", "variable", "role"])
def test_whatever_decides_what_runs_is_in_the_hash(file, change):
    before = program(prepared(written(file), file.parent).body).digest
    match change:
        case "code":
            (file.parent / "code" / "trainer" / "more.py").write_text("import os")
            body = written(file)
        case "command":
            body = written(file, {**TRAINER, "Command": ["python", "-c", "import os"]})
        case "variable":
            body = written(file, Envvars={"PYTHONSTARTUP": "x"})
        case "role":
            body = written(file, TRAINER, {**TRAINER, "Name": "coach"})
    assert program(prepared(body, file.parent).body).digest != before


def test_where_the_author_had_the_code_is_not_in_the_hash(file):
    body = rolesfile.to_wire(prepared(written(file), file.parent).body)
    assert hash_of(body) == hash_of({**body, "Code": "/elsewhere"})


def test_a_role_that_trains_on_own_data_is_told_to_bring_them(file):
    with pytest.raises(BadInput, match="trains on data of your own"):
        program(written(file)).must_have_data(None)


def test_code_that_only_operators_begin_in_is_not_published_and_may_be_a_zip_of_the_same_hash(file):
    operated = {"Name": "aggregator", "Command": ["python", "aggregator/main.py"]}
    (file.parent / "code" / "aggregator").mkdir()
    (file.parent / "code" / "aggregator" / "main.py").write_text("")
    shutil.make_archive(str(file.parent / "code"), "zip", file.parent / "code")
    own = {**TRAINER, "Owner": "swop"}
    of_directory = prepared(written(file, own, operated), file.parent)
    of_zip = prepared(written(file, own, operated, Code="code.zip"), file.parent)
    assert of_zip.contents == of_directory.contents == ()
    assert of_zip.body.CodeHash == of_directory.body.CodeHash
    assert of_zip.body.Code == str((file.parent / "code.zip").resolve())


def test_a_hash_that_the_file_names_is_held_against_the_code(file):
    with pytest.raises(BadInput, match="says CodeHash"):
        prepared(written(file, CodeHash="sha256:" + "0" * 64), file.parent)
