"""The digest does not depend on how many threads computed it."""

import numpy as np
import pytest

from swarm.core.tensors import Schema
from swarm.runtime import hashing
from swarm.runtime.cores import PIECE_BYTES
from swarm.wire import tensorbytes


@pytest.mark.parametrize("elements", [1, 16_384, PIECE_BYTES // 4, PIECE_BYTES // 4 + 1, 3 * PIECE_BYTES])
@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_all_cores_find_the_digest_that_one_finds(elements: int, name: str) -> None:
    schema = Schema.of({"a": np.zeros(elements, np.float32)})
    buffer = memoryview(np.random.default_rng(elements).bytes(schema.nbytes))
    assert hashing.digest(schema, buffer, name) == tensorbytes.digest(schema, buffer, name)
