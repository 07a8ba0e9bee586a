"""A whole model in its wire form, with all cores of this machine.

Used by learning nodes for what they offer; what an exchange merges is put into that form chunk by chunk. Guarantee: the
bytes of `core.wireform`, whatever the number of threads.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

from swarm.core.tensors import LEAF_BYTES
from swarm.core.wireform import Coding
from swarm.wire import tensorbytes

STRIDE = 16 * LEAF_BYTES


def quantised(coding: Coding, weights: memoryview, hash_name: str = "") -> tuple[memoryview, bytes]:
    """The wire form of these weights. With ``hash_name`` also the hashes of the leaves as others will read them."""
    form, nbytes = coding.form, weights.nbytes
    sent = memoryview(bytearray(form.nbytes))

    def write(start: int) -> bytes:
        stop = min(start + STRIDE, nbytes)
        part = sent[form.at(start) : form.at(stop)]
        coding.write(start, stop, weights[start:stop], part)
        if not hash_name:
            return b""
        read = memoryview(bytearray(stop - start))
        coding.read(start, stop, part, read)
        return tensorbytes.leaf_hashes(read, hash_name)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sent, b"".join(pool.map(write, range(0, nbytes, STRIDE)))
