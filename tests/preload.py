"""A library that stands before the C library in processes that a test starts: what a real one is told by its kernel.

    environment = preloaded(tmp_path, "disk", C_SOURCE)     # compiled there; {"LD_PRELOAD": …}

For what no test can do to a kernel: a disk that fails, a clock that jumps. The source decides by files that a test
makes, so that a process that runs already meets it. Tests that use it are marked `compiler`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest


def preloaded(directory: Path, name: str, source: str) -> dict[str, str]:
    """The variable by which a process that is started takes the library in, and all that it starts."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler: apt-get install gcc libc6-dev")
    written, library = directory / f"{name}.c", directory / f"{name}.so"
    written.write_text(source)
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(written), "-ldl"]
    compiled = subprocess.run(command, capture_output=True, text=True)
    assert compiled.returncode == 0, compiled.stderr
    return {"LD_PRELOAD": str(library)}
