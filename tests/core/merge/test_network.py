"""A network puts in order what it promises to, which zeros and ones are enough to show (Knuth's 0-1 principle)."""

import numpy as np
import pytest

from swarm.core.merge.network import Rows, network


@pytest.mark.parametrize("count", range(1, 15))
def test_every_network_brings_the_values_of_its_ranks_to_their_rows(count: int) -> None:
    bits = (np.arange(1 << count) >> np.arange(count)[:, None] & 1).astype(np.int8)
    in_order = np.sort(bits, axis=0)
    for cut in range((count + 1) // 2):
        ranks = range(cut, count - cut)
        room = Rows("int8", count, bits.shape[1])
        for block in room.blocks():
            rows = room.sort(room.load(list(bits[:, block])), ranks)
            found = np.stack([rows[rank] for rank in ranks])
            assert np.array_equal(np.sort(found, axis=0), in_order[ranks.start : ranks.stop, block])
            assert (len(ranks) <= 2 < count) or np.array_equal(found, in_order[ranks.start : ranks.stop, block])


def test_contributions_are_not_written_to() -> None:
    parts = [np.array([3, 1, 2], np.int32), np.array([1, 2, 3], np.int32), np.array([2, 3, 1], np.int32)]
    before = [part.copy() for part in parts]
    room = Rows("int32", 3, 3)
    assert [row.tolist() for row in room.sort(room.load(parts), range(3))] == [[1, 1, 1], [2, 2, 2], [3, 3, 3]]
    assert all(np.array_equal(part, old) for part, old in zip(parts, before, strict=True))


def test_what_ten_members_cost() -> None:
    """Comparisons of whole rows. A better network is welcome; a worse one has a reason."""
    cost = {ranks: sum(low + high for _, _, low, high in network(10, ranks)) for ranks in (range(4, 6), range(3, 7))}
    assert cost == {range(4, 6): 44, range(3, 7): 52}
