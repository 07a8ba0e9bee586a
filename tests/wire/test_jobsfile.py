"""The file of a task of jobs: what it may say, and what is said of one with faults."""

import itertools
import random
import shlex

import pytest

from swarm.core.terms import Terms
from swarm.errors import BadInput
from swarm.wire import jobsfile, tags

GOOD = b"""\
Name: digits
TaskType: RUN_JOBS
Author: alice
Body:
  Description: digits of one hospital
  Command: [python, train.py, 3]
  Envvars: {LR: 0.10, DEBUG: true}
  Replicas: 3
  Rendezvous: true
  Restart: 2
  Resources: {cpu: 2, gpu: 1}
  MaxRunTime: 60
"""


def faults(text: bytes) -> str:
    with pytest.raises(BadInput) as caught:
        jobsfile.parse(text, "job.yaml")
    return caught.value.message


def test_a_file_says_what_runs_and_what_the_ledger_has_to_know():
    task = jobsfile.parse(GOOD, "job.yaml")
    assert (task.name, task.author) == ("digits", "alice")
    assert task.body.Command == ("python", "train.py", "3")
    assert task.body.Envvars == {"LR": "0.10", "DEBUG": "True"}
    assert task.body.terms() == Terms(slots=3, gang=True, restart=2, cpu=2, gpu=1)


def test_a_body_comes_back_from_the_ledger_as_it_was():
    body = jobsfile.parse(GOOD, "job.yaml").body
    assert jobsfile.body_of(jobsfile.to_wire(body), "digits") == body


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"Restart: 2", b"Restrat: 2", 'job.yaml:10: unknown key "Restrat"'),
        (b"Command: [python, train.py, 3]", b"Shell: true", "needs either Command (a list) or Exec (one line)"),
        (b"Command: [python, train.py, 3]", b"Command: []", "names no program"),
        (b"Restart: 2", b"Probe: 1", "Probe is a number of testers"),
        (b"Replicas: 3", b"Replicas: 0", "job.yaml:8: Body.Replicas is the number 0, expected at least 1"),
        (b"TaskType: RUN_JOBS", b"TaskType: RUN_JOB", "job.yaml:2: TaskType is"),
        (b"Name: digits\n", b"", 'job.yaml:1: "Name" is missing'),
        (b"Name: digits\n", b'Name: "2"\n', "is made of digits alone, as ids are"),
    ],
)
def test_a_fault_is_said_with_its_line(changed, into, said):
    assert changed in GOOD
    assert said in faults(GOOD.replace(changed, into))


def test_a_password_does_not_get_into_the_ledger_and_a_job_needs_something():
    text = b"Name: j\nTaskType: RUN_JOBS\nBody:\n  Command: [x]\n"
    with pytest.raises(BadInput, match="expected secret:NAME"):
        jobsfile.parse(text + b"  Envvars: {HF_TOKEN: hf_123}\n", "j.yaml")
    said = jobsfile.parse(text + b"  Envvars: {HF_TOKEN: 'secret:hf'}\n", "j.yaml")
    assert said.body.Envvars == {"HF_TOKEN": "secret:hf"}
    with pytest.raises(BadInput, match="needs a cpu or a gpu"):
        jobsfile.parse(text + b"  Resources: {cpu: 0}\n", "j.yaml")


SWEEP = b"""\
Name: cv
TaskType: RUN_JOBS
Body:
  Exec: python tune.py -d %DATA -c %IN -o %OUT
  Data: {"%DATA": mnist.npz}
  ForEach: {"%IN": {Directory: /home/a/configs, Files: [a.json, b.json]}}
  Probe: 2
"""


def test_there_is_a_job_for_each_file_and_the_ledger_has_the_list_as_it_is():
    body = jobsfile.parse(SWEEP, "cv.yaml").body
    assert body.terms() == Terms(slots=2, probe=2)
    assert jobsfile.body_of(jobsfile.to_wire(body), "cv") == body
    listed = jobsfile.parse(SWEEP.replace(b"{Directory: /home/a/configs, Files: [a.json, b.json]}", b"[0.10, x]"), "-")
    assert listed.body.ForEach == {"%IN": ("0.10", "x")}
    assert jobsfile.body_of(jobsfile.to_wire(listed.body), "cv") == listed.body


@pytest.mark.parametrize(
    ("changed", "into", "said"),
    [
        (b"mnist.npz", b"user.a.mnist@", "'user.a.mnist@' names no dataset"),
        (b"-c %IN", b"", "%IN stands for something, and the command does not name it"),
        (b"-d %DATA", b"-d %DATA %REF", "%REF has no value: the command may name %DATA, %IN, %OUT"),
        (b'{"%DATA"', b'{"%IN"', "%IN stands both in Data and in ForEach"),
        (b'{"%DATA"', b'{"DATA"', 'Body.Data.DATA: "DATA" is no tag'),
        (b'{"%DATA"', b'{"%OUT"', 'Body.Data.%OUT: "%OUT" is no tag'),
        (b"Files: [a.json, b.json]", b"Fils: [a.json]", 'unknown key "Fils" in Body.ForEach.%IN (did you mean'),
        (b"{Directory: /home/a/configs, Files: [a.json, b.json]}", b"[]", "Body.ForEach.%IN is empty"),
        (b"{Directory: /home/a/configs, Files: [a.json, b.json]}", b'a, "%B2": b', "Body.ForEach: takes one tag"),
        (b"Probe: 2", b"Replicas: 2", "leave Replicas and Rendezvous out"),
        (b"-o %OUT", b"-o %OUT && after.sh", "Exec has &&, which only a shell understands"),
        (b"-o %OUT", b"-o '%OUT'; after.sh", "Exec has ;, which only a shell understands"),
        (b"-c %IN -o %OUT", b"-c '%IN' -o %OUT\n  Shell: true", "%IN stands inside quotes"),
    ],
)
def test_a_tag_without_a_value_and_a_value_without_a_tag_are_refused(changed, into, said):
    assert changed in SWEEP
    assert said in faults(SWEEP.replace(changed, into))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('python -c "import time; print(1)"', ["python", "-c", "import time; print(1)"]),
        ("python -c 'import time; print(1)'", ["python", "-c", "import time; print(1)"]),
        ("python t.py --expr 'x < 3'", ["python", "t.py", "--expr", "x < 3"]),
        ("sh -c 'a && b'", ["sh", "-c", "a && b"]),
        (r'echo "say \"a > b\" | c"', ["echo", 'say "a > b" | c']),
        (" python t.py", ["python", "t.py"]),
        ("\tpython t.py\n", ["python", "t.py"]),
        (r"find . -exec cat {} \; -print", ["find", ".", "-exec", "cat", "{}", ";", "-print"]),
    ],
)
def test_what_stands_inside_quotes_is_for_the_program_not_for_a_shell(line, words):
    task = jobsfile.made({"Name": "j", "TaskType": "RUN_JOBS", "Body": {"Exec": line}}, "j")
    assert shlex.split(task.body.Exec) == words


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("echo 'a b", "Exec has ' without its end: expected words as a shell would split them, received "),
        ("echo it\\'s \"so", 'Exec has " without its end'),
        ("echo a\\", "Exec has \\ without a character behind it"),
        ("echo 'a; b", 'received "echo \'a; b"'),
        (" ", "Exec names no program"),
        ("'' x", "Exec names no program"),
    ],
)
def test_a_line_that_is_no_program_and_its_arguments_is_refused_where_it_is_read(line, said):
    body = {"Name": "j", "TaskType": "RUN_JOBS", "Body": {"Exec": line}}
    with pytest.raises(BadInput) as refused:
        jobsfile.made(body, "j.yaml")
    assert refused.value.message.startswith("j.yaml: ")
    assert said in refused.value.message
    assert refused.value.hint
    body["Body"]["Shell"] = True  # what a shell makes of it is between the two
    assert jobsfile.made(body, "j.yaml").body.Exec == line


def test_what_an_operator_could_not_split_is_refused_and_nothing_else():
    for letters in (each for length in range(1, 6) for each in itertools.product("'\"\\a", repeat=length)):
        line = "x " + "".join(letters)
        try:
            shlex.split(line)
            said = ""
        except ValueError as error:
            said = str(error)
        try:
            jobsfile.made({"Name": "j", "TaskType": "RUN_JOBS", "Body": {"Exec": line}}, "j")
            refused = ""
        except BadInput as error:
            refused = error.message
        assert bool(said) == bool(refused), (line, said, refused)


def test_a_variable_may_hold_what_a_tag_stands_for():
    said = SWEEP.replace(b"-d %DATA", b"").replace(b"  Probe: 2", b"  Envvars: {FROM: 'at %DATA'}")
    said = said.replace(b"mnist.npz", b"'user.a.mnist@2,gold'")
    assert jobsfile.parse(said, "cv.yaml").body.Data == {"%DATA": "user.a.mnist@2,gold"}


def test_what_only_looks_like_a_tag_is_left_alone():
    line = "date +%Y-%H%M%S; echo 100% %s %INput %OUT"
    assert tags.named([line]) == ["%OUT"]
    assert tags.fill(line, {"%OUT": "o", "%IN": "i"}) == line.replace("%OUT", "o")
    assert tags.quoted("a \"%IN\" '%DATA' `%OUT` \\\"%REF 'it'%XX") == ["%IN", "%DATA", "%OUT"]
    assert tags.quoted(r'a \%IN "\%DATA"') == ["%IN", "%DATA"], "it would take the first quote of the value"


def test_a_value_is_one_word_for_a_shell_whatever_is_in_it():
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    for _ in range(200):
        value = "".join(chance.choice("a %'\"`$(){};&|<>*?!\\\t#~-") for _ in range(chance.randrange(1, 12)))
        line = tags.fill_for_shell("cat %IN -o %OUT", {"%IN": value, "%OUT": "x"})
        assert shlex.split(line) == ["cat", value, "-o", "x"]
