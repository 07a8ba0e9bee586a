"""Benign or malignant: a logistic regression of two hospitals on scikit-learn's breast cancer table (569 patients).

Environment variables: MAX_EPOCHS, MIN_PEERS, and SCRATCH_DIR, where the final weights are saved.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import SGDClassifier
from swarmlearning.sklearn import SwarmCallback, SwarmSklearnTrainer  # (swarm)

BATCH = 16
SYNC_EVERY = 8  # batches
CLASSES = np.array([0, 1])


def load():
    """x_train, y_train, x_test, y_test; columns scaled by numbers that all hospitals have agreed on."""
    x, y = load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    order = np.random.default_rng(0).permutation(len(x))
    x, y = x[order], y[order]
    return x[114:], y[114:], x[:114], y[:114]


def main():
    epochs = int(os.environ.get("MAX_EPOCHS", "5"))
    peer, peers = int(os.environ.get("SWARM_PEER", "0")), int(os.environ.get("SWARM_PEERS", "1"))
    x, y, x_test, y_test = load()
    x, y = x[peer::peers], y[peer::peers]  # at home it is all one has

    model = SGDClassifier(loss="log_loss", random_state=peer)
    swarm = SwarmCallback(  # (swarm)
        syncFrequency=SYNC_EVERY,
        minPeers=int(os.environ.get("MIN_PEERS", "2")),
        adsValData=(x_test, y_test),
        totalEpochs=epochs,
        model=model,
        lossFunction="log_loss",
        metricFunction="roc_auc_score",
    )
    trainer = SwarmSklearnTrainer(swarmCallback=swarm, model=model)  # (swarm)
    trainer.fit(x, y, batch_size=BATCH, epochs=epochs, classes=CLASSES)

    print(f"final model: accuracy {model.score(x_test, y_test):.3f}", flush=True)
    place = Path(os.environ.get("SCRATCH_DIR", ".")) / f"cancer-{peer}.npz"
    place.parent.mkdir(parents=True, exist_ok=True)
    np.savez(place, coef=model.coef_, intercept=model.intercept_)
    print(f"saved {place}", flush=True)


if __name__ == "__main__":
    main()
