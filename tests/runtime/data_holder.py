"""Run by test_data as a process: a holder that serves half of 64 MiB and lives until it is killed."""

import signal
import sys
from pathlib import Path

from swarm.runtime.data import Region
from tests.runtime.data_nodes import Node

if __name__ == "__main__":
    node = Node(*(Path(argument) for argument in sys.argv[1:]))
    region = node.shelf["offer", 0] = Region(memoryview(bytes(64 << 20)))
    region.advance(32 << 20)
    print(node.address, node.uid, flush=True)
    signal.pause()
