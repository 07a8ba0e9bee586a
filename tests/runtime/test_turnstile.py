"""A rate with a burst for each address, on a clock of the test's own."""

import pytest

from swarm.runtime.turnstile import BURST, PER_S, WAITING_MAX, Turnstile


def come(turnstile: Turnstile, times: int, address: str = "10.0.0.1") -> list[float | None]:
    return [turnstile.wait_s(address) for _ in range(times)]


def test_a_burst_waits_for_nothing_and_what_is_beyond_it_waits_for_its_turn():
    turnstile = Turnstile(lambda: 0.0)
    assert come(turnstile, BURST) == pytest.approx([0.0] * BURST)
    waits_s = come(turnstile, WAITING_MAX)
    assert [round((wait_s or 0) * PER_S) for wait_s in waits_s] == list(range(1, WAITING_MAX + 1))


def test_who_comes_while_enough_of_its_address_wait_is_turned_away_and_costs_the_others_no_time():
    turnstile = Turnstile(lambda: 0.0)
    come(turnstile, BURST + WAITING_MAX)
    assert come(turnstile, 1000) == [None] * 1000
    assert come(turnstile, 1, "10.0.0.2") == [0.0]


def test_in_the_long_run_the_rate_is_what_comes_in():
    now_s = 0.0
    turnstile = Turnstile(lambda: now_s)
    let_in = 0
    for step in range(10_000):  # 200 a second for 50 s
        now_s = step / 200
        let_in += turnstile.wait_s("10.0.0.1") is not None
    assert BURST + 50 * PER_S <= let_in <= BURST + WAITING_MAX + 50 * PER_S + 1


def test_addresses_that_have_paid_are_forgotten():
    now_s = 0.0
    turnstile = Turnstile(lambda: now_s)
    for number in range(50_000):
        now_s = number / 10
        turnstile.wait_s(f"address {number}")
    assert len(turnstile._due_s) < 5000
