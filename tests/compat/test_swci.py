"""`Swci` method by method: what each sends, what it gives back, what is kept, what is refused, what is drawn."""

from __future__ import annotations

import inspect
import json
import logging
import sys

import pytest

from swarm.compat.swarmlearning.swci import Swci, topology, transport
from swarm.compat.swarmlearning.swci.client import DEFAULT_CONTRACT, DEFAULT_TASKRUNNER
from swarm.nodes.swci.commands import GRAMMAR


class Server:
    """What stands behind a `Swci` here: it notes commands and answers from a table, else with ``ok``."""

    def __init__(self, answers=None):
        self.asked, self.answers = [], answers or {}

    def command(self, text):
        self.asked.append(text)
        answer = self.answers.get(text, ["ok"])
        return answer.pop(0) if answer and isinstance(answer[0], list) else list(answer)

    def upload(self, name, data):
        self.asked.append((name, data))
        return '{"CONTENT": ["ok"]}'


def client(answers=None, **settings):
    swci = Swci("127.0.0.1", logger=logging.getLogger("test-swci"), **settings)
    swci._web = Server(answers)
    return swci, swci._web


# HPE's methods with their parameters and defaults, and what each of them comes to.
METHODS = [
    ("createContext", ("c", "1.2.3.4"), "CREATE CONTEXT c WITH IP 1.2.3.4 30304"),
    ("createContext", ("c", None, 1, "api.x:99"), "CREATE CONTEXT c WITH SERVICE api.x:99"),
    ("switchContext", ("c",), "SWITCH CONTEXT c"),
    ("listContexts", (), "LIST CONTEXTS"),
    ("getContextInfo", ("c",), "GET CONTEXT INFO c"),
    ("getContextVersion", (), "GET CONTEXT VERSION"),
    ("getContextEnv", ("X",), "GET CONTEXT ENV X"),
    ("listContextEnv", ("c",), "LIST CONTEXT ENV c"),
    ("setContextEnv", ("X", 5, "c"), "SET CONTEXT ENV c X 5"),
    ("createTrainingContract", ("k",), "CREATE CONTRACT k"),
    ("listTrainingContracts", (), "LIST CONTRACTS"),
    ("getTrainingContractInfo", ("k",), "GET CONTRACT INFO k"),
    ("getTrainingContractStatus", ("k",), "GET CONTRACT STATUS k"),
    ("resetTrainingContract", (), f"RESET CONTRACT {DEFAULT_CONTRACT}"),
    ("getTrainingContractPerformanceData", ("k",), "PERFDATA k"),
    ("createTaskFrom", ("my tasks/run.yaml",), 'CREATE TASK FROM "my tasks/run.yaml"'),
    ("createTask", ("RUN_SWARM", "t", "it's me", "ROOTTASK", "o"), 'CREATE TASK RUN_SWARM t "it\'s me" ROOTTASK o'),
    ("appendTaskBody", ("t", 2, "  - FROM x"), "APPEND TASK BODY t 2   - FROM x"),
    ("finalizeTask", ("t",), "FINALIZE TASK t"),
    ("deleteTask", ("t",), "DELETE TASK t"),
    ("getTaskInfo", ("t",), "GET TASK INFO t"),
    ("getTaskBody", ("t",), "GET TASK BODY t"),
    ("listTasks", (), "LIST TASKS"),
    ("createTaskRunner", ("r",), "CREATE TASKRUNNER r"),
    ("assignTask", ("t", "r", 2), "ASSIGN TASK t TO r WITH 2 PEERS"),
    ("waitForTaskRunner", (), f"WAIT FOR TASKRUNNER {DEFAULT_TASKRUNNER}"),
    ("getTaskRunnerStatus", ("r",), "GET TASKRUNNER STATUS r"),
    ("getTaskRunnerPeerStatus", ("r", 0), "GET TASKRUNNER PEER STATUS r 0"),
    ("listTaskRunnerPeers", ("r",), "LIST TASKRUNNER PEERS r"),
    ("getTaskRunnerInfo", ("r",), "GET TASKRUNNER INFO r"),
    ("listTaskRunners", (), "LIST TASKRUNNERS"),
    ("resetTaskRunner", (), f"RESET TASKRUNNER {DEFAULT_TASKRUNNER}"),
    ("listNodes", (), "LIST NODES"),
    ("waitForIP", ("1.2.3.4", 5, 6), "WAIT FOR IP 1.2.3.4 5 6"),
    ("waitForService", ("api.x",), "WAIT FOR SERVICE api.x"),
    ("ls", ("-a",), "LS -a"),
    ("pwd", (), "PWD"),
    ("cd", ("x",), "CD x"),
    ("sleep", (3,), "SLEEP 3"),
    ("help", ("LIST",), "HELP LIST"),
]


@pytest.mark.parametrize(("method", "arguments", "command"), METHODS, ids=lambda one: str(one)[:24])
def test_a_method_is_a_command_that_the_grammar_reads(method, arguments, command):
    swci, server = client()
    assert getattr(swci, method)(*arguments) == ["ok"]
    assert server.asked == [command]
    assert GRAMMAR.read(command)


def test_no_command_of_the_grammar_lacks_its_method():
    sent = [GRAMMAR.read(command)[0].text for _, _, command in METHODS]
    sent += [f"ASSIGN TASK <task> TO <taskrunner> {how}" for how in ("WITH ALL PEERS", "TARGET <swop-uid>")]
    of_shells = {row.text for row in GRAMMAR.rows if row.text.startswith("EXIT")}
    variants = {"GET CONTEXT ENV <context> <variable>", "SET CONTEXT ENV <variable> <value>"}
    assert {row.text for row in GRAMMAR.rows} - set(sent) == of_shells | variants


def test_a_task_is_assigned_to_some_to_all_or_to_one():
    swci, server = client()
    swci.assignTask("t", "r", allPeers=True)
    swci.assignTask("t", "r", target="uid")
    assert server.asked == ["ASSIGN TASK t TO r WITH ALL PEERS", "ASSIGN TASK t TO r TARGET uid"]
    for wrong in ({}, {"peers": 1, "target": "uid"}, {"target": "uid", "allPeers": True}):
        with pytest.raises(RuntimeError, match="either peers, or target, or allPeers"):
            swci.assignTask("t", "r", **wrong)


def test_a_failed_command_gives_nothing_and_says_why():
    swci, _ = client({"LIST TASKS": ["ERROR : no context is active", "HINT : SWITCH CONTEXT a"]})
    assert swci.listTasks() == []
    assert swci.getErrors() == "ERROR : no context is active\nHINT : SWITCH CONTEXT a"
    assert swci.listTaskRunners() == ["ok"]
    assert swci.getErrors() is None


def test_what_is_cached_is_asked_once_until_something_changes_it():
    swci, server = client()
    for _ in range(2):
        assert swci.listTasks() == swci.getTaskInfo("t") == swci.listContexts() == ["ok"]
        swci.getTaskRunnerStatus("r")
    assert server.asked.count("LIST TASKS") == server.asked.count("GET TASK INFO t") == 1
    assert server.asked.count("GET TASKRUNNER STATUS r") == 2
    swci.createTaskFrom("x.yaml")
    swci.listTasks()
    swci.listContexts()
    assert server.asked.count("LIST TASKS") == 2
    assert server.asked.count("LIST CONTEXTS") == 1
    swci.clearCache()
    swci.listContexts()
    assert server.asked.count("LIST CONTEXTS") == 2
    uncached, server = client(enableCaching=False)
    uncached.listTasks()
    uncached.listTasks()
    assert server.asked == ["LIST TASKS"] * 2


def test_a_failure_is_not_cached():
    swci, server = client({"LIST TASKS": [["ERROR : busy"], ["ROOTTASK"]]})
    assert (swci.listTasks(), swci.listTasks()) == ([], ["ROOTTASK"])
    assert len(server.asked) == 2


def test_a_task_is_registered_and_made_final():
    registered = ["Task definition is valid", "Task Registered : run", "Appending Task Body"]
    swci, server = client({"CREATE TASK FROM x.yaml": registered})
    assert swci.registerTask("x.yaml") == ["Registered Task : run"]
    assert server.asked == ["CREATE TASK FROM x.yaml", "FINALIZE TASK run"]
    assert swci.registerTask("x.yaml", finalize=False) == ["Registered Task : run"]
    assert len(server.asked) == 3
    refused, _ = client({"CREATE TASK FROM x.yaml": registered, "FINALIZE TASK run": ["ERROR : no"]})
    assert refused.registerTask("x.yaml") == []
    assert refused.getErrors() == "ERROR : no"


def status(state, task="run"):
    return [f"TASK NAME : {task}", f"TASK_STATE : {state}"]


def test_executing_waits_for_the_end_says_how_it_was_and_makes_room_again(capsys):
    states = [status("RUNNING"), status("RUNNING"), status("COMPLETE"), status("COMPLETE")]
    swci, server = client({"GET TASKRUNNER STATUS r": states, "GET TASKRUNNER PEER STATUS r 1": ["peer 1"]})
    assert swci.executeTask("run", "r", 2, pollWaitInSec=0) is None
    assert server.asked == [
        "ASSIGN TASK run TO r WITH 2 PEERS", *["GET TASKRUNNER STATUS r"] * 4, "GET TASKRUNNER PEER STATUS r 0",
        "GET TASKRUNNER PEER STATUS r 1", "RESET TASKRUNNER r",
    ]  # fmt: skip
    assert capsys.readouterr().out == "TASK NAME : run\nTASK_STATE : COMPLETE\nok\npeer 1\n"


@pytest.mark.parametrize(("state", "resets", "asked"), [("ERROR", True, False), ("COMPLETE", False, False)])
def test_what_failed_is_left_to_look_at(state, resets, asked):
    swci, server = client({"GET TASKRUNNER STATUS r": status(state)})
    swci.executeTask("run", "r", resetTROnSuccess=resets)
    assert ("RESET TASKRUNNER r" in server.asked) == asked


def test_what_cannot_be_assigned_is_not_waited_for():
    swci, server = client({"ASSIGN TASK run TO r WITH 1 PEERS": ["ERROR : busy"]})
    swci.executeTask("run", "r")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("told", "done"),
    [
        (status("COMPLETE"), True),
        (status("ERROR"), True),
        (status("IDLE", "Empty"), True),
        (status("RUNNING"), False),
    ],
)
def test_a_task_is_done_or_not(told, done):
    assert client({"GET TASKRUNNER STATUS r": told})[0].isTaskDone("r") is done


def test_a_taskrunner_of_which_nothing_is_known():
    with pytest.raises(RuntimeError, match="the status of taskrunner r is not known: ERROR : there is none"):
        client({"GET TASKRUNNER STATUS r": ["ERROR : there is none"]})[0].isTaskDone("r")


def test_arguments_that_cannot_be_used_are_refused(tmp_path):
    for wrong, sentence in (
        ({"swciIp": None}, "swciIp is not given"),
        ({"swciIp": "h", "port": "30306"}, "port is '30306', expected a whole number"),
        ({"swciIp": "h", "clientCert": "c.pem"}, "clientCABundle is not given, so nobody can tell who answers"),
        ({"swciIp": "h", "clientCert": "none.pem", "verify": False}, "the certificate file none.pem"),
        ({"swciIp": "h", "clientCert": "c", "clientCABundle": str(tmp_path)}, "holds no CA certificate"),
    ):
        with pytest.raises(RuntimeError, match=sentence):
            Swci(**wrong, logger=logging.getLogger("test-swci"))
    swci, server = client()
    with pytest.raises(RuntimeError, match="createContext needs ip or service"):
        swci.createContext("c")
    for argument in ("", "two\nlines", "\"'"):
        with pytest.raises(RuntimeError, match="cannot be an argument of a command"):
            swci.getTaskInfo(argument)
    with pytest.raises(RuntimeError, match=r"there is no file nowhere\.yaml"):
        swci.uploadTaskDefintion("nowhere.yaml")
    assert server.asked == []


def test_a_file_is_uploaded_under_its_name(tmp_path):
    (tmp_path / "run.yaml").write_bytes(b"Name: x\n")
    swci, server = client()
    assert json.loads(swci.uploadTaskDefintion(str(tmp_path / "run.yaml"))) == {"CONTENT": ["ok"]}
    assert server.asked == [("run.yaml", b"Name: x\n")]


def test_the_constructor_has_hpes_parameters_in_their_order():
    parameters = inspect.signature(Swci).parameters
    assert [(name, one.default) for name, one in parameters.items()][:8] == [
        ("swciIp", inspect.Parameter.empty), ("port", 30306), ("clientCert", None), ("clientPKey", None),
        ("clientCABundle", None), ("logger", None), ("logLv", logging.WARNING), ("enableCaching", True),
    ]  # fmt: skip


def test_the_logger_that_is_made_writes_where_the_program_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    swci = Swci("127.0.0.1", 1)
    try:
        swci.setLogLevel("DEBUG")
        assert swci.listTasks() == []
        log = (tmp_path / "swci-web.log").read_text()
        assert "swci-web : DEBUG : LIST TASKS" in log
        assert "http://127.0.0.1:1 does not answer" in log
    finally:
        for handler in [*swci.logger.handlers]:
            swci.logger.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize(
    ("certificate", "taken"),
    [
        ({"subjectAltName": (("URI", "swarm://a/swci/swci-1"),)}, True),
        ({"subject": ((("commonName", "SWCI-1"),),), "subjectAltName": (("DNS", "SWCI-1"),)}, True),
        ({"subject": ((("commonName", "SN-1"),),)}, False),
        ({"subject": ((("commonName", "SWCI-1"),),), "subjectAltName": (("URI", "swarm://a/sn/sn-1"),)}, False),
        ({}, False),
    ],
)
def test_only_a_command_interface_is_talked_to(certificate, taken):
    if taken:
        transport.must_be_swci(certificate, "https://x:1")
    else:
        with pytest.raises(transport.Failed, match="expected a swci's"):
            transport.must_be_swci(certificate, "https://x:1")


NODES = [
    "NODE TYPE, HOST IP, PORT, CONTAINER NAME, UUID, PARENT UUID, I-AM-ALIVE",
    "SENTINEL, 10.0.0.1, 30304, sn-1, u1, -, 2026-01-01T00:00:00Z",
    "SN, 10.0.0.2, 30304, sn-2, u2, u1, 2026-01-01T00:00:00Z",
    "SWOP, -, -, swop-1, u3, u1, 2026-01-01T00:00:00Z",
    "SL, 10.0.0.1, 30305, sl-1, u4, u3, 2026-01-01T00:00:00Z",
]


def test_the_topology_is_drawn(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("networkx")
    matplotlib.use("agg")
    swci, _ = client({"LIST NODES": NODES})
    figure = swci.plotTopology(SLColor="#000000", attrs=["ContainerName", "Port"])
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"SENTINEL 10.0.0.1\nsn-1\n30304", "SWOP -\nswop-1\n-"} <= texts
    assert len(figure.axes[0].collections) == 2  # nodes, and the lines between them
    matplotlib.pyplot.close(figure)
    with pytest.raises(RuntimeError, match="there is no attribute 'Colour', expected some of Port"):
        swci.plotTopology(attrs=["Colour"])


def test_without_its_libraries_a_picture_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(RuntimeError, match=r"pip install 'swarm-learning\[topology\]'"):
        topology.draw(NODES, {}, [])
