"""Waiting for a task: what nobody could wait for is refused at once, not after the hour that a task may take."""

import pytest

from swarm.errors import BadInput
from swarm.nodes.submitting import awaited


@pytest.mark.parametrize(
    ("deadline_s", "until", "said"),
    [
        (3600.0, "runing", "a task is never 'runing', expected one of ended, draft, final, queued, testing, running"),
        (-1.0, "ended", "a task cannot be waited for -1 s, expected 0 or more"),
    ],
)
def test_what_no_task_comes_to_is_not_waited_for(deadline_s: float, until: str, said: str):
    with pytest.raises(BadInput) as caught:
        awaited("cv", deadline_s, until)
    assert caught.value.message.startswith(said)
