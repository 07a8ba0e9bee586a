"""The tutorial of examples/mnist, pasted from its README into two hosts; and what it shows when something dies.

The hosts (tests/hosts.py) are network namespaces: nothing but the CA certificates goes from one to the other, by the
README's own scp. docs/tutorial-two-hosts.md says the same in prose.
"""

import json
import os
import re
import shutil
import threading
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from tests.hosts import ROOT, two_hosts

pytestmark = [pytest.mark.slow, pytest.mark.root, pytest.mark.netns]

FINAL = "SwarmCallback : INFO : All peers and Swarm training rounds finished. Final Swarm model was loaded."
TRAINING_S = 240
DATA_DIR = os.environ.get("DATA_DIR", "")
DATASETS = ["digits"] + (["mnist"] if DATA_DIR and list(Path(DATA_DIR).glob("mnist*.npz")) else [])


class Block(NamedTuple):
    step: int
    hosts: tuple[int, ...]
    text: str


def blocks(page: Path) -> list[Block]:
    """What is to be typed, in order: the number of the step, where, what."""
    found, step = [], 0
    where = {"# on both hosts": (0, 1), "# on host-1": (0,), "# on host-2": (1,)}
    for number, text in re.findall(r"^### (\d+)\.|^```sh\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        step = int(number) if number else step
        head, _, commands = text.partition("\n")
        if head in where:
            found.append(Block(step, where[head], commands))
    return found


STEPS = blocks(ROOT / "examples/mnist/README.md")


def follow(hosts, first, last):
    """Type the blocks of these steps; what each printed, by step."""
    said = {}
    for step, where, text in STEPS:
        if first <= step <= last:
            for host in where:
                deadline_s = TRAINING_S if "run-swci" in text else 60
                said[step] = said.get(step, "") + hosts[host].sh(text, deadline_s)
    return said


def log_of(host, name):
    """Of the slot that was run last."""
    logs = (host.home / ".local/state/swarm").glob(f"swop*/slots/*/{name}")
    return max(logs, key=lambda log: log.stat().st_mtime).read_text()


def digest(path):
    """Of the tensors of a saved Keras model, as the swarm computes it."""
    import keras

    from swarm.callbacks.keras_model import tensor_name
    from swarm.core.tensors import Schema
    from swarm.wire import tensorbytes

    model = keras.models.load_model(path)
    names = [tensor_name(position, weight) for position, weight in enumerate(model.weights)]
    names = [name.replace(":", ":sequential/", 1) for name in names]  # which a loaded model's weights have lost
    arrays = dict(zip(names, [weight.numpy() for weight in model.weights], strict=True))
    schema = Schema.of(arrays)
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    return tensorbytes.digest(schema, buffer, "blake3")


def test_the_page_has_the_fourteen_steps_in_order():
    numbers = re.findall(r"^### (\d+)\.", (ROOT / "examples/mnist/README.md").read_text(), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, 15)]


@pytest.mark.parametrize("data", DATASETS)
def test_the_tutorial_ends_with_the_same_model_on_both_hosts(data, tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", DATA_DIR if data == "mnist" else "")
    with two_hosts(tmp_path) as hosts:
        said = follow(hosts, 1, 13)
        for step in (8, 9, 10, 11):
            assert said[step].count("note: without effect") == 1
            assert "--network --apls-ip" in said[step]
        assert said[12].count("TASK_STATE : COMPLETE") == 2
        assert said[12].count("STATE : done") == 2
        final = []
        for number, host in enumerate(hosts, start=1):
            program = log_of(host, "ml.log")
            assert ("examples: 8000" if data == "mnist" else "examples: 1437") in program
            assert program.count(FINAL) == 1
            final.append(digest(host.home / f"swarm/workspace/mnist/user{number}/mnist_tf.keras"))
            assert final[-1] in log_of(host, "sl.log")
            assert "No running Swarm Learning" in host.sh("stop-swarm --sl")  # they have ended by themselves
        assert final[0] == final[1]
        follow(hosts, 14, 14)
        for host in hosts:
            assert list((host.home / ".local/state/swarm").glob("*/*")) == []  # as --rm asked
            assert host.sh("ps -eo comm").split() == ["COMMAND", "bash", "ps"]


# ---- what dies, and several learning nodes on one host

RUNNER = "defaulttaskbb.taskdb.sml.hpe"
FLAGS = (
    "--usr-dir=workspace/mnist/swci --key=workspace/mnist/cert/swci-1-key.pem "
    "--cert=workspace/mnist/cert/swci-1-cert.pem --capath=workspace/mnist/cert/ca/capath"
)
TASK = """
Name: {name}
TaskType: RUN_SWARM
Author: org-1
Prereq: ROOTTASK
Outcome: {name}
Body:
  Entrypoint: python3
  Command: summing.py {name} {peers} {turns}
  WorkingDir: /mnist
  Envvars: ~
  PrivateContent: /mnist
  SharedContent: ~
"""
NUMBERS = """
import os, sys, time
import numpy as np
from swarm import Swarm

contract, peers, turns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
weights = {"w": np.full(1000, os.getpid(), np.float32)}
with Swarm(syncFrequency=1, minPeers=peers, trainingContract=contract) as swarm:
    weights = swarm.start(weights)
    for turn in range(turns):
        time.sleep(0.1)
        weights = swarm.sync(weights, batches=1)
    weights = swarm.finish(weights)
np.save(os.environ["SCRATCH_DIR"] + ".npy", weights["w"])
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The tutorial up to its operators."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DATA_DIR", "")
        with two_hosts(tmp_path_factory.mktemp("hosts")) as hosts:
            follow(hosts, 1, 11)
            for host in hosts:
                (host.home / "swarm/workspace/mnist/summing.py").write_text(NUMBERS)
            yield hosts


def write_script(one, name, commands):
    lines = ["EXIT ON FAILURE", "CREATE CONTEXT c WITH IP 10.1.1.1", "SWITCH CONTEXT c", *commands, "EXIT"]
    (one.home / "swarm/workspace/mnist/swci" / name).write_text("\n".join(lines))


def swci(one, *commands):
    """What a command interface on host 1 says to these commands."""
    write_script(one, "script", commands)
    return one.sh(f"run-swci {FLAGS} --init-script-name=script", 120)


def assign(one, name, *, peers, turns, runner=RUNNER):
    (one.home / f"swarm/workspace/mnist/swci/{name}.yaml").write_text(TASK.format(name=name, peers=peers, turns=turns))
    swci(one, f"CREATE TASK FROM {name}.yaml", f"FINALIZE TASK {name}", f"RESET TASKRUNNER {runner}",
         f"ASSIGN TASK {name} TO {runner} WITH {peers} PEERS")  # fmt: skip


def wait_for(look, deadline_s=30, said=lambda: "nothing"):
    until = time.monotonic() + deadline_s
    while not (found := look()):
        assert time.monotonic() < until, f"after {deadline_s} s: {said()}"
        threading.Event().wait(0.1)
    return found


def running(said):
    assert "STATE : failed" not in said, said
    return "STATE : running" in said


def process_of(two, kind):
    """The pid on host 2, as it is known there, once it trains; of the slot that was run last."""
    state = two.home / ".local/state/swarm/swop2"
    slot = max((state / "slots").glob("*/sl/report.jsonl"), key=lambda report: report.stat().st_mtime).parent
    lines = [json.loads(line) for line in (slot / "report.jsonl").read_text().splitlines()]
    started = [line["pid"] for line in lines if line["event"] == "program_started"]
    return {
        "SWOP": lambda: json.loads((state / "ready.json").read_text())["pid"],
        "SL": lambda: json.loads((slot / "ready.json").read_text())["pid"],
        "ML": lambda: started[0],
    }[kind]()


@pytest.mark.parametrize(
    ("kind", "state", "reason"),
    [
        ("ML", "failed", "its program was killed by SIGKILL"),
        ("SL", "running", "its learning node was killed by SIGKILL while its program ran; it was started again"),
        ("SWOP", "lost", "its operator was lost: no sign of life"),
    ],
)
def test_whatever_is_killed_shows_with_its_reason_within_ten_seconds(kind, state, reason, network):
    one, two = network
    name, out = f"until-{kind.lower()}-dies", one.home / "swarm/said"
    assign(one, name, peers=2, turns=100_000)
    look = f"GET TASKRUNNER PEER STATUS {RUNNER} 1"
    wait_for(lambda: running(swci(one, look)))
    write_script(one, "look", ["PWD", "SLEEP 10", look, f"GET TASKRUNNER STATUS {RUNNER}"])
    one.sh(f"run-swci {FLAGS} --init-script-name=look >said 2>&1 &")
    wait_for(lambda: out.exists() and "PWD" in out.read_text())
    wait_for(lambda: "round 2:" in log_of(two, "sl.log"), said=lambda: log_of(two, "sl.log") + log_of(two, "ml.log"))
    two.sh(f"kill -9 {process_of(two, kind)}")
    killed = time.monotonic()
    said = wait_for(lambda: "EXIT\n" in out.read_text() and out.read_text())
    seen = f"{time.monotonic() - killed:.1f} s after the kill:\n{said}"
    out.unlink()
    assert f"STATE : {state}" in said, seen
    assert reason in said, seen
    if kind == "SWOP":  # its worker goes on, and is found again
        follow(network, 11, 11)
        wait_for(lambda: running(swci(one, look)))
    elif kind == "SL":
        assert "TASK_STATE : RUNNING" in said, seen
    else:
        assert "TASK_STATE : ERROR" in said
        assert "1 of the 2 peers asked for can still complete" in said


def test_four_learning_nodes_of_one_host_share_a_certificate(network):
    one, _ = network
    swop = one.home / "swarm/workspace/mnist/swop"
    profile = yaml.safe_load((swop / "swop1_profile.yaml").read_text())
    profile |= {"taskrunner": "four", "nodes": [four_nodes(profile, idx) for idx in range(4)]}
    (swop / "four.yaml").write_text(json.dumps(profile))  # which is YAML, too
    swci(one, "CREATE TASKRUNNER four")
    operator = next(text for step, _, text in STEPS if step == 10)
    one.sh(operator.replace("swop1_profile.yaml", "four.yaml").replace("--name=swop1", "--name=swop4"))
    assign(one, "sums", peers=4, turns=5, runner="four")
    said = swci(one, "WAIT FOR TASKRUNNER four", "GET TASKRUNNER PEER STATUS four 0", "LIST NODES")
    assert "TASK_STATE : COMPLETE" in said
    assert "NUMBER OF SL PEERS : 4" in said
    assert said.count("STATE : done") == 4
    models = [(one.home / f"swarm/workspace/mnist/four{idx}.npy").read_bytes() for idx in range(4)]
    assert len(set(models)) == 1


def test_a_lost_sentinel_is_started_again_or_given_up_by_what_the_page_says(network):
    """The last one: it changes who decides."""
    one, two = network
    look, promote, again = blocks(ROOT / "docs/tutorial-two-hosts.md")
    assert (look.hosts, promote.hosts, again.hosts) == ((1,), (1,), (0,))
    state = one.home / ".local/state/swarm/sn1"
    pause = "ledger pauses: sn-1 (org-1), which decides alone, is not reachable from here"

    def status():
        return two.sh(look.text)

    def kill_sentinel():
        one.sh(f"kill -9 {json.loads((state / 'ready.json').read_text())['pid']}")
        wait_for(lambda: pause in status(), said=status)

    kill_sentinel()
    follow(network, 8, 8)
    wait_for(lambda: "ledger pauses" not in status(), said=status)
    kill_sentinel()
    shutil.rmtree(state)
    assert "sn-2 (org-2) decides alone now, in epoch 1 of the ledger" in two.sh(promote.text)
    wait_for(lambda: "ledger has one copy" in status(), said=status)
    one.sh(again.text)
    wait_for(lambda: "ledger has one copy" not in status() and "ledger pauses" not in status(), said=status)


def four_nodes(profile, idx):
    node = profile["nodes"][0]["slnodedef"]
    return {"slnodedef": {**node, "idx": idx, "slport": None, "usrenvvars": [{"SCRATCH_DIR": f"four{idx}"}]}}
