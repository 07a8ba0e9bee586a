"""Run by test_data as a process on one CPU: four nodes, each sends 32 MiB to each other one, all at once."""

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from swarm.runtime.data import Region
from tests.runtime.data_nodes import Node, want

NBYTES = 32 << 20  # far more than all socket buffers of a connection


def fetch(sender: Node, reader: Node) -> str:
    into = bytearray(NBYTES)
    reader.client.fetch(sender.address, sender.uid, want(0, NBYTES), memoryview(into), stall_s=60)
    return hashlib.sha256(into).hexdigest()


if __name__ == "__main__":
    directory, files = Path(sys.argv[1]), Path(sys.argv[2])
    certificate, key, capath = files / "sl-1-cert.pem", files / "sl-1-key.pem", files / "ca" / "capath"
    made = [Node(directory / f"node-{index}", certificate, key, capath) for index in range(4)]
    for index, node in enumerate(made):
        node.shelf["offer", 0] = Region.complete(memoryview(bytes([index]) * NBYTES))
    with ThreadPoolExecutor(12) as pool:
        pairs = [(sender, reader) for sender in range(4) for reader in range(4) if sender != reader]
        digests = {pair: pool.submit(fetch, made[pair[0]], made[pair[1]]) for pair in pairs}
        for (sender, reader), digest in digests.items():
            print(f"{sender}{reader}", digest.result())
    for node in made:
        node.close()
