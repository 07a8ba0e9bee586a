"""Handwritten digits with PyTorch, as programs for HPE Swarm Learning are written: its import path, its four hooks.

Environment variables: DATA_DIR, a folder with mnist*.npz (x_train y_train x_test y_test, as Keras' mnist.npz); without
one it trains on scikit-learn's 1,797 digits. MAX_EPOCHS, MIN_PEERS. SCRATCH_DIR, where the final model is saved.
"""

import os
from pathlib import Path

import numpy as np
import torch
from swarmlearning.pyt import SwarmCallback  # (swarm)
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BATCH = 32
SYNC_EVERY = 16  # batches


def load():
    """(x_train, y_train), (x_test, y_test), the images as rows of numbers from 0 to 1."""
    files = sorted(Path(os.environ.get("DATA_DIR", "app-data")).glob("mnist*.npz"))
    if files:
        with np.load(files[0]) as data:
            train, test = (data["x_train"], data["y_train"]), (data["x_test"], data["y_test"])
    else:
        from sklearn.datasets import load_digits

        digits = load_digits()
        train, test = (digits.images[360:], digits.target[360:]), (digits.images[:360], digits.target[:360])
    scale = train[0].max()
    return tuple(
        TensorDataset(torch.tensor(x.reshape(len(x), -1) / scale, dtype=torch.float32), torch.tensor(y).long())
        for x, y in (train, test)
    )


class Net(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.hidden = nn.Linear(inputs, 128)
        self.norm = nn.BatchNorm1d(128)
        self.dropout = nn.Dropout(0.2)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        return self.out(self.dropout(torch.relu(self.norm(self.hidden(x)))))


def main():
    epochs = int(os.environ.get("MAX_EPOCHS", "3"))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    train_set, test_set = load()
    peer, peers = int(os.environ.get("SWARM_PEER", "0")), int(os.environ.get("SWARM_PEERS", "1"))
    mine = torch.utils.data.Subset(train_set, range(peer, len(train_set), peers))  # at home it is all one has
    train_loader = DataLoader(mine, batch_size=BATCH, shuffle=True, drop_last=True)
    test_loader = DataLoader(test_set, batch_size=256)

    model = Net(train_set.tensors[0].shape[1]).to(device)
    optimizer = torch.optim.Adam(model.parameters())
    loss_function = nn.CrossEntropyLoss()

    swarm = SwarmCallback(  # (swarm)
        syncFrequency=SYNC_EVERY,
        minPeers=int(os.environ.get("MIN_PEERS", "2")),
        adsValData=test_loader,
        model=model,
        totalEpochs=epochs,
        lossFunction="CrossEntropyLoss",
        lossFunctionArgs={"reduction": "sum"},
        metricFunction="F1Score",
        metricFunctionArgs={"task": "multiclass", "num_classes": 10, "average": "micro"},
    )
    swarm.on_train_begin()  # (swarm)
    for epoch in range(epochs):
        model.train()
        for batch, (x, y) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = loss_function(model(x.to(device)), y.to(device))
            loss.backward()
            optimizer.step()
            swarm.on_batch_end(batch)  # (swarm)
        print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}", flush=True)
        swarm.on_epoch_end(epoch)  # (swarm)
    swarm.on_train_end()  # (swarm)

    model.eval()
    with torch.no_grad():
        right = sum((model(x.to(device)).argmax(1) == y.to(device)).sum().item() for x, y in test_loader)
    print(f"final model: accuracy {right / len(test_set):.3f}", flush=True)
    place = Path(os.environ.get("SCRATCH_DIR", ".")) / f"mnist_pyt-{peer}.pt"
    place.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), place)
    print(f"saved {place}", flush=True)


if __name__ == "__main__":
    main()
