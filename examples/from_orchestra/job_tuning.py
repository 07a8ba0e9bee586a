"""One job of the sweep: what one configuration comes to, as orchestra's job scripts are called.

    python job_tuning.py -d DATA -c CONFIG -o OUTPUT [-m MEETING]

With -m it says who it is in the pipe MEETING/arrived and goes on when it has read a byte from MEETING/go.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import swarm

parser = argparse.ArgumentParser()
for flag in "dcom":
    parser.add_argument(f"-{flag}", type=Path)
said = parser.parse_args()
config = json.loads(said.c.read_text())
data = np.load(said.d)
print("config", said.c.name, "gpu", os.environ["CUDA_VISIBLE_DEVICES"], flush=True)
child = subprocess.Popen(["sleep", "1000"]) if said.m else None  # what a program leaves running
if said.m:
    with open(said.m / "arrived", "w") as arrived:
        arrived.write(f"{os.environ['SWARM_JOB']} {os.environ['SWARM_ATTEMPT']} {os.getpid()} {child.pid}\n")
    with open(said.m / "go", "rb", buffering=0) as go:
        go.read(1)
if "needs" in config and not Path(config["needs"]).exists():
    sys.exit(f"{config['needs']} is not there")

errors = []
for fold in range(config["folds"]):
    held = np.arange(data["x"].size) % config["folds"] == fold
    fitted = np.polynomial.Polynomial.fit(data["x"][~held], data["y"][~held], config["degree"])
    errors.append(float(np.mean((fitted(data["x"][held]) - data["y"][held]) ** 2)))
swarm.log_metrics({"error": float(np.mean(errors))})
(said.o / "result.json").write_text(json.dumps({"config": said.c.name, "error": float(np.mean(errors))}))
