"""Sessions against a real network: outputs as HPE's SWCI has them, contexts, contracts, nodes, and how they end."""

from __future__ import annotations

import socket

from swarm.errors import BadInput, Unreachable

TASKRUNNER = "defaulttaskbb.taskdb.sml.hpe"


def test_the_outputs_of_hpe_s_first_stanza(play, network, tmp_path):
    lines = [
        "# SWCI context setup",
        "EXIT ON FAILURE",
        f"wait for ip 127.0.0.1 {network.port}",
        f"create context test-mnist with ip 127.0.0.1 {network.port}",
        "switch context test-mnist",
        "EXIT ON FAILURE OFF",
        "",
        "cd /platform/swarm/usr",
        "list tasks",
        "LIST CONTRACTS",
        "EXIT",
        "list tasks",
    ]
    played = play(*lines, context=False, usr_dir=tmp_path)
    assert played.text.splitlines() == [
        "SWCI:0 > # SWCI context setup",
        "SWCI:0 > EXIT ON FAILURE",
        "    EXIT ON FAILURE IS TURNED ON",
        f"SWCI:1 > wait for ip 127.0.0.1 {network.port}",
        "    API Server is UP!",
        f"SWCI:2 > create context test-mnist with ip 127.0.0.1 {network.port}",
        "    API Server is UP!",
        "    CONTEXT CREATED : test-mnist",
        "SWCI:3 > switch context test-mnist",
        "    DEFAULT CONTEXT SET TO : test-mnist",
        "SWCI:4 > EXIT ON FAILURE OFF",
        "    EXIT ON FAILURE IS TURNED OFF",
        "SWCI:5 > ",
        "SWCI:5 > cd /platform/swarm/usr",
        "    Current Directory : /platform/swarm/usr",
        "SWCI:6 > list tasks",
        "    ROOTTASK",
        "SWCI:7 > LIST CONTRACTS",
        "    defaultbb.cqdb.sml.hpe",
        "SWCI:8 > EXIT",
    ]
    assert played.failure is None


def test_nothing_is_asked_of_the_network_without_a_context(play, network):
    played = play("list tasks", "list contexts", "get context info", "switch context x", context=False)
    assert [command["ok"] for command in played.commands] == [False, True, False, False]
    assert played.errors == [
        "no context is active", "no context is active, known: none", "there is no context x, known: none",
    ]  # fmt: skip
    assert played.answer(1) == ["Empty"]
    one = f"create context one with ip 127.0.0.1 {network.port}"
    unswitched = play(one, "list tasks", context=False)
    assert unswitched.commands[1]["error"]["hint"] == "SWITCH CONTEXT one"


def test_several_contexts_may_mean_one_network(play, network):
    again = f"create context again with ip 127.0.0.1 {network.port}"
    played = play(again, "switch context again", "create contract c1", "switch context net", "list contracts",
                  "list contexts", "get context info", "create context net with ip 127.0.0.2")  # fmt: skip
    assert "c1" in played.answer(4)
    assert played.answer(5) == ["net", "again"]
    assert played.answer(6)[-1] == "DEFAULT CONTEXT : True"
    assert played.errors == [f"there is a context net already, with 127.0.0.1:{network.port}"]


def test_an_address_where_nobody_answers_is_named(play):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        played = play(f"create context a with ip 127.0.0.1 {port}", f"wait for ip 127.0.0.1 {port} 1", context=False)
    assert all(f"127.0.0.1:{port}" in error for error in played.errors)
    assert "no API server at" in played.errors[1]
    assert [command["error"]["code"] for command in played.commands] == [Unreachable.code] * 2


def test_exit_on_failure_ends_the_session_with_the_failure(play):
    played = play("EXIT ON FAILURE", "list tasks", "swich context x", "list tasks")
    assert len(played.commands) == 3
    assert isinstance(played.failure, BadInput)
    assert "    ERROR : there is no command 'swich context x'\n" in played.text
    assert "    HINT : did you mean SWITCH CONTEXT <name>?\n" in played.text


def test_without_it_the_session_goes_on_and_ends_well(play):
    played = play("swich context x", "EXIT ON FAILURE", "EXIT ON FAILURE OFF", "get task info x", "list tasks")
    assert len(played.commands) == 5
    assert played.failure is None
    assert played.commands[4]["ok"]


def test_after_the_script_comes_what_is_typed(play):
    played = play("list tasks", stdin=b"list taskrunners\n\n# nothing\npwd\nexit on failure\nget task body x\nls\n")
    assert played.text.endswith(
        "SWCI:3 >     defaulttaskbb.taskdb.sml.hpe\n"
        "SWCI:4 > SWCI:4 > SWCI:4 >     " + played.answer(2)[0] + "\n"
        "SWCI:5 >     EXIT ON FAILURE IS TURNED ON\n"
        "SWCI:6 >     ERROR : there is no task x\n"
        "    HINT : LIST TASKS shows those there are\n"
    )
    assert played.failure is not None
    assert play("exit", stdin=b"list tasks\n").commands[1:] == []
    assert play(stdin=b"list tasks").answer(0) == ["ROOTTASK"]  # the last line needs no end


def test_contracts_are_made_known_shown_and_reset(play):
    played = play("create contract lungs", "create contract lungs", "list contracts", "get contract info lungs",
                  "get contract status lungs", "reset contract lungs", "reset contract lung", "create contract A/B",
                  "reset contract defaultbb.cqdb.sml.hpe")  # fmt: skip
    assert played.answer(0) == ["CONTRACT CREATED : lungs"]
    assert played.answer(1) == ["CONTRACT CREATED : lungs (known already)"]
    assert {"defaultbb.cqdb.sml.hpe", "lungs"} <= set(played.answer(2))
    assert played.answer(3) == ["CONTRACT NAME : lungs"]
    assert played.answer(4) == ["CONTRACT NAME : lungs", "STATE : uninitialised"]
    assert played.answer(5) == ["CONTRACT RESET : lungs"]
    assert played.commands[6]["error"]["hint"] == "did you mean lungs?"
    assert "the field 'contract' has to be" in played.errors[1]
    assert played.commands[8]["ok"]


def test_taskrunners_are_made_shown_and_reset(play):
    played = play("create taskrunner second", "list taskrunners", f"get taskrunner status {TASKRUNNER}",
                  "get taskrunner info second", "list taskrunner peers second", "get taskrunner peer status second 0",
                  "reset taskrunner second", "wait for taskrunner second", "reset taskrunner secnd")  # fmt: skip
    assert played.answer(1) == [TASKRUNNER, "second"]
    assert played.answer(2) == ["TASK NAME : Empty", "TASK_STATE : IDLE"]
    assert "CREATED BY : swarm://org-1/swci/swci-1" in played.answer(3)
    assert played.answer(4) == ["Empty"]
    assert played.errors == [
        "taskrunner second has no SWOP 0: none is enrolled", "there is no taskrunner secnd",
    ]  # fmt: skip
    assert played.answer(7) == [
        "WAITING FOR TASKRUNNER TO COMPLETE", "Maximum wait time is : 120 mins", "TASK_STATE : IDLE",
    ]  # fmt: skip


def test_nodes_are_listed_for_hpe_s_clients(play, network):
    header, sentinel = play("create contract here", "LIST NODES").answer(1)
    assert header == "NODE TYPE, HOST IP, PORT, CONTAINER NAME, UUID, PARENT UUID, I-AM-ALIVE"
    kind, host, port, name, uid, parent, alive = (cell.strip() for cell in sentinel.split(","))
    assert (kind, host, port, name, parent) == ("SENTINEL", "127.0.0.1", str(network.port), "sn-1", "-")
    assert len(uid) == 36
    assert alive.endswith("Z")


def test_only_who_proposes_enters_the_ledger_and_leaves_it_again(play, network):
    log = network.swarm.network[0].log
    before = log.read_text().count("swci-2 (org-2) joined")
    play("list tasks", "list nodes", organisation=2)
    assert log.read_text().count("swci-2 (org-2) joined") == before
    play("create contract mine", organisation=2)
    assert log.read_text().count("swci-2 (org-2) joined") == before + 1
    assert "swci-2 (org-2) is gone: left" in log.read_text()


def test_numbers_are_checked(play):
    played = play("sleep soon", "sleep -1", "sleep 0", "wait for ip 127.0.0.1 http", "wait for ip 127.0.0.1 1 0",
                  f"assign task t to {TASKRUNNER} with 0 peers", "create context x with ip a/b")  # fmt: skip
    assert played.errors == [
        "the number of seconds is 'soon', expected a number from 0 to 86400",
        "the number of seconds is '-1', expected a number from 0 to 86400",
        "the port is 'http', expected a whole number from 1 to 65535",
        "the number of retries is '0', expected a whole number from 1 to 100000",
        "the number of peers is '0', expected a whole number from 1 to 1000",
        "the address is 'a/b', expected an IP address or a host name",
    ]


def test_variables_of_a_context_come_before_those_of_the_process(play, network):
    minutes = "SWCI_RUN_TASK_MAX_WAIT_TIME"
    other = f"create context other with ip 127.0.0.1 {network.port}"
    played = play("list context env", f"set context env {minutes} 5", f"get context env {minutes}", other,
                  f"get context env other {minutes}", "set context env other APISRV_CON_RETRY 1",
                  "set context env other MINE 'any text'", "list context env other",
                  environment={minutes: "7"})  # fmt: skip
    assert not played.errors
    generic = "SWCI_GENERIC_TASK_MAX_WAIT_TIME : 120"
    assert played.answer(0) == [f"{minutes} : 7", generic, "APISRV_CON_RETRY : 360"]
    assert played.answer(1) == [f"CONTEXT ENV SET : {minutes} : 5"]
    assert (played.answer(2), played.answer(4)) == ([f"{minutes} : 5"], [f"{minutes} : 7"])
    assert played.answer(6)[0].startswith("WARNING - nothing here goes by MINE: what does is SWCI_RUN_TASK_MAX_WAIT_")
    assert played.answer(7) == [f"{minutes} : 7", generic, "APISRV_CON_RETRY : 1", "MINE : any text"]


def test_variables_that_cannot_be_set_are_refused(play):
    played = play("set context env SWCI_RUN_TASK_MAX_WAIT_TIME soon", "set context env APISRV_CON_RETRY 0",
                  "set context env 1x y", "set context env nowhere X y", "get context env nowhere X")  # fmt: skip
    assert played.errors == [
        "SWCI_RUN_TASK_MAX_WAIT_TIME (minutes) is 'soon', expected a number from 0 to 1000000",
        "APISRV_CON_RETRY (tries) is '0', expected a whole number from 1 to 100000",
        "'1x' is no name of a variable: letters, digits and _, and no digit first",
        "there is no context nowhere, known: net",
        "there is no context nowhere, known: net",
    ]
    assert play("list context env", context=False).errors == ["no context is active, known: none"]


def test_how_often_is_asked_is_a_variable(play):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        played = play("set context env APISRV_CON_RETRY 1", f"wait for ip 127.0.0.1 {taken.getsockname()[1]}")
    assert "no API server at" in played.errors[0]


def test_the_peers_of_a_contract_that_nobody_trains_in_are_none(play):
    played = play("create contract quiet", "perfdata quiet", "perfdata quite")
    assert played.answer(1) == [
        "SL UID, SL NAME, SL ADMIN, MODEL LOSS, MODEL METRIC, TOTAL EPOCHS, COMPLETED EPOCHS",
    ]  # fmt: skip
    assert played.errors == ["there is no contract quite"]


def test_lines_of_windows_editors_are_read(play):
    played = play(stdin=b"\xef\xbb\xbflist\ttaskrunners\r\n# nothing\r\n\r\nlist tasks\r")
    assert [command["command"] for command in played.commands] == ["list\ttaskrunners", "list tasks"]
    assert not played.errors


def test_help_lists_and_explains(play):
    played = play("help", "HELP assign task", "help frob")
    assert "ASSIGN TASK <task> TO <taskrunner> WITH <n> PEERS" in played.answer(0)
    assert len(played.answer(1)) == 6
    assert played.errors == ["there is no command 'frob'"]
