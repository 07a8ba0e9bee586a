"""Cases of a framework, run in one process of their own: frameworks take seconds and half a gigabyte to load.

NAMES = names("torch_cases.py")
outcomes = pytest.fixture(scope="module")(partial(run, "torch_cases.py"))
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

HERE = Path(__file__).parent


def names(file: str) -> list[str]:
    """The cases' names, read off the source."""
    body = ast.parse((HERE / file).read_text(encoding="utf-8")).body
    return [node.name for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def run(file: str, directory: Path, *more: str, **environment: str) -> dict[str, str]:
    """Case name → what went wrong, "" for nothing. ``more`` files of cases run in the same process."""
    report = directory / "report.xml"
    files = [str(HERE / each) for each in (file, *more)]
    command = [sys.executable, "-m", "pytest", *files, "-p", "no:cacheprovider", f"--junitxml={report}"]
    done = subprocess.run(
        [*command, f"--basetemp={directory / 'tmp'}"], cwd=HERE.parents[1], env={**os.environ, **environment},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert report.exists(), done.stdout + done.stderr
    failures: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = case.attrib["name"].split("[")[0]
        failures[name] = failures.get(name, "") + "".join(problem.text or problem.tag for problem in case)
    return failures
