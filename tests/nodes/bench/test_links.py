"""`swarm bench merge --link`: what is asked for, the least that it allows, and that the links are there."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.errors import BadInput
from swarm.nodes.bench import hosts, links

MBIT, GBIT = 10**6, 10**9


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("1gbit", [GBIT] * 3),
        ("100mbit/1gbit/512kbit", [100 * MBIT, GBIT, 512_000]),
        (" 1.5Gbit / 2gbit/2gbit", [1500 * MBIT, 2 * GBIT, 2 * GBIT]),
    ],
)
def test_links_are_all_alike_or_one_a_peer(text: str, rates: list[int]) -> None:
    assert links.parsed(text, 3) == links.Links(tuple(rates))


@pytest.mark.parametrize(("text", "delay_s"), [("100mbit,25ms", 0.025), ("1gbit/100mbit/1gbit, 0.2s", 0.2)])
def test_links_may_have_a_delay(text: str, delay_s: float) -> None:
    assert links.parsed(text, 3).delay_s == delay_s


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast", "received 'fast'"), ("100", "received '100'"), ("0mbit", "at least 100kbit"), ("", "received ''"),
        ("1gbit/1gbit", "names 2 rates for 3 peers"), ("-1gbit", "received '-1gbit'"), ("1gbit,25", "received '25'"),
        ("1gbit,", "received ''"), ("1gbit,3s", "at most 2s"), ("1gbit,25ms,1ms", "received '25ms,1ms'"),
    ],
)  # fmt: skip
def test_a_link_that_is_none_is_refused_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        links.parsed(text, 3)


@pytest.mark.parametrize(
    ("mbits", "seconds"),
    [
        ([100] * 10, 18.0), ([50] * 5 + [1000] * 5, 20.0), ([50, 100, 200, 500, 1000], 20.0), ([100, 1000], 10.0),
        ([1000] * 4, 1.5), ([400] + [1000] * 3, 2.5), ([700] + [1000] * 3, 6 / 3.7),
    ],
)  # fmt: skip
def test_the_least_time_is_what_moving_a_gigabit_must_take(mbits: list[int], seconds: float) -> None:
    """Worked out by hand: equal links move 2(N-1)/N models; a slow one no more than its own model each way."""
    made = links.Links(tuple(MBIT * rate for rate in mbits))
    assert made.optimum_s(GBIT // 8) == pytest.approx(seconds)
    assert links.Links(made.rates_bps, 0.025).optimum_s(GBIT // 8) == pytest.approx(seconds + 0.05)


@pytest.mark.parametrize(
    ("missing", "said"),
    [({"geteuid": lambda: 1000}, "need root"), ({"which": lambda name: None}, "which is not installed")],
)
def test_where_there_can_be_no_links_that_is_said(missing, said, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", missing.get("geteuid", lambda: 0))
    monkeypatch.setattr(shutil, "which", missing.get("which", lambda name: name))
    with pytest.raises(BadInput, match=said), links.hosts(links.Links((GBIT, GBIT))):
        pass


@pytest.mark.root
@pytest.mark.netns
@pytest.mark.slow
@pytest.mark.parametrize("link", ["100mbit/50mbit/100mbit", "100mbit/50mbit/100mbit,25ms"])
def test_rounds_over_links_are_verified_and_none_is_faster_than_its_link(link: str) -> None:
    try:
        hosts.check_available()
    except BadInput as error:
        pytest.skip(error.message)
    how = ["--peers", "3", "--mb", "2", "--topology", "sharded", "--rounds", "1", "--link", link]
    done = subprocess.run(
        [Path(sys.executable).with_name("swarm"), "bench", "merge", *how, "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["verified"]
    assert answer["ratio_to_link_optimum"] > 0.5, "the buckets' bursts are less than half of what has to pass"
