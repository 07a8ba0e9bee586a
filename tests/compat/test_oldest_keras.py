"""The oldest TensorFlow and Keras 3 that the callback supports, in an environment of their own from the registry.

The test makes it (half a gigabyte, once: it is kept in a cache directory of the user and found again by its pins).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.runtime.importpath import with_import_path
from tests.runtime.channel_node import running
from tests.test_documents import ROOT

PINS = ("tensorflow-cpu==2.16.2", "keras==3.3.3", "numpy==1.26.4", "protobuf==4.25.3")
BASE = ("msgpack", "click", "rich")
PROGRAM = """
import numpy as np
import tensorflow as tf
from swarmlearning.tf import SwarmCallback

x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
model = tf.keras.Sequential([tf.keras.layers.Dense(4, input_shape=(3,)), tf.keras.layers.BatchNormalization(),
                             tf.keras.layers.Dense(1)])
model.compile(optimizer=tf.keras.optimizers.SGD(lr=0.01, decay=0.001), loss="mse", metrics=["mae"])
swarm = SwarmCallback(4, 2, adsValData=(x, x.sum(axis=1)), totalEpochs=2, checkpoint_dir="kept")
model.fit(x, x.sum(axis=1), batch_size=4, epochs=2, verbose=0, callbacks=[swarm])
model.save("saved")
same = tf.keras.models.load_model("saved")
print("versions", tf.__version__, tf.keras.__version__)
print("equal", all(np.array_equal(a, b) for a, b in zip(model.get_weights(), same.get_weights())))
print("weights", sorted({float(w) for one in model.get_weights() for w in one.ravel()})[:3])
"""


def make(place: Path) -> Path:
    """Its Python; raises CalledProcessError where the registry does not answer."""
    python = place / "bin" / "python"
    if (place / "made").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", place], check=True, timeout=60)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINS, *BASE]
    subprocess.run(pip, check=True, capture_output=True, timeout=240)
    (place / "made").touch()
    return python


@pytest.fixture(scope="module")
def python():
    if sys.version_info[:2] > (3, 12):
        pytest.skip("TensorFlow 2.16 is not made for this Python")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "swarm-tests"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        return make(cache / f"{'-'.join(PINS)}-py{sys.version_info[0]}{sys.version_info[1]}".replace("=", ""))
    except (subprocess.SubprocessError, OSError) as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"the registry did not give the oldest versions: {error}")


def run(python, cwd, **environment):
    own = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [python, "-c", PROGRAM], cwd=cwd, env=with_import_path(own) | environment, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_it_trains_alone_and_against_a_learning_node(python, tmp_path):
    said = run(python, tmp_path, SWARM_LOOPBACK="true")
    assert "versions 2.16.2 3.3.3\nequal True\n" in said
    with running(tmp_path / "channel") as started:
        started.node.merge = lambda arrays: {name: array * 0 + 0.5 for name, array in arrays.items()}
        said = run(python, tmp_path, **started.environment)
        assert [request.batches for request in started.node.syncs] == [0, 4, 8, 12, 16, 20, 20]
        assert len({name for name, *_ in started.node.opens[0].schema}) == 8
    assert "equal True\nweights [0.5]\n" in said
    assert "All peers and Swarm training rounds finished. Final Swarm model was loaded." in said
    assert said.count("merged model: loss ") == 6
