"""What a learning node is told of the contract that it has just enrolled in."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio

from swarm.core.events import Outcome
from swarm.core.tensors import Schema, TensorSpec
from swarm.errors import Refused
from swarm.nodes.enrolling import Enrolling
from swarm.wire.messages import Open
from swarm.wire.tensorbytes import available_hashes


def test_a_contract_that_a_person_resets_before_the_answer_comes_is_said_to_be_reset() -> None:
    schema = Schema((TensorSpec("kernel", "float32", (4,)),))
    link = SimpleNamespace(ledger=SimpleNamespace(contracts={}))
    asked = []

    async def propose(kind: str, body: dict[str, Any]) -> Outcome:
        asked.append((kind, body["contract"]))
        return Outcome(7, True, result={"joined": "new", "round": 0})

    nothing = cast(Any, None)
    means = (cast(Any, link), propose, nothing, nothing, lambda: 0, nothing, lambda: "127.0.0.1:1")
    enrolling = Enrolling("some uid", Path(), *means)
    request = Open("digits", {}, 1, 1, "snapshot", schema.to_wire())
    with pytest.raises(Refused, match="contract digits was reset by a person"):
        trio.run(enrolling._enrolled, schema, request, available_hashes()[0], None)
    assert asked == [("Enrolled", "digits")]
