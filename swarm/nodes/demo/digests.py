"""The digest of a model as a file, computed from the file alone: what `swarm demo` holds against the ledger's.

Guarantee: nothing that the processes said about their models is used; only the arrays in the file, and the contract's
hash function.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from swarm.core.tensors import Schema
from swarm.errors import ModelError
from swarm.wire import tensorbytes


def digest_of_file(path: Path, hash_name: str) -> str:
    """Of an npz file with the contract's tensors in the contract's order."""
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise ModelError(f"weights file {path} cannot be read: {error}") from error
    schema = Schema.of(arrays)
    buffer = bytearray(schema.nbytes)
    tensorbytes.pack(schema, arrays, buffer)
    return tensorbytes.digest(schema, buffer, hash_name)
