"""The file of a task of jobs: what it may say, and what is said of one with faults."""

import pytest

from swarm.core.jobrun import Terms
from swarm.errors import BadInput
from swarm.wire import jobsfile

GOOD = b"""\
Name: digits
TaskType: RUN_JOBS
Author: alice
Body:
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
        (b"Restart: 2", b"Restrat: 2", 'job.yaml:9: unknown key "Restrat"'),
        (b"Command: [python, train.py, 3]", b"Shell: true", "needs either Command (a list) or Exec (one line)"),
        (b"Command: [python, train.py, 3]", b"Command: []", "names no program"),
        (b"Restart: 2", b"Probe: 1", "Probe is a number of testers"),
        (b"Replicas: 3", b"Replicas: 0", "job.yaml:7: Body.Replicas is the number 0, expected at least 1"),
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
