"""The quality bench in short: it merges as the product does, repeats to the bit, and shows what its page says."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import __main__ as command
from benchmarks.quality import data, poisoning, sent, whitepaper
from benchmarks.quality.attacks import ATTACKS, NONE, alie, sign_flip
from benchmarks.quality.network import Network
from benchmarks.quality.rounds import Rounds, Terms
from benchmarks.quality.running import EXPERIMENTS
from benchmarks.quality.training import Outcome, Setting, Training
from swarm.core.merge import METHODS
from swarm.core.outer import Nesterov
from swarm.nodes.bench import central

ROOT = Path(__file__).resolve().parents[2]
SEEDS = 2
SKEWED = Setting(peers=10, rounds=20, steps=20, alpha=0.3)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def trained(digits, method, attack=NONE, seeds=SEEDS, **changes) -> Outcome:
    terms = Terms(method, max_faulty=attack.told)
    return Training(digits, replace(SKEWED, terms=terms, attack=attack, **changes), seeds).run()


def named(name):
    return next(attack for attack in ATTACKS if attack.name == name)


def test_under_sign_flip_the_mean_collapses_and_robust_methods_do_not(digits) -> None:
    clean = trained(digits, "mean").curve[:, -1]
    attack = named("2/10 sign flip ×4")
    assert (trained(digits, "mean", attack).curve[:, -1] < clean / 2).all()
    for method in ("nnm+trimmedmean", "multikrum"):
        ended = trained(digits, method, attack).curve[:, -1]
        assert ended.mean() > clean.mean() - 0.05, (method, ended, clean)


def test_a_seed_gives_the_same_bits_again_and_whatever_seeds_run_beside_it(digits) -> None:
    short = {"rounds": 3, "attack": named("3/10 noise")}
    first = trained(digits, "geomedian", **short)
    again = trained(digits, "geomedian", **short)
    alone = trained(digits, "geomedian", **short, seeds=1)
    assert first.digests == again.digests
    assert first.digests[:1] == alone.digests
    assert len(set(first.digests)) == SEEDS
    assert np.array_equal(first.curve[:1], alone.curve)


@pytest.mark.parametrize("method", ["mean", "coordmedian", "nnm+trimmedmean"])
@pytest.mark.parametrize("wire", ["fp32", "int8"])
def test_what_is_merged_is_what_other_code_finds_in_one_place(method, wire) -> None:
    network, random = Network(64, 10), np.random.default_rng(5)
    base = network.initial(1)
    offered = [base + 0.01 * random.standard_normal(base.shape).astype(np.float32) for _ in range(5)]
    rounds = Rounds(network.schema, Terms(method, wire), base)
    rounds.merge(offered)

    def by_name(model):
        tensors = network.tensors(model[None])
        return {spec.name: tensor[0] for spec, tensor in zip(network.schema.tensors, tensors, strict=True)}

    models = [by_name(model) for model in (base, *offered)]
    if wire != "fp32":
        models[1:] = [central.as_sent(wire, model, models[0]) for model in models[1:]]
    merged = dict(zip(models[0], central.merged(method, models[1:]), strict=True))
    if wire != "fp32":
        merged = central.as_sent(wire, merged, models[0])
    for name, found in by_name(rounds.base).items():
        assert np.array_equal(found, merged[name]), name


def test_an_outer_step_follows_the_merge_and_its_momentum_is_in_the_digest() -> None:
    network = Network(64, 10)
    base = network.initial(1)
    plain, stepped, with_momentum = (
        Rounds(network.schema, Terms(outer=outer), base) for outer in (None, Nesterov(1.0, 0.0), Nesterov(0.7, 0.9))
    )
    for rounds in (plain, stepped, with_momentum):
        rounds.merge([base + 1, base + 1])
    for rounds, gained in ((plain, 1.0), (with_momentum, 0.7 * 1.9)):
        for found, before in zip(network.tensors(rounds.base[None]), network.tensors(base[None]), strict=True):
            assert np.allclose(found, before + gained)
    assert np.array_equal(stepped.base, plain.base)
    assert stepped.digest() != plain.digest()


def test_bytes_are_those_of_the_products_wire_form() -> None:
    network = Network(64, 10)
    sent_by = {
        wire: Rounds(network.schema, Terms(wire=wire), network.initial(0)).bytes_sent(4, 1) for wire in sent.WIRES
    }
    # The first round as the model is. 2,410 elements in four tensors, each from a multiple of 64 on, or else of 8.
    whole, halves, bytes_and_scales = 8192 + 128 + 1280 + 64, 4096 + 64 + 640 + 24, 2056 + 40 + 328 + 16
    forms = {"fp32": whole, "bf16": halves, "int8": bytes_and_scales}
    assert sent_by == {wire: (whole + form) * 6 // 4 for wire, form in forms.items()}


def test_every_example_is_in_the_test_set_or_with_one_peer_and_skew_is_skew(digits) -> None:
    def most(split):
        """What part of a class its greatest holder has, on average."""
        held = np.array([np.bincount(digits.y[rows], minlength=10) for rows in split.peers])
        return (held.max(0) / held.sum(0)).mean()

    splits = [data.shards(digits.y, 5, alpha, 3) for alpha in (None, 100.0, 0.1)]
    for split in splits:
        assert sorted(np.concatenate([split.test, *split.peers])) == list(range(len(digits.y)))
        assert min(len(rows) for rows in split.peers) >= data.FEWEST
        assert np.array_equal(split.test, splits[0].test)
    alike, nearly, skewed = map(most, splits)
    assert alike < 0.4
    assert nearly < 0.4
    assert skewed > 0.6


def test_attackers_offer_what_they_are_said_to_offer() -> None:
    base = np.array([1.0, 2.0], np.float32)
    models = np.array([[2.0, 2.0], [5.0, 6.0], [7.0, 8.0]], np.float32)
    assert sign_flip(base, models, 1, np.random.default_rng(0)).tolist() == [[-3.0, 2.0]]
    assert alie(base, models, 1, np.random.default_rng(0)).tolist() == [[4.5, 5.5]]  # 6 and 7, deviation 1
    network = Network(2, 10)
    right, wrong = network.initial(0)[None], network.initial(0)[None]
    x = np.ones((1, 4, 2), np.float32)
    for _ in range(50):
        network.step(right, x, np.full((1, 4), 2), 0.5)
        network.step(wrong, x, np.full((1, 4), 9 - 2), 0.5)
    said = [network.accuracies(models, x[0], np.full(4, 2))[0] for models in (right, wrong)]
    assert said == [1.0, 0.0]


def test_rows_are_read_off_at_their_epochs_and_goals() -> None:
    curve = np.array([[0.1 * upto for upto in range(1, 21)], [0.5] * 20])
    outcome = Outcome(curve, curve[:, -1:], tuple(range(1000, 21_000, 1000)), ())
    rows = whitepaper.read({}, Setting(6, 20, 10), outcome)
    assert [(row.labels["epochs"], row.values["accuracy"][0]) for row in rows] == [
        ("2", pytest.approx(0.4)), ("5", 1.0), ("10", 2.0)
    ]  # fmt: skip
    (row,) = sent.read({}, Setting(5, 20, 1), outcome)
    assert row.values["kb_to_goal"] == [10.0, None]
    assert row.values["kb"] == [20.0, 20.0]


def test_the_experiments_have_the_settings_of_their_protocols() -> None:
    settings = {name: [setting for _, setting in one.cases(10_000)] for name, one in EXPERIMENTS.items()}
    assert [len(settings[name]) for name in ("alone", "poisoning", "bytes", "whitepaper")] == [9, 84, 24, 12]
    assert {(one.peers, one.rounds, one.steps) for one in settings["poisoning"]} == {(10, 40, 20)}
    assert {one.rounds * one.steps for one in settings["bytes"]} == {800}
    assert {(one.peers, one.rounds * one.steps) for one in settings["whitepaper"]} == {(6, 400), (12, 200)}
    assert set(poisoning.METHODS) == set(METHODS) - {"krum"}


@pytest.mark.slow
def test_the_command_prints_a_line_of_json_and_the_swarm_beats_whoever_is_alone() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.quality", "alone", "--seeds", "1", "--json"],
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert (said["experiment"], said["dataset"], said["examples"], said["seeds"]) == ("alone", "digits", 1797, 1)
    found = {(row["skew"], row["who"]): row["accuracy"] for row in said["rows"]}
    assert len(found) == 12
    for skew in ("Dirichlet(0.5)", "Dirichlet(0.1)"):
        assert found[skew, "swarm"][0] > found[skew, "alone, mean"][0] + 0.1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["merging"], 'there is no experiment "merging", expected alone, poisoning, bytes, whitepaper'),
        (["alone", "--seeds", "0"], "--seeds 0: expected 1 or more"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(arguments, sentence, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err
