"""Arguments of commands: numbers within their bounds, however many digits somebody types."""

import pytest

from swarm.errors import BadInput
from swarm.nodes.swci import arguments


@pytest.mark.parametrize("text", ["", "0", "11", "-1", "1.0", "1e1", "٣", "²", "9" * 5000])
def test_a_whole_number_is_one_within_its_bounds(text):
    assert arguments.whole("the number of peers", "10", 1, 10) == 10
    with pytest.raises(BadInput, match=r"the number of peers is '.{0,40}', expected a whole number from 1 to 10"):
        arguments.whole("the number of peers", text, 1, 10)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "1e9", "soon", "9" * 5000])
def test_a_number_is_one_within_its_bounds(text):
    assert arguments.number("the number of seconds", "0.5", 60) == 0.5
    with pytest.raises(BadInput, match=r"the number of seconds is '.{0,40}', expected a number from 0 to 60"):
        arguments.number("the number of seconds", text, 60)


@pytest.mark.parametrize("ip", ["a/../b", "a\x1bb"])
def test_an_address_names_a_host_and_no_directory(ip):
    assert arguments.address("[::1]") == ("::1", arguments.API_PORT)
    with pytest.raises(BadInput, match="expected an IP address or a host name"):
        arguments.address(ip)
