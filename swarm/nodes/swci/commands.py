"""The table of commands: how each is written, what it is for, and the function that does it.

Used by the shell. A function gets the session and the arguments by the names that the syntax has; it answers through
`session.say` and raises what went wrong.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from swarm.nodes.swci import contexts, contracts, performance, places, taskrunners, tasks, variables, waiting
from swarm.nodes.swci.grammar import Grammar, Syntax
from swarm.nodes.swci.session import Session


@dataclass(frozen=True)
class Command:
    text: str
    about: str
    run: Callable[..., Awaitable[None]]

    @property
    def syntax(self) -> Syntax:
        return Syntax(self.text)


async def help_on(session: Session, command: str = "") -> None:
    """All commands, or the syntax and meaning of those that begin with these words."""
    rows = GRAMMAR.about(command)
    if not rows:
        raise GRAMMAR.unknown(command)
    if not command:
        session.say("\n".join(row.text for row in rows))
        session.say("HELP <command> says more about one")
        return
    for row in rows:
        session.say(f"{row.text}\n  {row.about}")


COMMANDS = (
    Command("CREATE CONTEXT <name> WITH IP <ip> [port]", "name a network by one of its SNs (API port 30304)",
            contexts.create_with_ip),
    Command("CREATE CONTEXT <name> WITH SERVICE <service>", "the same through a proxy, fqdn[:port] (port 443)",
            contexts.create_with_service),
    Command("SWITCH CONTEXT <name>", "let all further commands work with this network", contexts.switch),
    Command("GET CONTEXT INFO [name]", "address of a context (of the active one)", contexts.show),
    Command("GET CONTEXT VERSION", "version of the active context's API server", contexts.version),
    Command("LIST CONTEXTS", "contexts of this session", contexts.names),
    Command("GET CONTEXT ENV <variable>", "a variable of the active context", variables.get),
    Command("GET CONTEXT ENV <context> <variable>", "a variable of this context", variables.get_in),
    Command("LIST CONTEXT ENV [context]", "all variables, with the values that count", variables.names),
    Command("SET CONTEXT ENV <variable> <value>", "set a variable of the active context: "
            "SWCI_RUN_TASK_MAX_WAIT_TIME and SWCI_GENERIC_TASK_MAX_WAIT_TIME in minutes, APISRV_CON_RETRY in tries",
            variables.change),
    Command("SET CONTEXT ENV <context> <variable> <value>", "the same in this context", variables.change_in),
    Command("WAIT FOR IP <ip> [port] [retries]", "until an SN's API server answers; 360 retries are 30 minutes",
            contexts.wait_for_ip),
    Command("WAIT FOR SERVICE <service> [retries]", "the same through a proxy", contexts.wait_for_service),
    Command("CREATE CONTRACT <contract>", "make the name of a training contract known", contracts.create),
    Command("LIST CONTRACTS", "names of the training contracts", contracts.names),
    Command("GET CONTRACT INFO <contract>", "what a training contract agreed on", contracts.info),
    Command("GET CONTRACT STATUS <contract>", "round, members, and whom a training waits for", contracts.status),
    Command("RESET CONTRACT <contract>", "forget agreement, members and rounds; a training under way in it ends",
            contracts.reset),
    Command("PERFDATA <contract>", "how the peers of a contract train: loss, metric and epochs of each",
            performance.show),
    Command("CREATE TASK FROM <file>", "make a draft of the task that a YAML file defines", tasks.create_from),
    Command("CREATE TASK <task-type> <task> <author> <prereq> <outcome>", "make a draft, whose body is written by hand",
            tasks.create),
    Command("APPEND TASK BODY <task> <index> [line...]", "write line 1, 2, ... of a draft's body, in YAML",
            tasks.append),
    Command("FINALIZE TASK <task>", "make a draft of CREATE TASK immutable: from then on it can be assigned",
            tasks.finalize),
    Command("DELETE TASK <task>", "delete a draft of CREATE TASK; one of swarm task create goes by swarm task rm",
            tasks.delete),
    Command("GET TASK INFO <task>", "what kind of task it is, by whom, and how its last run went", tasks.info),
    Command("GET TASK BODY <task>", "what the task does", tasks.body),
    Command("LIST TASKS", "names of all tasks", tasks.names),
    Command("CREATE TASKRUNNER <taskrunner>", "make a queue that operators can listen on", taskrunners.create),
    Command("LIST TASKRUNNERS", "names of the taskrunners", taskrunners.names),
    Command("GET TASKRUNNER INFO <taskrunner>", "who made it and how many operators listen", taskrunners.info),
    Command("GET TASKRUNNER STATUS <taskrunner>", "its current task, state and counts of peers", taskrunners.status),
    Command("GET TASKRUNNER PEER STATUS <taskrunner> <swop>", "how the peers of one operator fare (index or uid)",
            taskrunners.peer_status),
    Command("LIST TASKRUNNER PEERS <taskrunner>", "operators of a taskrunner: index, uid, name", taskrunners.peers),
    Command("ASSIGN TASK <task> TO <taskrunner> WITH <n> PEERS",
            "run a final task; it completes when n peers have (RUN_SWARM: SL nodes, else SWOPs)",
            taskrunners.assign_with_peers),
    Command("ASSIGN TASK <task> TO <taskrunner> WITH ALL PEERS", "the same with all that listen by now",
            taskrunners.assign_with_all_peers),
    Command("ASSIGN TASK <task> TO <taskrunner> TARGET <swop-uid>",
            "run it on one operator, or add this operator to the running task", taskrunners.assign_to_target),
    Command("RESET TASKRUNNER <taskrunner>", "end its current task, let workers finish saving, make room for the next",
            taskrunners.reset),
    Command("WAIT FOR TASKRUNNER <taskrunner>", "until its current task has ended; 120 minutes if nothing else is set",
            waiting.wait_for),
    Command("LIST NODES", "the nodes of the network", places.nodes),
    Command("SLEEP <seconds>", "wait", places.sleep),
    Command("CD <directory>", "change the working directory", places.change_directory),
    Command("LS [options] [path]", "list a directory; -a with hidden files", places.list_directory),
    Command("PWD", "print the working directory", places.working_directory),
    Command("EXIT ON FAILURE", "end the session at the first command that fails", places.exit_on_failure),
    Command("EXIT ON FAILURE ON", "the same", places.exit_on_failure),
    Command("EXIT ON FAILURE OFF", "go on after commands that fail", places.go_on_after_failure),
    Command("EXIT", "end the session", places.leave),
    Command("HELP [command...]", "list the commands, or explain one", help_on),
)  # fmt: skip

GRAMMAR = Grammar(COMMANDS)
