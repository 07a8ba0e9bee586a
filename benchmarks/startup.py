"""How long `swarm --help` takes, against the least that it can: Python and click alone.

python benchmarks/startup.py; exit code 1 if it takes more than four times as long. Run by `make bench`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 15
LIMIT = 4.0
LEAST = [sys.executable, "-c", "import click"]
HELP = [str(Path(sys.executable).parent / "swarm"), "--help"]


def seconds(command: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> int:
    pairs = [(seconds(LEAST), seconds(HELP)) for _ in range(ROUNDS + 1)][1:]  # the first pair fills caches
    ratio = statistics.median(ours / least for least, ours in pairs)
    least, ours = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(
        f"swarm --help {ours * 1000:.0f} ms, python + click {least * 1000:.0f} ms: ratio {ratio:.2f}, limit {LIMIT:.0f}"
    )
    return 0 if ratio <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
