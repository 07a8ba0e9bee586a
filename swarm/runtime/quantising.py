"""A whole model in its wire form, with all cores of this machine.

Used by learning nodes for what they offer; what an exchange merges is put into that form chunk by chunk. Guarantee: the
bytes of `core.wireform`, whatever the number of threads.
"""

from __future__ import annotations

from swarm.core.wireform import Coding
from swarm.runtime.cores import by_pieces
from swarm.wire import tensorbytes


def quantised(coding: Coding, weights: memoryview, hash_name: str = "") -> tuple[memoryview, bytes]:
    """The wire form of these weights. With ``hash_name`` also the hashes of the leaves as others will read them."""
    form = coding.form
    sent = memoryview(bytearray(form.nbytes))

    def write(start: int, stop: int) -> bytes:
        part = sent[form.at(start) : form.at(stop)]
        coding.write(start, stop, weights[start:stop], part)
        if not hash_name:
            return b""
        read = memoryview(bytearray(stop - start))
        coding.read(start, stop, part, read)
        return tensorbytes.leaf_hashes(read, hash_name)

    return sent, b"".join(by_pieces(weights.nbytes, write))
