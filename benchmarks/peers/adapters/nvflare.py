"""NVFlare: a provisioned project of one server and a site for each participant, mutual TLS, `NumpyFedAvgRecipe`.

Real processes as `nvflare poc` makes them; the training program uses the Client API in the site's job process. A
participant has the merge of a round in the task that begins the next, so there is one more, which only delivers. The
recipe's model is one array: its numpy persistor takes no more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import nvflare.client as flare
from nvflare.app_common.np.recipes import NumpyFedAvgRecipe
from nvflare.fuel.flare_api.flare_api import new_secure_session
from nvflare.recipe import ProdEnv

from benchmarks.peers.participant import PEER, START_S, Participant, wait_listening

ADMIN = "admin@nvidia.com"
LOGIN_S = 90.0
PORT = 8002
"""Of the server, as `nvflare poc` has it."""


def participate() -> None:
    flare.init()
    me = Participant(int(flare.get_site_name().rpartition("-")[2]) - 1)
    round_ = 0
    while flare.is_running():
        task = flare.receive()
        if task is None:
            return
        if round_:
            me.had(round_ - 1, [task.params["numpy_key"]])
        whole = np.concatenate(me.arrays(round_))
        if round_ < me.plan.all_rounds:
            me.gives(round_)
        flare.send(flare.FLModel(params={"numpy_key": whole}, params_type=flare.ParamsType.FULL, metrics={}))
        round_ += 1


def run() -> int:
    me, tools = Participant(0), Path(sys.executable).parent
    plan, project = me.plan, me.place / "poc"
    environment = {
        **os.environ,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "HOME": str(me.place),
        "NVFLARE_POC_WORKSPACE": str(project),
    }
    os.environ.update(environment)
    prepare = [str(tools / "nvflare"), "poc", "prepare", "-n", str(plan.peers), "--force"]
    subprocess.run(prepare, env=environment, check=True)
    kits = project / "example_project" / "prod_00"
    for name, marks in [("server", {}), *((f"site-{peer + 1}", {PEER: str(peer)}) for peer in range(plan.peers))]:
        subprocess.run(["bash", kits / name / "startup" / "start.sh"], env={**environment, **marks}, check=True)
        wait_listening(PORT)
    everybody_there(kits / ADMIN, plan.peers)
    (program := me.place / "train.py").write_text(
        "from benchmarks.peers.adapters.nvflare import participate\nparticipate()\n"
    )
    recipe = NumpyFedAvgRecipe(
        name="merge",
        initial_ckpt=str(me.place / "own-0.npy"),
        min_clients=plan.peers - int(plan.killed_round is not None),
        num_rounds=plan.all_rounds + 1,
        train_script=str(program),
    )
    done = recipe.execute(ProdEnv(startup_kit_location=str(kits / ADMIN), login_timeout=LOGIN_S))
    done.get_result()
    return 0


def everybody_there(kit: Path, peers: int) -> None:
    """Until all sites are logged in: a job that comes before them fails."""
    until = monotonic() + START_S
    session = new_secure_session(ADMIN, str(kit), timeout=LOGIN_S)
    while len(session.get_system_info().client_info) < peers:
        if monotonic() > until:
            raise TimeoutError(f"not all {peers} sites are logged in after {START_S:g} s")
        sleep(1)
    session.close()


if __name__ == "__main__":
    sys.exit(run())
