"""Chains of earlier versions, replayed: a log that was acknowledged then leads to the same state now."""

import pytest

from swarm.core.ledger import Ledger
from tests.core.recorded import DIRECTORY, claim_of, followed, read, standing

RECORDED = sorted(DIRECTORY.glob("*.msgpack.gz"))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name.removesuffix(".msgpack.gz"))
def test_a_chain_of_an_earlier_version_means_what_it_meant(path):
    for entries, stood in read(path):
        ledger = Ledger()
        for entry in entries:
            now = followed(ledger.apply(*claim_of(entry)))
            ledger.check()
            if entry["outcome"] is None:
                continue
            assert now["outcome"] == entry["outcome"], entry["claim"]["kind"]
            assert [name for name, _ in now["events"]] == [name for name, _ in entry["events"]]
            for (_, event), (_, then) in zip(now["events"], entry["events"], strict=True):
                assert known(event, then) == then
        assert standing(ledger) == stood


def known(now, then):
    """What the earlier version knew of it: newer ones may say more."""
    if isinstance(then, dict):
        return {name: known(now[name], value) for name, value in then.items()}
    if isinstance(then, list):
        assert len(now) == len(then)
        return [known(*both) for both in zip(now, then, strict=True)]
    return now


def test_there_is_a_chain_of_the_version_before():
    assert RECORDED
