"""The demo's parts without its processes: the split of the data, the digest of a saved model, what a worker says."""

import json
import subprocess
import sys

import numpy as np
import pytest

from swarm.core.events import Aborted, Committed, MemberReady, SnapMade
from swarm.core.tensors import Schema
from swarm.errors import BadInput, CheckFailed, ModelError
from swarm.nodes.demo import examples, play
from swarm.nodes.demo.digests import digest_of_file
from swarm.nodes.demo.watch import Watch
from swarm.nodes.local import Lines
from swarm.nodes.localrun import Ran
from swarm.runtime.authority import CertificateTree
from swarm.wire import tensorbytes


@pytest.fixture(scope="module")
def numbered():
    """1,000 examples of 10 classes; each is told by its first feature."""
    x = np.zeros((1000, 4), np.float32)
    x[:, 0] = np.arange(1000)
    return examples.Examples(x, np.arange(1000) % 10)


@pytest.mark.parametrize("peers", [2, 3, 7, 10])
def test_every_training_example_is_in_one_shard_and_no_test_example_in_any(numbered, peers):
    split = examples.split(numbered, peers, seed=3)
    drawn = [row for shard in split.shards for row in shard.x[:, 0]]
    assert len(drawn) == len(set(drawn)) == 800
    assert set(drawn) == set(split.pooled.x[:, 0])
    assert len(split.test) == 200
    assert not set(drawn) & set(split.test.x[:, 0])


def test_a_peer_holds_nearly_all_of_its_block_of_classes_and_a_little_of_the_others(numbered):
    split = examples.split(numbered, 2, seed=0)
    assert split.owned == ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
    for shard, owned in zip(split.shards, split.owned, strict=True):
        mine = np.isin(split.pooled.y, owned).sum()
        assert np.isin(shard.y, owned).sum() == pytest.approx((1 - examples.FOREIGN_SHARE) * mine, abs=5)
        assert 0 < (~np.isin(shard.y, owned)).sum() <= 2 * examples.FOREIGN_SHARE * mine


def test_the_seed_alone_decides_the_split(numbered):
    one, same, other = (examples.split(numbered, 2, seed) for seed in (5, 5, 6))
    assert np.array_equal(one.shards[0].x, same.shards[0].x)
    assert not np.array_equal(one.shards[0].x, other.shards[0].x)


def test_more_peers_than_classes_are_refused(numbered):
    with pytest.raises(BadInput, match="11 peers cannot share 10 classes"):
        examples.split(numbered, 11, seed=0)


def test_a_file_like_keras_mnist_is_read_as_rows_between_0_and_1(tmp_path):
    images = np.arange(20 * 4, dtype=np.uint8).reshape(20, 2, 2)
    np.savez(tmp_path / "m.npz", x_train=images[:16], y_train=np.arange(16) % 3, x_test=images[16:], y_test=[5] * 4)
    read = examples.load(str(tmp_path / "m.npz"))
    assert read.x.shape == (20, 4)
    assert read.x.dtype == np.float32
    assert read.x.max() == 1
    assert set(read.y) == {0, 1, 2, 3}  # 5 is the fourth


def test_a_dataset_that_is_none_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        examples.load(str(tmp_path / "no.npz"))
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(BadInput, match="cannot be read"):
        examples.load(str(tmp_path / "text.npz"))
    np.savez(tmp_path / "keys.npz", x_train=[1])
    with pytest.raises(BadInput, match="has no array 'y_train'"):
        examples.load(str(tmp_path / "keys.npz"))


def test_the_digest_of_a_file_is_that_of_the_canonical_bytes(tmp_path):
    arrays = {"0:dense/kernel": np.ones((3, 5), np.float32), "1:dense/bias": np.zeros(5, np.float32)}
    np.savez(tmp_path / "weights.npz", **arrays)
    schema = Schema.of(arrays)
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    assert digest_of_file(tmp_path / "weights.npz", "sha256") == tensorbytes.digest(schema, buffer, "sha256")
    arrays["1:dense/bias"][0] = 1e-30
    np.savez(tmp_path / "other.npz", **arrays)
    assert digest_of_file(tmp_path / "other.npz", "sha256") != digest_of_file(tmp_path / "weights.npz", "sha256")


def test_a_weights_file_that_is_missing_is_a_model_error(tmp_path):
    with pytest.raises(ModelError, match=r"weights\.npz cannot be read"):
        digest_of_file(tmp_path / "weights.npz", "sha256")


def test_lines_are_read_when_they_are_complete(tmp_path):
    lines = Lines(tmp_path / "report.jsonl")
    assert lines.new() == []
    with lines.path.open("a") as file:
        file.write('{"a": 1}\n{"a"')
        file.flush()
        assert lines.new() == [{"a": 1}]
        file.write(": 2}\n")
        file.flush()
        assert lines.new() == [{"a": 2}]


def test_what_a_worker_says_becomes_what_the_view_shows(tmp_path):
    seen = play.Seen(Lines(tmp_path / "progress.jsonl"), tmp_path / "weights.npz")
    said = [
        {"event": "begun", "phase": "alone", "epochs": 3},
        {"event": "epoch", "phase": "alone", "epoch": 1, "loss": 0.5, "accuracy": 0.4},
        {"event": "done", "phase": "alone", "accuracy": 0.45, "seconds": 1.0},
        {"event": "begun", "phase": "swarm", "epochs": 3},
    ]
    seen.progress.path.write_text("".join(json.dumps(line) + "\n" for line in said))
    assert seen.look()
    assert (seen.phase, seen.epoch, seen.reached) == ("swarm", 0, {"alone": 0.45})
    assert not seen.look()


def ran(**changes):
    facts = {
        "rounds": 3,
        "ledger_digest": "blake3:aa",
        "digests": {"peer-1": "blake3:aa"},
        "bytes_sent": {"peer-1": 1},
        "round_s": None,
        "processes": [{"name": "sn-1", "role": "SN", "pid": 1, "exit_code": 0}],
        "exit_codes": {"sn-1": 0},
    }
    return Ran(**{**facts, **changes})


def process(code):
    return [{"name": "sn-1", "role": "SN", "pid": 1, "exit_code": code}]


def test_a_run_fails_its_checks_by_a_digest_an_exit_code_or_a_process_left():
    assert ran().failure() is None
    for changed, sentence in [
        (ran(processes=process(None)), "sn-1 (process 1) is still running"),
        (ran(processes=process(137)), "sn-1 ended with exit code 137, expected 0"),
        (ran(digests={"peer-1": "blake3:bb"}), "peer-1 ended with the model blake3:bb, the ledger says blake3:aa"),
    ]:
        failure = changed.failure()
        assert isinstance(failure, CheckFailed)
        assert failure.message == sentence


def test_a_missing_extra_is_told_with_the_line_that_installs_it(monkeypatch):
    absent = {"tensorflow", "sklearn"}
    monkeypatch.setattr(play, "find_spec", lambda name: None if name in absent else object())
    with pytest.raises(BadInput, match="swarm demo needs tensorflow and scikit-learn, which are not") as caught:
        play.check_installed("digits")
    assert caught.value.hint == "pip install 'swarm-learning[demo]'"
    with pytest.raises(BadInput, match="needs tensorflow, which is not installed"):
        play.check_installed("mine.npz")


def test_the_watch_says_which_round_is_in_flight_and_how_far_it_is(tmp_path):
    watch = Watch(CertificateTree(tmp_path, "1"), ("127.0.0.1", 1), tmp_path / "watch")
    seen = []
    for event in (
        SnapMade("demo", 7, 0, (), (), "broadcast", "b"),
        MemberReady("demo", 7, 0, "uid"),
        Committed("demo", 7, 0, "d", (), (), False),
        SnapMade("demo", 8, 0, (), (), "broadcast", "d"),
        Aborted("demo", 8, "too few"),
    ):
        watch.on_event(event)
        seen.append((watch.round, watch.phase, watch.commits, watch.in_flight(0)))
    assert seen == [
        (7, "merging", 0, True), (7, "ready", 0, True), (7, "", 1, False), (8, "merging", 1, True), (8, "", 1, False),
    ]  # fmt: skip


def test_chaos_takes_three_of_each_unless_more_are_asked_for():
    usual = play.settings(None, None, None, "digits", 0, chaos=True)
    assert (usual.peers, usual.sns, usual.patience_s) == (3, 3, "60")
    more = play.settings(5, None, None, "digits", 0, chaos=True)
    assert (more.peers, more.sns) == (5, 3)
    calm = play.settings(None, None, None, "digits", 0, chaos=False)
    assert (calm.peers, calm.sns, calm.patience_s) == (2, 2, "20")
    with pytest.raises(BadInput, match="2 peers and 3 network nodes cannot do without one of them"):
        play.settings(2, None, None, "digits", 0, chaos=True)


@pytest.mark.slow
def test_no_thread_tunes_the_workers_pipelines():
    """Which sleeps up to a minute, and the end of a training may wait for it."""
    program = (
        "import numpy as np\n"
        "from swarm.nodes.demo.worker import batches\n"
        "made = batches(np.zeros((8, 2), np.float32), np.zeros(8, np.int64), 0)\n"
        "print(made.options().autotune.enabled, made.cardinality().numpy())\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=200)
    assert ended.stdout == "False -1\n", ended.stderr
