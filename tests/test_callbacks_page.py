"""docs/CALLBACKS.md and the examples that it names: their programs run as they stand."""

import ast
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from swarm.callbacks.arguments import CHECKINS, KEYWORDS, TOO_FEW_PEERS_VARIABLE, Given, parse
from swarm.core.agreement import DEFAULT_CONTRACT, Options
from swarm.errors import BadInput
from tests.test_documents import ROOT, shell_blocks

PAGE = ROOT / "docs/CALLBACKS.md"
FINAL = "SwarmCallback : INFO : All peers and Swarm training rounds finished. Final Swarm model was loaded."


def programs():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_pages_lines_are_python_and_name_doors_and_arguments_that_exist():
    assert len(programs()) == 6
    for block in programs():
        imported = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in imported:
            door = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            if not door.startswith("swarm"):
                continue
            home = ROOT / door.replace(".", "/")
            source = ast.parse((home / "__init__.py" if home.is_dir() else home.with_suffix(".py")).read_text("utf-8"))
            (exported,) = [n for n in source.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"]
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else ["wrap"]
            assert set(names) <= set(ast.literal_eval(exported.value)), block


def test_the_tables_have_every_argument_once_with_the_default_and_the_choices_that_the_code_has():
    of_callbacks, of_contracts = tables("argument"), tables("option of the contract")
    options = {field.name for field in fields(Options)} - {"weightage"}  # which nodeWeightage says
    assert sorted(of_contracts) == sorted(options)
    assert sorted(of_callbacks) == sorted(KEYWORDS - options | {"syncFrequency", "trainingContract"})
    required = {"syncFrequency": 1, "minPeers": 1}
    plain = parse(Given(1, 1, DEFAULT_CONTRACT, {}), {}, evaluates=True)
    for name, (default, says) in {**of_callbacks, **of_contracts}.items():
        assert (default == "") == (name in required), name
        given = {"trainingContract": DEFAULT_CONTRACT, **required}
        given |= {name: ast.literal_eval(default.strip("`"))} if default else {}
        first = [given.pop(each) for each in ("syncFrequency", "minPeers", "trainingContract")]
        assert parse(Given(*first, given), {}, evaluates=True) == plain, f"{name} has another default than {default}"
        for choice in choices(name):
            assert f'`"{choice}"`' in default + says, f"{name}: {choice}"


def choices(name):
    """The words that an argument may be; none where it is a name or no word, or has a page of its own."""
    words = {field.name for field in fields(Options) if isinstance(field.default, str)}
    if name not in words - {"mergeMethod", "upper"}:
        return CHECKINS if name == "checkinModelOnTrainEnd" else ()
    with pytest.raises(BadInput, match=f"{name}='\\?' is not possible: expected") as refused:
        Options(1, **{name: "?"})
    return refused.value.message.partition("expected ")[2].split(" or ")


def tables(head):
    """By name the rest of each row of the table whose first column has this head."""
    page = PAGE.read_text(encoding="utf-8")
    (lines,) = re.findall(rf"^\| {head} \|.*\n\|-.*\n((?:\|.+\n)+)", page, re.MULTILINE)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines.splitlines()]
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_values_of_on_too_few_peers_are_those_that_a_contract_takes():
    assert list(tables("value")) == [f'"{value}"' for value in choices("onTooFewPeers")]


def test_the_variable_for_too_few_peers_stands_where_the_option_does_and_counts_after_it():
    about = PAGE.read_text(encoding="utf-8").partition("### Too few peers")[2].partition("\n## ")[0]
    assert f"`{TOO_FEW_PEERS_VARIABLE}`" in about
    said = {TOO_FEW_PEERS_VARIABLE: "30"}
    plain, given = Given(1, 2, DEFAULT_CONTRACT, {}), Given(1, 2, DEFAULT_CONTRACT, {"tooFewPeersSeconds": 40})
    assert [parse(each, said, evaluates=False).options.tooFewPeersSeconds for each in (plain, given)] == [30, 40]


def test_the_program_with_arrays_ends_with_one_model_on_both_peers_and_trains_alone_as_well(tmp_path):
    (program,) = [each for each in programs() if "import Swarm\n" in each]
    (tmp_path / "train.py").write_text(program)
    tools = Path(sys.executable).parent
    (line,) = re.findall(r"`(swarm run [^`]+)`", PAGE.read_text(encoding="utf-8"))
    (alone,) = re.findall(r"`(SWARM_LOOPBACK=[^`]+)`", PAGE.read_text(encoding="utf-8"))
    environment = {**os.environ, "PATH": os.pathsep.join([str(tools), os.environ["PATH"]])}
    final = []
    for command in (line, alone):
        done = subprocess.run(
            ["sh", "-e", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr
        final.append(re.findall(r"final (\[.*\])", done.stdout))
    assert len(final[0]) == 2
    assert final[0][0] == final[0][1] != final[1][0]
    assert np.allclose(ast.literal_eval(final[0][0]), [1, -2, 3], atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "saved", "least"),
    [
        ("mnist-pyt", "mnist_pyt-{}.pt", 0.85), ("sklearn", "cancer-{}.npz", 0.9), ("hf-peft", "adapter-{}", 0.85),
        ("fraud", "fraud-{}", 0.9),
    ],
)  # fmt: skip
def test_an_example_runs_as_its_page_says_and_all_peers_end_with_one_model(example, saved, least, tmp_path):
    (command,) = shell_blocks(ROOT / "examples" / example / "README.md")
    peers = int(command.partition("--peers ")[2].split()[0])
    tools = Path(sys.executable).parent
    environment = {
        **os.environ, "PATH": os.pathsep.join([str(tools), os.environ["PATH"]]), "SCRATCH_DIR": str(tmp_path / "out"),
        "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        ["sh", "-e", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    shown = done.stdout + done.stderr
    assert done.returncode == 0, shown
    assert shown.count(FINAL) == peers, shown
    accuracies = [float(text) for text in re.findall(r"final model: (?:accuracy|AUC) ([\d.]+)", shown)]
    assert len(accuracies) == peers
    assert len(set(accuracies)) == 1, "all peers have one model, and test it on the same"
    assert accuracies[0] >= least
    assert all((tmp_path / "out" / saved.format(peer)).exists() for peer in range(peers))
    digests = re.findall(r"round \d+ (?:merged|adopted).*?: (blake3:\w+)", shown)
    assert digests.count(digests[-1]) >= peers, "the final model's digest is in all logs"
