"""Checkpoints: whole or absent whenever the program is killed; what a program that is started again goes on from."""

from __future__ import annotations

import errno
import logging
import os
import random
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import ml_dtypes
import msgpack
import numpy as np
import pytest

from swarm import Swarm
from swarm.callbacks import checkpoint as module
from swarm.callbacks.checkpoint import Checkpoint, Checkpoints
from swarm.errors import BadInput

WEIGHTS = {
    "f16": np.array([1.5, -0.0], np.float16),
    "bf16": np.array([[1.5], [3e38]], ml_dtypes.bfloat16),
    "f32": np.float32(3.25).reshape(()),
    "f64": np.array([np.pi, np.nan]),
    "i64": np.array(2**62 + 1),
    "flags": np.array([[True, False]]),
    "empty": np.zeros((0, 3), np.float32),
}
WRITER = """
import logging, sys
from pathlib import Path
import numpy as np
from swarm.callbacks.checkpoint import Checkpoint, Checkpoints
kept = Checkpoints(Path(sys.argv[1]), logging.getLogger())
for n in range(1, 10**6):
    arrays = {"w": np.full(200_000, n, np.int64)}
    kept.write(Checkpoint("c", "b", n, n, 0, False, arrays, arrays))
    print(n, flush=True)
"""


def checkpoint(number: int = 1, **fields) -> Checkpoint:
    given = {"weights": WEIGHTS, "optimizer": {"m": np.ones(3)}, "finished": False, **fields}
    return Checkpoint(contract="demo", base="blake3:01", round=number, batches=4 * number, epochs=number, **given)


@pytest.fixture
def kept(tmp_path, log):
    return Checkpoints(tmp_path / "kept", logging.getLogger("test.checkpoint"))


def files(kept: Checkpoints) -> list[str]:
    return sorted(path.name for path in kept.path.iterdir())


def test_what_was_written_comes_back_bit_for_bit(kept):
    assert kept.newest() is None
    kept.write(checkpoint())
    read = kept.newest()
    for name, array in WEIGHTS.items():
        assert (read.weights[name].dtype, read.weights[name].shape) == (array.dtype, array.shape)
        assert read.weights[name].tobytes() == array.tobytes()
    assert (read.optimizer["m"] == 1).all()
    assert (read.contract, read.base, read.round, read.batches, read.epochs) == ("demo", "blake3:01", 1, 4, 1)
    kept.write(checkpoint(2, optimizer={}, finished=True))
    assert (kept.newest().optimizer, kept.newest().finished) == ({}, True)


def test_the_last_two_are_kept_and_nothing_half_written(kept):
    for number in range(1, 6):
        kept.write(checkpoint(number))
    assert files(kept) == ["checkpoint-00000004.swarm", "checkpoint-00000005.swarm", "lock"]
    (kept.path / "checkpoint.part").write_bytes(b"half")
    again = Checkpoints(kept.path, logging.getLogger("test.checkpoint"))
    assert files(again)[-1] == "lock"
    assert again.newest().round == 5


def test_a_torn_or_damaged_file_is_skipped_with_one_line_and_the_one_before_is_used(kept, log):
    kept.write(checkpoint(1))
    kept.write(checkpoint(2))
    last = kept.path / "checkpoint-00000002.swarm"
    whole = last.read_bytes()
    damaged = [whole[:length] for length in range(len(whole))]
    damaged += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for data in damaged:
        last.write_bytes(data)
        log.clear()
        assert kept.newest().round == 1
        assert len(log.messages) == 1
        assert log.messages[0].startswith("checkpoint checkpoint-00000002.swarm is not used: it ")
    last.write_bytes(whole + b"more")
    assert kept.newest().round == 1
    last.write_bytes(whole)
    assert kept.newest().round == 2


@pytest.mark.parametrize(
    "head",
    [
        None, 7, [], {}, {"weights": [], "optimizer": []}, {"weights": 3, "optimizer": []},
        {"weights": [["w", "float32", [4]]], "optimizer": []},
        {"weights": [], "optimizer": [], "contract": 1, "base": "", "round": 0, "batches": 0, "epochs": 0,
         "finished": False},
        {"weights": [], "optimizer": [], "contract": "", "base": "", "round": 0, "batches": 0, "epochs": 0,
         "finished": False, "more": 1},
    ],
)  # fmt: skip
def test_a_file_whose_checksum_is_right_and_that_is_no_checkpoint_is_skipped(kept, log, head):
    kept.write(checkpoint(1))
    packed = msgpack.packb(head)
    crc = zlib.crc32(packed, len(packed))
    raw = b"swarm checkpoint 1\n" + struct.pack(">II", len(packed), crc) + packed
    (kept.path / "checkpoint-00000002.swarm").write_bytes(raw)
    assert kept.newest().round == 1
    assert len(log.messages) == 1
    assert log.messages[0].startswith("checkpoint checkpoint-00000002.swarm is not used: ")


def test_a_program_that_is_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path, log):
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    drawn = random.Random(seed)
    directory = tmp_path / "kept"
    written = 0
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE, text=True) as process:
            for _ in range(drawn.randrange(2, 40)):
                written = int(process.stdout.readline())
            process.kill()
            written = max([written, *(int(line) for line in process.stdout)])
        newest = Checkpoints(directory, logging.getLogger("test.checkpoint")).newest()
        os.close(module._locks.pop(directory))
        assert newest.round in (written, written + 1)
        assert (newest.weights["w"] == newest.round).all()
        assert (newest.optimizer["w"] == newest.round).all()
        assert log.messages == []


def test_a_full_disk_is_said_once_and_the_one_before_is_kept(kept, log, monkeypatch):
    kept.write(checkpoint(1))

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", full)
        kept.write(checkpoint(2))
        kept.write(checkpoint(3))
    assert log.messages == [
        f"no checkpoint could be written to {kept.path}: No space left on device; training goes on, and the one before "
        "is kept"
    ]
    assert kept.newest().round == 1
    assert "checkpoint.part" not in files(kept)
    kept.write(checkpoint(4))
    assert kept.newest().round == 4


def test_a_directory_that_cannot_be_used_is_said_before_anything_is_trained(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match=r"the checkpoint directory .*file cannot be used: File exists"):
        Checkpoints(tmp_path / "file", logging.getLogger("test.checkpoint"))
    with pytest.raises(BadInput, match="checkpoint_dir has to be the path of a directory, received 5"):
        Swarm(minPeers=1, checkpoint_dir=5)


def test_two_programs_do_not_write_into_one_directory(tmp_path):
    directory = tmp_path / "kept"
    with subprocess.Popen([sys.executable, "-c", WRITER, directory], stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        with pytest.raises(BadInput, match=f"another process writes its checkpoints to {directory}") as refused:
            Checkpoints(directory, logging.getLogger("test.checkpoint"))
        assert "SWARM_PEER" in refused.value.hint
        process.kill()
    Checkpoints(directory, logging.getLogger("test.checkpoint"))


# ---- going on from one


def swarm(tmp_path: Path, **options) -> Swarm:
    logger = logging.getLogger("test.checkpoint")
    return Swarm(minPeers=2, trainingContract="demo", checkpoint_dir=tmp_path / "kept", logger=logger, **options)


def train(tmp_path: Path, *, to: int = 8) -> None:
    """Sync at 4 and 8 batches; then the program is gone."""
    peer = swarm(tmp_path)
    weights = peer.start({"w": np.zeros(2)})
    for step in range(4, to + 1, 4):
        peer.optimizer = {"m": np.full(3, step)}
        weights = peer.sync({"w": weights["w"] + 1}, batches=step, epochs=step // 4)
    peer.close()


def resumed(log) -> str:
    (line,) = [line for line in log.messages if line.startswith("resumed from the checkpoint")]
    return line


def bases(*digests: str):
    return lambda number, request: {"digest": digests[number - 1], "round": number - 1}


def test_a_program_goes_on_with_counters_and_optimizer_from_the_swarms_model(node, tmp_path, log):
    node.answer = bases("b0", "b1", "b2", "b5")
    train(tmp_path)
    node.merge = lambda arrays: {"w": np.full(2, 50.0)}
    peer = swarm(tmp_path)
    assert (peer.batches_done, peer.epochs_done) == (8, 2)
    weights = peer.start({"w": np.zeros(2)})
    assert (weights["w"] == 50).all()
    assert (peer.optimizer["m"] == 8).all()
    assert (peer.batches_done, peer.epochs_done) == (8, 2)
    assert node.syncs[-1].batches == 8
    assert resumed(log) == (
        "resumed from the checkpoint of round 2, after 8 batches and 2 epochs, with the swarm's weights of round 3 "
        "and its optimizer state"
    )
    peer.close()


def test_what_was_trained_from_the_model_that_the_swarm_still_has_is_kept(node, tmp_path, log):
    node.answer = lambda number, request: {"digest": "b0", "round": number, "how": "kept" if number == 3 else "merged"}
    train(tmp_path)
    peer = swarm(tmp_path)
    weights = peer.start({"w": np.full(2, 9.0)})
    assert (weights["w"] == 2).all()  # sync 4 was merged, sync 8 was aborted: its weights were kept
    assert "with its weights and its optimizer state" in resumed(log)
    peer.close()


def test_what_was_kept_while_others_went_on_is_not_taken_for_trained_from_their_model(node, tmp_path, log):
    rounds = [("b0", "merged"), ("b1", "merged"), ("b2", "kept"), ("b2", "merged")]
    node.answer = lambda number, request: dict(zip(("digest", "how"), rounds[number - 1], strict=True))
    train(tmp_path)  # from b1 on; b2 was made by the others, and the round on it came to nothing
    node.merge = lambda arrays: {"w": np.full(2, 50.0)}
    peer = swarm(tmp_path)
    assert (peer.start({"w": np.zeros(2)})["w"] == 50).all()
    assert "with the swarm's weights" in resumed(log)
    peer.close()


def test_where_the_swarm_has_no_model_yet_the_checkpoints_weights_go_into_the_first_merge(node, tmp_path, log):
    train(tmp_path)
    peer = swarm(tmp_path)
    peer.start({"w": np.full(2, 9.0)})
    assert (node.received[-1]["w"] == 2).all()
    peer.close()


def test_sync_points_stay_at_multiples_after_a_resumption(node, tmp_path):
    train(tmp_path)
    peer = swarm(tmp_path, syncFrequency=4)
    peer.start({"w": np.zeros(2)})
    peer.sync({"w": np.zeros(2)})
    assert node.syncs[-1].batches == 12
    peer.close()


@pytest.mark.parametrize(
    ("weights", "contract", "said"),
    [
        ({"w": np.zeros(3)}, "demo", r'tensor 1: it has "w" float64 \(2,\), this model has "w" float64 \(3,\)'),
        ({"v": np.zeros(2)}, "demo", r'tensor 1: it has "w"'),
        ({"w": np.zeros(2)}, "other", "contract demo"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused_and_stays(node, tmp_path, weights, contract, said):
    train(tmp_path)
    before = sorted(path.name for path in (tmp_path / "kept").iterdir())
    opens = len(node.opens)
    peer = Swarm(minPeers=2, trainingContract=contract, checkpoint_dir=tmp_path / "kept")
    with pytest.raises(BadInput, match=f"the checkpoint in .*kept is of another training: {said}") as refused:
        peer.start(weights)
    assert "checkpoint_dir of its own" in refused.value.hint
    assert len(node.opens) == opens
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == before
    peer.close()


def test_after_a_training_that_has_ended_the_next_begins_anew(node, tmp_path, log):
    with swarm(tmp_path) as peer:
        peer.finish(peer.sync(peer.start({"w": np.zeros(2)}), batches=4))
    with swarm(tmp_path) as peer:
        assert peer.batches_done == 0
        peer.start({"w": np.full(2, 9.0)})
    assert (node.received[-1]["w"] == 9).all()
    assert not [line for line in log.messages if line.startswith("resumed")]


def test_alone_a_checkpoint_directory_has_no_effect_and_that_is_said(tmp_path, monkeypatch, log):
    monkeypatch.setenv("SWARM_LOOPBACK", "true")
    with swarm(tmp_path) as peer:
        peer.sync(peer.start({"w": np.zeros(2)}))
    assert not (tmp_path / "kept").exists()
    assert "checkpoint_dir has no effect in loopback mode" in log.messages


def test_the_file_is_no_pickle(kept):
    kept.write(checkpoint())
    data = (kept.path / "checkpoint-00000001.swarm").read_bytes()
    assert data.startswith(b"swarm checkpoint 1\n")
    assert not re.search(rb"numpy|__reduce__|\x80[\x03-\x05]c", data)
