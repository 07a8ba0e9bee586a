"""The class `Swci`: every command of a command interface as a method, over its web mode.

For Python programs and notebooks, as in HPE Swarm Learning: same names, defaults and results. Methods answer with the
lines of the command's answer, stripped; with ``[]`` if it failed, and `getErrors` then says why. What is marked
`cached` is asked once, until something that this object does may have changed it, or `clearCache`.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Any

from swarm.compat.swarmlearning.swci.transport import Failed, Web, tls_context

DEFAULT_TASKRUNNER = "defaulttaskbb.taskdb.sml.hpe"
DEFAULT_CONTRACT = "defaultbb.cqdb.sml.hpe"
DONE = ("COMPLETE", "ERROR", "IDLE")
"""IDLE is a taskrunner without a task."""
_FORMAT = "%(asctime)s : %(name)s : %(levelname)s : %(message)s"


class Swci:
    """A connection to ``run-swci --mode web``.

    ``clientCert``, ``clientPKey``: PEM files of a swci of the same organisation. ``clientCABundle``: the CA's PEM file
    or a directory of them, by which the other side is verified; ``verify=False`` talks to whoever answers, as HPE's
    client does. ``logLv``: of the logger that is made if none is given (``swci-web``: console and ./swci-web.log).

    Raises RuntimeError for arguments and files that cannot be used.
    """

    def __init__(
        self,
        swciIp: str,
        port: int = 30306,
        clientCert: str | None = None,
        clientPKey: str | None = None,
        clientCABundle: str | None = None,
        logger: logging.Logger | None = None,
        logLv: int = logging.WARNING,
        enableCaching: bool = True,
        verify: bool = True,
    ) -> None:
        if not swciIp:
            raise RuntimeError("swciIp is not given: the address of a command interface in web mode")
        if not isinstance(port, int) or isinstance(port, bool):
            raise RuntimeError(f"port is {port!r}, expected a whole number")
        context = tls_context(clientCert, clientPKey, clientCABundle, verify=verify) if clientCert else None
        self.logger = logger or _new_logger(logLv)
        if context and not verify:
            self.logger.warning("verify=False: whoever answers at %s:%d is believed", swciIp, port)
        self._web = Web(swciIp, port, context)
        self._caching = enableCaching
        self._cache: dict[str, list[str]] = {}
        self._errors: list[str] = []

    # ---- contexts

    def createContext(
        self, ctxName: str, ip: str | None = None, port: int = 30304, service: str | None = None
    ) -> list[str]:
        if not ip and not service:
            raise RuntimeError("createContext needs ip or service")
        where = ("IP", ip, str(port)) if ip else ("SERVICE", service or "")
        return self._changes("CREATE CONTEXT", ctxName, "WITH", *where, forgets="CONTEXT")

    def switchContext(self, ctxName: str) -> list[str]:
        self.clearCache()
        return self._does("SWITCH CONTEXT", ctxName)

    def listContexts(self) -> list[str]:
        return self._cached("LIST CONTEXTS")

    def getContextInfo(self, ctxName: str = "") -> list[str]:
        return self._cached("GET CONTEXT INFO", *([ctxName] if ctxName else []))

    def getContextVersion(self) -> list[str]:
        return self._does("GET CONTEXT VERSION")

    def getContextEnv(self, variable: str, ctxName: str = "") -> list[str]:
        return self._does("GET CONTEXT ENV", *([ctxName] if ctxName else []), variable)

    def listContextEnv(self, ctxName: str = "") -> list[str]:
        return self._does("LIST CONTEXT ENV", *([ctxName] if ctxName else []))

    def setContextEnv(self, variable: str, value: str | float, ctxName: str = "") -> list[str]:
        return self._does("SET CONTEXT ENV", *([ctxName] if ctxName else []), variable, str(value))

    # ---- contracts

    def createTrainingContract(self, contractName: str) -> list[str]:
        return self._changes("CREATE CONTRACT", contractName, forgets="CONTRACT")

    def listTrainingContracts(self) -> list[str]:
        return self._cached("LIST CONTRACTS")

    def getTrainingContractInfo(self, contractName: str) -> list[str]:
        return self._cached("GET CONTRACT INFO", contractName)

    def getTrainingContractStatus(self, contractName: str) -> list[str]:
        return self._does("GET CONTRACT STATUS", contractName)

    def resetTrainingContract(self, contractName: str = DEFAULT_CONTRACT) -> list[str]:
        return self._changes("RESET CONTRACT", contractName, forgets="CONTRACT")

    def getTrainingContractPerformanceData(self, contractName: str) -> list[str]:
        return self._does("PERFDATA", contractName)

    # ---- tasks

    def createTaskFrom(self, yamlFile: str) -> list[str]:
        return self._changes("CREATE TASK FROM", yamlFile, forgets="TASK")

    def createTask(self, taskType: str, taskName: str, author: str, prereq: str, outcome: str) -> list[str]:
        """A draft, whose body comes by `appendTaskBody`."""
        return self._changes("CREATE TASK", taskType, taskName, author, prereq, outcome, forgets="TASK")

    def appendTaskBody(self, taskName: str, index: int, line: str) -> list[str]:
        self._forget("TASK")
        return self._ask(f"APPEND TASK BODY {_word(taskName)} {int(index)} {line}")

    def registerTask(self, yamlFile: str, finalize: bool = True) -> list[str]:
        """Create the task of a file, and make it final."""
        name = next(
            (line.partition(":")[2].strip() for line in self.createTaskFrom(yamlFile) if "Task Registered" in line), ""
        )
        if not name or (finalize and not self.finalizeTask(name)):
            return []
        return [f"Registered Task : {name}"]

    def finalizeTask(self, taskName: str) -> list[str]:
        return self._changes("FINALIZE TASK", taskName, forgets="TASK")

    def deleteTask(self, taskName: str) -> list[str]:
        return self._changes("DELETE TASK", taskName, forgets="TASK")

    def getTaskInfo(self, taskName: str) -> list[str]:
        return self._cached("GET TASK INFO", taskName)

    def getTaskBody(self, taskName: str) -> list[str]:
        return self._cached("GET TASK BODY", taskName)

    def listTasks(self) -> list[str]:
        return self._cached("LIST TASKS")

    # ---- taskrunners

    def createTaskRunner(self, trName: str) -> list[str]:
        return self._changes("CREATE TASKRUNNER", trName, forgets="TASKRUNNER")

    def assignTask(
        self, taskName: str, trName: str, peers: int | None = None, target: str = "", allPeers: bool = False
    ) -> list[str]:
        """With so many peers, or with all that listen, or on (or also on) the SWOP ``target``."""
        if [peers is not None, bool(target), allPeers].count(True) != 1:
            raise RuntimeError("assignTask needs either peers, or target, or allPeers=True")
        how = ["TARGET", target] if target else ["WITH", "ALL" if allPeers else str(peers), "PEERS"]
        self._forget("TASKRUNNER")
        return self._changes("ASSIGN TASK", taskName, "TO", trName, *how, forgets="TASK")

    def executeTask(
        self,
        taskName: str,
        tr: str = DEFAULT_TASKRUNNER,
        peers: int = 1,
        pollWaitInSec: float = 120,
        resetTROnSuccess: bool = True,
    ) -> None:
        """Assign the task, look every `pollWaitInSec` seconds until it has ended, print how, and make room again."""
        if not self.assignTask(taskName, tr, peers):
            return
        while not self.isTaskDone(tr):
            time.sleep(pollWaitInSec)
        status = self.getTaskRunnerStatus(tr)
        for lines in [status, *(self.getTaskRunnerPeerStatus(tr, index) for index in range(peers))]:
            print("\n".join(lines))
        if resetTROnSuccess and _value(status, "TASK_STATE") == "COMPLETE":
            self.resetTaskRunner(tr)

    def isTaskDone(self, tr: str) -> bool:
        """Whether the current task has ended, or there is none. Raises RuntimeError if nobody can tell."""
        status = self.getTaskRunnerStatus(tr)
        if not (state := _value(status, "TASK_STATE")):
            raise RuntimeError(f"the status of taskrunner {tr} is not known: {self.getErrors() or status}")
        return state in DONE

    def waitForTaskRunner(self, tr: str = DEFAULT_TASKRUNNER) -> list[str]:
        """Until its task has ended; ``[]`` if it did not complete."""
        self._forget("TASK")
        return self._does("WAIT FOR TASKRUNNER", tr)

    def getTaskRunnerStatus(self, tr: str) -> list[str]:
        return self._does("GET TASKRUNNER STATUS", tr)

    def getTaskRunnerPeerStatus(self, tr: str, idx: int | str) -> list[str]:
        """``idx``: place of a SWOP among `listTaskRunnerPeers`, or its uid."""
        return self._does("GET TASKRUNNER PEER STATUS", tr, str(idx))

    def listTaskRunnerPeers(self, tr: str) -> list[str]:
        return self._does("LIST TASKRUNNER PEERS", tr)

    def getTaskRunnerInfo(self, tr: str) -> list[str]:
        return self._cached("GET TASKRUNNER INFO", tr)

    def listTaskRunners(self) -> list[str]:
        return self._cached("LIST TASKRUNNERS")

    def resetTaskRunner(self, tr: str = DEFAULT_TASKRUNNER) -> list[str]:
        self._forget("TASK")
        return self._changes("RESET TASKRUNNER", tr, forgets="TASKRUNNER")

    # ---- nodes

    def listNodes(self) -> list[str]:
        return self._does("LIST NODES")

    def plotTopology(
        self,
        SNColour: str = "#ADD8E6",
        SWOPColor: str = "#33FF33",
        SLColor: str = "#FFCCCB",
        attrs: list[str] | None = None,
    ) -> Any:
        """Draw who belongs to whom; the figure. ``attrs``: what is written beside a node's name, of Port,
        ContainerName, UUID, ParentUUID, i-am-alive."""
        from swarm.compat.swarmlearning.swci.topology import draw

        colours = {"SENTINEL": SNColour, "SN": SNColour, "SWOP": SWOPColor, "SL": SLColor}
        return draw(self.listNodes(), colours, attrs or [])

    def waitForIP(self, ip: str, port: int = 30304, retries: int | None = None) -> list[str]:
        return self._does("WAIT FOR IP", ip, str(port), *([] if retries is None else [str(retries)]))

    def waitForService(self, service: str, retries: int | None = None) -> list[str]:
        return self._does("WAIT FOR SERVICE", service, *([] if retries is None else [str(retries)]))

    # ---- the session at the other side

    def ls(self, optStr: str = "") -> list[str]:
        return self._ask(f"LS {optStr}")

    def pwd(self) -> list[str]:
        return self._does("PWD")

    def cd(self, directory: str) -> list[str]:
        return self._does("CD", directory)

    def sleep(self, seconds: float) -> list[str]:
        return self._does("SLEEP", str(seconds))

    def help(self, command: str = "") -> list[str]:
        return self._ask(f"HELP {command}")

    def uploadTaskDefintion(self, taskFilePath: str) -> str:
        """Put a task file into the user directory of the other side; the answer as it came (sic, the name is HPE's)."""
        path = Path(taskFilePath)
        if not path.is_file():
            raise RuntimeError(f"there is no file {taskFilePath}")
        try:
            return self._web.upload(path.name, path.read_bytes())
        except Failed as error:
            raise RuntimeError(str(error)) from error

    uploadTaskDefinition = uploadTaskDefintion

    # ---- this object

    def setLogLevel(self, level: str | int) -> None:
        self.logger.setLevel(level)

    def clearCache(self) -> None:
        self._cache.clear()

    def getErrors(self) -> str | None:
        """What the last command said when it failed; None if it did not."""
        return "\n".join(self._errors) or None

    # ---- asking

    def _does(self, command: str, *words: str) -> list[str]:
        return self._ask(" ".join([command, *map(_word, words)]))

    def _changes(self, command: str, *words: str, forgets: str) -> list[str]:
        self._forget(forgets)
        return self._does(command, *words)

    def _cached(self, command: str, *words: str) -> list[str]:
        text = " ".join([command, *map(_word, words)])
        if self._caching and text in self._cache:
            self._errors = []
            return list(self._cache[text])
        answer = self._ask(text)
        if self._caching and not self._errors:
            self._cache[text] = list(answer)
        return answer

    def _forget(self, what: str) -> None:
        """Of what is kept: lists and single ones of this kind (LIST TASKS, GET TASK INFO …)."""
        kept = {text: lines for text, lines in self._cache.items() if text.split()[1] not in (what, f"{what}S")}
        self._cache = kept

    def _ask(self, text: str) -> list[str]:
        self.logger.debug("%s", text)
        try:
            answer = self._web.command(text.strip())
        except Failed as error:
            answer = [f"ERROR : {error}"]
        failed = any(line.startswith("ERROR ") for line in answer)
        self._errors = [line for line in answer if line.startswith(("ERROR ", "HINT "))] if failed else []
        if failed:
            self.logger.error("%s: %s", text, self.getErrors())
        return [] if failed else answer


def _word(text: str) -> str:
    """An argument as one word of a command."""
    text = str(text)
    if not text or not text.isprintable() or ('"' in text and "'" in text):
        raise RuntimeError(f"{text[:80]!r} cannot be an argument of a command")
    if not any(character in text for character in " \"'"):
        return text
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}"


def _value(lines: list[str], name: str) -> str:
    """Of ``NAME : value``."""
    pairs = [line.partition(":") for line in lines]
    return next((value.strip() for key, _, value in pairs if key.strip() == name), "")


def _new_logger(level: int) -> logging.Logger:
    """HPE's: one for all objects, on the console and in the working directory."""
    logger = logging.getLogger("swci-web")
    logger.setLevel(level)
    if not logger.handlers:
        for handler in (logging.FileHandler("swci-web.log", delay=True), logging.StreamHandler(sys.stderr)):
            handler.setFormatter(logging.Formatter(_FORMAT))
            logger.addHandler(handler)
        logger.propagate = False
    return logger
