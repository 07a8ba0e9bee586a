"""The documents of examples/fraud: what a user puts in place of <...> is all that is missing from them."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from swarm.nodes.launch import Launch
from swarm.nodes.local import READY_S, LocalSwarm
from swarm.nodes.swci.commands import GRAMMAR
from swarm.nodes.swci.grammar import is_command
from swarm.wire import profile, taskfile
from tests.test_documents import ROOT

PLACE = ROOT / "examples" / "fraud"


def filled(path):
    return (PLACE / path).read_bytes().replace(b"<", b"/tmp/").replace(b">", b"")


def test_the_profile_has_four_banks_each_with_data_of_its_own():
    nodes = profile.parse(filled("swop/swop_profile.yaml"), "swop_profile.yaml").nodes
    assert [node.idx for node in nodes] == [0, 1, 2, 3]
    assert len({node.privatedata.src for node in nodes}) == 4
    assert [node.usrenvvars["SHARD"] for node in nodes] == ["1", "2", "3", "4"]


def test_the_tasks_are_those_of_the_script_and_every_line_of_it_is_a_command():
    script = filled("swci/swci-init").decode()
    for file in (PLACE / "swci" / "taskdefs").iterdir():
        task = taskfile.parse(filled(f"swci/taskdefs/{file.name}"), file.name)
        assert f"CREATE TASK FROM {file.name}\nFINALIZE TASK {task.name}\n" in script
        assert f"ASSIGN TASK {task.name} TO " in script
    for line in filter(is_command, script.splitlines()):
        GRAMMAR.read(line)  # raises for a line that is none


@pytest.mark.slow
def test_an_operator_trains_its_four_banks_as_profile_tasks_and_script_say(tmp_path: Path) -> None:
    project = tmp_path / "fraud"
    shutil.copytree(PLACE, project)
    environment = {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with Launch(environment=environment) as launch:
        swarm = LocalSwarm(tmp_path, launch, organisations=1)
        swarm.make_organisations()
        launch.wait_ready([swarm.start_network_node(1)], READY_S)
        replaced = {
            "<PROJECT-CERTS>": swarm.trees[0].directory, "<PROJECT-CACERTS>": swarm.trees[0].capath,
            "<PROJECT-MODEL>": project / "model", "<PROJECT>": project,
            "<SN-ADDRESS>": f"127.0.0.1 {swarm.api_port(0)}", '"MAX_EPOCHS": 4': '"MAX_EPOCHS": 1',
        }  # fmt: skip
        for file in [*project.glob("sw*/*.yaml"), *project.glob("sw*/*/*.yaml"), project / "swci/swci-init"]:
            text = file.read_text()
            for mark, value in replaced.items():
                text = text.replace(mark, str(value))
            file.write_text(text.replace("/platform/swarm/usr", str(project / "swci")))
        for bank in range(1, 5):
            (project / f"bank{bank}").mkdir()
        operator = swarm.start_operator(1, project / "swop/swop_profile.yaml", accepted=())
        commander = swarm.start_commander(project / "swci/swci-init")
        launch.wait_ended([commander])
        said = commander.log.read_text()
        logs = [path.read_text() for path in operator.state.glob("slots/*/ml.log")]
    assert said.count("TASK_STATE : COMPLETE") == 2
    figures = {line.rpartition("), ")[2] for line in said.splitlines() if line.endswith(", 1, 1")}
    assert len(figures) == 1, "PERFDATA shows one model, evaluated on the same payments"
    finals = {re.findall(r"final model: AUC .*", text)[-1] for text in logs}
    assert (len(logs), len(finals)) == (4, 1), said
    assert all((project / f"bank{bank + 1}/saved/fraud-{bank}/config.json").exists() for bank in range(4))
