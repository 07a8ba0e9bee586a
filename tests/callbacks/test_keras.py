"""The cases of ``…_cases``, in one process of their own: TensorFlow takes seconds and half a gigabyte to load."""

from __future__ import annotations

import ast
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

CASES = [Path(__file__).with_name(f"{name}_cases.py") for name in ("keras", "keras2")]
NAMES = [
    node.name
    for cases in CASES
    for node in ast.parse(cases.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Case name → what went wrong, "" for nothing."""
    directory = tmp_path_factory.mktemp("keras")
    report = directory / "report.xml"
    command = [sys.executable, "-m", "pytest", *map(str, CASES), "-p", "no:cacheprovider", f"--junitxml={report}"]
    command.append(f"--basetemp={directory / 'tmp'}")
    run = subprocess.run(command, cwd=CASES[0].parents[2], capture_output=True, text=True, timeout=600)
    assert report.exists(), run.stdout + run.stderr
    failures: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = case.attrib["name"].split("[")[0]
        failures[name] = failures.get(name, "") + "".join(problem.text or problem.tag for problem in case)
    return failures


@pytest.mark.parametrize("name", NAMES)
def test_keras(outcomes, name):
    assert outcomes[name] == "", outcomes[name]
