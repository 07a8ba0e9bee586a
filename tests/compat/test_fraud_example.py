"""The documents of examples/fraud: what a user puts in place of <...> is all that is missing from them."""

from __future__ import annotations

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
