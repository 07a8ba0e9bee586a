"""Flower: a SuperLink with TLS, a SuperNode for each participant, and `flwr run` of an app whose strategy is FedAvg.

The deployment runtime with its default isolation: a process for each message. A participant has the merge of a round in
the message that begins the next, so there is one more at the end, which only delivers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import sleep
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from benchmarks.peers.participant import PEER, Participant, free_ports, wait_listening

TOOLS = Path(sys.executable).parent
PROJECT = """[project]
name = "one-merge"
version = "1.0.0"
description = "merges arrays"
license = "Apache-2.0"
dependencies = ["flwr"]
[tool.hatch.build.targets.wheel]
packages = ["."]
[tool.flwr.app]
publisher = "bench"
[tool.flwr.app.components]
serverapp = "one_merge.app:server"
clientapp = "one_merge.app:client"
[tool.flwr.app.config]
"""
APP = "from benchmarks.peers.adapters import flower\nclient = flower.client\nserver = flower.server\n"
CONNECTION = """[superlink]
default = "bench"
[superlink.bench]
address = "127.0.0.1:{port}"
root-certificates = "{root}"
"""

client = ClientApp()
server = ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    me = Participant(int(context.node_config["partition-id"]))
    round_ = int(message.content["config"]["server-round"]) - 1
    if round_:
        me.had(round_ - 1, message.content["arrays"].to_numpy_ndarrays())
    arrays = me.arrays(round_)
    if round_ < me.plan.all_rounds:
        me.gives(round_)
    told = {"arrays": ArrayRecord(arrays), "metrics": MetricRecord({"num-examples": 1})}
    return Message(content=RecordDict(told), reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    me = Participant(0)
    least = me.plan.peers - int(me.plan.killed_round is not None)
    while len(list(grid.get_node_ids())) < me.plan.peers:
        sleep(0.2)
    strategy = FedAvg(fraction_evaluate=0.0, min_train_nodes=least, min_available_nodes=least)
    strategy.start(grid, ArrayRecord(me.arrays(0)), me.plan.all_rounds + 1, train_config=ConfigRecord())


def run() -> int:
    me = Participant(0)
    home = me.place / "flwr"
    (app := me.place / "app" / "one_merge").mkdir(parents=True)
    (app / "__init__.py").touch()
    (app / "app.py").write_text(APP)
    (app.parent / "pyproject.toml").write_text(PROJECT)
    home.mkdir()
    port, *runtimes = free_ports(1 + me.plan.peers)
    tls = me.place / "tls"
    (home / "config.toml").write_text(CONNECTION.format(port=port, root=tls / "ca.pem"))
    environment = {
        **os.environ,
        "PATH": f"{TOOLS}:{os.environ['PATH']}",
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
    }
    files = ["--ssl-ca-certfile", tls / "ca.pem", "--ssl-certfile", tls / "cert.pem", "--ssl-keyfile", tls / "key.pem"]
    link = ["--host", "127.0.0.1", "--port", str(port), "--disable-runtime-dependency-installation"]
    _start(environment, "flower-superlink", *link, *files)
    wait_listening(port)
    for peer, runtime in enumerate(runtimes):
        marked = {**environment, PEER: str(peer)}
        node = ["--superlink", f"127.0.0.1:{port}", "--root-certificates", tls / "ca.pem", "--port", str(runtime)]
        _start(marked, "flower-supernode", *node, *files, "--node-config", f"partition-id={peer}")
    return subprocess.run(
        [TOOLS / "flwr", "run", app.parent, "bench", "--stream"], env=environment, check=False
    ).returncode


def _start(environment: dict[str, str], *command: Any) -> None:
    subprocess.Popen([TOOLS / command[0], *command[1:]], env=environment)


if __name__ == "__main__":
    sys.exit(run())
