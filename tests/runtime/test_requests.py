"""Whoever asks over a link is answered once: by a handler in a task of its own, or promptly from wherever it arises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
import trio
import trio.testing

from swarm.errors import BadInput, Refused
from swarm.runtime.calls import CONCURRENT_MAX
from swarm.runtime.outbox import Outbox
from swarm.runtime.requests import MEMORY_MAX, Request, Requests
from swarm.wire import frame


class Box:
    """An outbox that shows what left."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.room = True
        self.closed = False

    def post(self, data: bytes) -> None:
        if self.closed:
            raise trio.ClosedResourceError
        if not self.room:
            raise trio.WouldBlock
        self.sent += frame.Decoder().feed(data)

    async def send(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.room = True
        self.post(data)


async def handled(request: Request) -> Any:
    return {"handled": request.body}


def with_requests(
    scenario: Callable[[Requests, Box], Awaitable[None]],
    begin: Callable[[Request], bool],
    handle: Callable[[Request], Awaitable[Any]] = handled,
    *,
    after: Callable[[Box], None] = lambda box: None,
) -> Box:
    box, admitted = Box(), trio.Event()
    admitted.set()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            requests = Requests("somebody", cast(Outbox, box), nursery, admitted=admitted, handle=handle, begin=begin)
            await scenario(requests, box)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        after(box)

    trio.run(main)
    return box


def test_a_prompt_answer_leaves_before_anything_else_happens() -> None:
    def begin(request: Request) -> bool:
        request.reply({"now": request.verb})
        return True

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(7, "propose", {})
        assert box.sent == [["reply", 7, {"now": "propose"}]]

    with_requests(scenario, begin)


def test_what_is_not_begun_promptly_or_has_to_take_its_time_is_handled_in_a_task() -> None:
    left: list[Request] = []

    def begin(request: Request) -> bool:
        left.append(request)
        return request.verb == "later"

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(1, "never", {"n": 1})
        requests.take(2, "later", {"n": 2})
        assert box.sent == []
        left[1].take_time()

    assert sorted(with_requests(scenario, begin).sent) == [
        ["reply", 1, {"handled": {"n": 1}}],
        ["reply", 2, {"handled": {"n": 2}}],
    ]


@pytest.mark.parametrize(
    ("error", "said"),
    [(Refused("no", hint="ask"), "no"), (KeyError("x"), "internal error while 'propose' was handled: KeyError")],
)
@pytest.mark.parametrize("prompt", [True, False])
def test_what_goes_wrong_is_told_in_one_sentence(error: Exception, said: str, prompt: bool) -> None:
    def begin(request: Request) -> bool:
        if prompt:
            raise error
        return False

    async def handle(request: Request) -> Any:
        raise error

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(1, "propose", {})

    ((kind, number, fields),) = with_requests(scenario, begin, handle).sent
    assert (kind, number, fields["message"]) == ("error", 1, said)


def test_an_answer_that_is_too_long_becomes_an_error() -> None:
    def begin(request: Request) -> bool:
        request.reply(bytes(frame.CAP))
        return True

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(1, "propose", {})

    assert [kind for kind, *_ in with_requests(scenario, begin).sent] == ["error"]


def test_an_answer_that_finds_no_room_waits_for_its_place() -> None:
    async def scenario(requests: Requests, box: Box) -> None:
        box.room = False
        requests.take(1, "propose", {})
        assert box.sent == []

    assert len(with_requests(scenario, lambda request: request.reply(1) is None).sent) == 1


def test_too_many_at_once_are_refused_and_answers_make_room() -> None:
    left: list[Request] = []

    async def scenario(requests: Requests, box: Box) -> None:
        for number in range(CONCURRENT_MAX):
            requests.take(number, "propose", {})
        left[5].reply({})
        requests.take(100, "propose", {})
        with pytest.raises(BadInput, match=f"somebody asked more than {CONCURRENT_MAX} things at once"):
            requests.take(101, "propose", {})

    with_requests(scenario, lambda request: left.append(request) is None)


@pytest.mark.parametrize("answer", [lambda one: one.reply({}), lambda one: one.fail(Refused("no")), Request.take_time])
def test_an_answer_to_somebody_who_has_gone_is_nothing(answer: Callable[[Request], None]) -> None:
    left: list[Request] = []

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(1, "propose", {})

    def after(box: Box) -> None:
        box.closed = True
        answer(left[0])
        assert box.sent == []

    with_requests(scenario, lambda request: left.append(request) is None, after=after)


def test_requests_that_take_too_much_memory_together_are_to_be_asked_again_and_alone_any_may_be_asked() -> None:
    left: list[Request] = []
    body = {"proposals": [b"x" * 1000] * (MEMORY_MAX // 2000)}

    async def scenario(requests: Requests, box: Box) -> None:
        requests.take(1, "propose", {**body, "and": [b"x" * 1000] * (MEMORY_MAX // 1000)})
        requests.take(2, "propose", body)
        assert [request.number for request in left] == [1], "one alone is not held to what several may take"
        ((_, number, error),) = box.sent
        assert (number, error["kind"]) == (2, "crowded")
        left.pop().reply(None)
        requests.take(3, "propose", body)
        requests.take(4, "propose", {})
        assert [request.number for request in left] == [3, 4]
        requests.take(5, "propose", body)
        assert box.sent[-1][:2] == ["error", 5]

    with_requests(scenario, lambda request: left.append(request) is None)
