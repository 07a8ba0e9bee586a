"""docs/CALLBACKS.md and the examples that it names: their programs run as they stand."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documents import ROOT, shell_blocks

PAGE = ROOT / "docs/CALLBACKS.md"
FINAL = "SwarmCallback : INFO : All peers and Swarm training rounds finished. Final Swarm model was loaded."


def test_the_pages_lines_are_python_and_name_doors_and_arguments_that_exist():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    for block in blocks:
        imported = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Import | ast.ImportFrom)]
        for node in imported:
            door = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            source = ast.parse((ROOT / f"{door.replace('.', '/')}.py").read_text(encoding="utf-8"))
            (exported,) = [n for n in source.body if isinstance(n, ast.Assign) and n.targets[0].id == "__all__"]
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else ["wrap"]
            assert set(names) <= set(ast.literal_eval(exported.value)), block


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
