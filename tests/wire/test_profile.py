"""Profiles: HPE's forms and ours come out typed; whatever does not fit is named with its line and its nearest key."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from swarm.errors import BadInput
from swarm.wire.profile import Profile, parse

DOCUMENTS = Path(__file__).parent / "documents"
WHOLE = (DOCUMENTS / "profile.yaml").read_bytes()
PROCESS = (DOCUMENTS / "process.yaml").read_bytes()

NODE = ("nodes", 0, "slnodedef")
ATTRIBUTE = (*NODE, "identity", 0, "attribute")
NOT_NEEDED = {
    *[("dns",), ("apls", "locator", "port"), ("apisrv", "locator", "port"), (*ATTRIBUTE, "subPath")],
    *[(*NODE, key) for key in ("slhostip", "slport", "slfsservice", "sllabels", "usrlabels")],
    *[(*NODE, key) for key in ("slnetworkopts", "usrnetworkopts", "usrcontaineropts")],
}
FREE = (("envvars",), (*NODE, "sllabels"), (*NODE, "slenvvars"), (*NODE, "usrenvvars"))
"""Below these, keys are the user's own."""


def faults_of(data: bytes) -> list[str]:
    """One line a fault, the hint in parentheses."""
    with pytest.raises(BadInput) as caught:
        parse(data, "p.yaml")
    lines = [line.strip() for line in caught.value.message.splitlines()]
    if len(lines) == 1:
        return [lines[0] + (f" ({caught.value.hint})" if caught.value.hint else "")]
    assert lines[0] == f"p.yaml: {len(lines) - 1} faults"
    return lines[1:]


def keys(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every key of HPE's, in the first node and its first attribute."""
    if isinstance(value, dict) and path not in FREE:
        for key, inner in value.items():
            yield (*path, key)
            yield from keys(inner, (*path, key))
    elif isinstance(value, list) and path[-1] in ("nodes", "identity"):
        yield from keys(value[0], (*path, 0))


KEYS = list(keys(yaml.safe_load(WHOLE)))


def written(path: tuple[Any, ...]) -> str:
    """As messages name it."""
    text = ".".join(str(step) for step in path if step not in ("slnodedef", "attribute"))
    return text.replace(".0", "[0]")


def changed(path: tuple[Any, ...], change: Any) -> bytes:
    """The whole profile, with `change(map, key)` done where the path leads."""
    value = copy.deepcopy(yaml.safe_load(WHOLE))
    inside = value
    for step in path[:-1]:
        inside = inside[step]
    change(inside, path[-1])
    return yaml.safe_dump(value, sort_keys=False).encode()


def test_every_construct_comes_out_typed() -> None:
    profile = parse(WHOLE, "p.yaml")
    assert profile.warnings == ()
    assert (profile.groupname, profile.taskrunner) == ("radiology", "defaulttaskbb.taskdb.sml.hpe")
    assert (profile.resourcemgr.mgrtype, profile.policyuri, profile.network) == ("DOCKER", None, "ward-net")
    assert (profile.apls.host, profile.apls.port) == ("192.0.2.7", 5814)
    assert (profile.apisrv.host, profile.apisrv.port, profile.apisrv.service) == ("192.0.2.1", None, None)
    assert profile.dns == ("ns1.example", "ns2.example")
    first, second = profile.nodes
    assert [attribute.aType for attribute in first.identity] == ["KEY", "CERT", "CAPATH"]
    capath = first.attribute("CAPATH")
    assert capath is not None
    assert (capath.mType, capath.src, capath.tgt, capath.subPath) == ("VOLUME", "ward-cas", "/swarm-cert", "capath")
    assert (first.slhostip, first.slport, first.slfsservice, first.slhostname) == ("192.0.2.11", 16000, None, "sl1")
    assert first.privatedata is not None
    assert (first.privatedata.src, first.privatedata.mType) == ("/srv/scans", "BIND")
    assert (first.sllabels, first.usrlabels) == ({"ward": "north", "beds": "12"}, {"trusted": "", "gpu": ""})
    assert (first.slnetworkopts, first.usrnetworkopts) == ({"ip": "192.0.2.11"}, {})
    assert first.usrcontaineropts == {"gpus": "device=3,5", "device": ["/dev/kfd", "/dev/dri"], "privileged": True}
    assert (second.idx, second.privatedata, second.usrenvvars, second.attribute("KEY")) == (1, None, {}, None)


def test_an_environment_is_what_a_program_reads() -> None:
    profile = parse(WHOLE, "p.yaml")
    assert profile.envvars == {
        "SL_LOG_LEVEL": "INFO",
        "http_proxy": "",
        "RATE": "3.10",
        "CODE": "010",
        "OVERLAP": "True",
    }
    assert profile.nodes[0].slenvvars == {"swarm_node_type": "sl"}
    assert profile.nodes[0].usrenvvars == {"SCRATCH_DIR": "user1", "EPOCHS": "2", "SWARM_LOOPBACK": "False"}


def test_our_own_profiles_need_no_container_engine() -> None:
    profile = parse(PROCESS, "p.yaml")
    assert (profile.resourcemgr.mgrtype, profile.resourcemgr.accessinfo) == ("PROCESS", None)


def test_a_docker_profile_says_how_docker_is_reached() -> None:
    assert faults_of(PROCESS.replace(b"PROCESS", b"DOCKER")) == [
        'p.yaml:5: resourcemgr: "accessinfo" is missing: DOCKER is reached by "accesstype: FROMENV"'
    ]


@pytest.mark.parametrize("path", KEYS, ids=written)
def test_a_key_that_is_missing_is_named(path: tuple[Any, ...]) -> None:
    data = changed(path, dict.pop)
    if path in NOT_NEEDED:
        assert isinstance(parse(data, "p.yaml"), Profile)
        return
    inside = written(path[:-1])
    if path == ("resourcemgr", "accessinfo"):
        assert "accessinfo" in faults_of(data)[0]
    else:
        assert f'"{path[-1]}" is missing' + (f" in {inside}" if inside else "") in faults_of(data)[0]


@pytest.mark.parametrize("path", KEYS, ids=written)
def test_a_key_that_nobody_knows_is_a_fault_where_hpe_s_schema_is_closed_and_a_warning_below_nodes(
    path: tuple[Any, ...],
) -> None:
    def add(inside: dict[str, Any], key: str) -> None:
        inside[key + "s_"] = 1

    data = changed(path, add)
    inside = written(path[:-1])
    said = f'unknown key "{path[-1]}s_"' + (f" in {inside}" if inside else "")
    near = f'(did you mean "{path[-1]}"?)'
    if path[0] == "nodes" and len(path) > 1:
        (warning,) = parse(data, "p.yaml").warnings
        assert f"{said}, which is not read {near}" in warning
    else:
        assert f"{said} {near}" in faults_of(data)[0]


@pytest.mark.parametrize("path", KEYS, ids=written)
@pytest.mark.parametrize("wrong", [{"x": {"y": 1}}, [[1]], -1, True, "", "x" * 300], ids=repr)
def test_a_value_that_does_not_fit_is_named(path: tuple[Any, ...], wrong: Any) -> None:
    def put(inside: dict[str, Any], key: str) -> None:
        inside[key] = wrong

    fits_by_chance = {
        "policyuri": ["", "x" * 300], "network": ["", "x" * 300], "sllabels": [], "usrlabels": [],
        "host": ["", "x" * 300] if path[0] == "apls" else [],
    }  # fmt: skip
    if wrong in fits_by_chance.get(path[-1], ()):
        return
    faults = faults_of(changed(path, put))
    assert any(f" {written(path)}" in fault for fault in faults), faults


NAME = (
    "a name of 1 to 160 printable ASCII characters, without blanks and slashes, that begins with a letter, digit or _"
)
ATTRIBUTES = "'KEY', 'CERT', 'CACERT', 'CAPATH' or 'SPIFFE_SOCKETPATH'"
FAULTS = {
    "groupname  : radiology": {
        "groupname  : 5": '3: groupname is the number 5, expected text (put it in quotes: "5")',
        "groupname  : on": "3: groupname is the boolean true, expected text (put it in quotes)",
        "groupname  : ''": '3: groupname is "", expected a printable text of 1 to 160 characters',
        "groupname  : [a, b]": "3: groupname is a list of 2, expected text",
    },
    "defaulttaskbb.taskdb.sml.hpe": {
        "../../etc": f'4: taskrunner is "../../etc", expected {NAME}',
        "x" * 1000: f'4: taskrunner is "{"x" * 60}" … (1000 characters), expected {NAME}',
    },
    "mgrtype    : DOCKER": {
        "mgrtype    : docker": "7: resourcemgr.mgrtype is \"docker\", expected 'DOCKER' or 'PROCESS' "
        '(did you mean "DOCKER"?)',
    },
    "network    : ward-net": {"network    :": "10: network is empty, expected text"},
    "port : 5814": {
        "port : 70000": "14: apls.locator.port is the number 70000, expected at most 65535",
        "port : 5814.5": "14: apls.locator.port is the number 5814.5, expected a whole number",
        'port : "5814"': '14: apls.locator.port is "5814", expected a whole number',
        "prot : 5814": '14: unknown key "prot" in apls.locator (did you mean "port"?)',
    },
    "- SL_LOG_LEVEL : INFO": {
        "- SL LOG : INFO": '21: the key "SL LOG" in envvars[0], expected the name of a variable, '
        "without blanks and '='",
        "- SL_LOG_LEVEL : [INFO]": "21: envvars[0].SL_LOG_LEVEL is a list of 1, expected text",
        "- SL_LOG_LEVEL": '21: envvars[0] is "SL_LOG_LEVEL", expected keys with their values',
        "- RATE : 1": "20: envvars: RATE stands twice",
    },
    "aType : KEY": {
        "aType : key": f'32: nodes[0].identity[0].aType is "key", expected {ATTRIBUTES} (did you mean "KEY"?)',
    },
    'tgt : "/swarm-cert/sl': {
        'tgt : "../sl': "35: nodes[0].identity[0].tgt is \"../sl-1-key.pem\", expected an absolute path without '..'",
    },
    "aType: CERT": {"aType: KEY": "30: nodes[0].identity: KEY stands twice"},
    "slport     : 16000": {
        "slport : 16000\n        slport : 16001": '41: the key "slport" stands twice, first on line 40',
    },
    "slenvvars  : [swarm_node_type : sl]": {
        "slenvvars  : {a: b}": '48: nodes[0].slenvvars is a map, expected a list (begin each of its keys with "- ")',
    },
    "idx : 1": {"idx : 0": "27: nodes: idx 0 stands twice"},
}


@pytest.mark.parametrize(("old", "new"), [(old, new) for old, news in FAULTS.items() for new in news])
def test_a_fault_says_where_what_and_what_was_expected(old: str, new: str) -> None:
    assert old in WHOLE.decode()
    assert faults_of(WHOLE.decode().replace(old, new, 1).encode()) == [f"p.yaml:{FAULTS[old][new]}"]


def test_all_faults_are_told_at_once_in_the_order_of_their_lines() -> None:
    data = WHOLE.decode()
    for old, new in {
        "network ": "netwrk ",
        "5814": "-1",
        "idx : 1": "idx : one",
        "mType : BIND": "mType : MOUNT",
    }.items():
        data = data.replace(old, new)
    assert faults_of(data.encode()) == [
        'p.yaml:3: "network" is missing',
        'p.yaml:10: unknown key "netwrk" (did you mean "network"?)',
        "p.yaml:14: apls.locator.port is the number -1, expected at least 0",
        "p.yaml:33: nodes[0].identity[0].mType is \"MOUNT\", expected 'BIND' or 'VOLUME'",
        "p.yaml:47: nodes[0].privatedata.mType is \"MOUNT\", expected 'BIND' or 'VOLUME'",
        'p.yaml:58: nodes[1].idx is "one", expected a whole number',
    ]


def test_a_placeholder_that_was_left_is_warned_of_once_with_all_its_lines() -> None:
    data = WHOLE.replace(b"/srv/cert", b"<PROJECT-CERTS>").replace(b"192.0.2.7", b"<APLS-IP>")
    assert parse(data, "p.yaml").warnings == (
        "p.yaml:13: apls.locator.host holds the placeholder <APLS-IP>: replace it",
        "p.yaml:34: nodes[0].identity[0].src holds the placeholder <PROJECT-CERTS> (as on line 37): replace it",
    )


def test_a_profile_without_nodes_starts_nothing() -> None:
    start, _, _ = PROCESS.partition(b"nodes:")
    assert faults_of(start + b"nodes: []") == ["p.yaml:10: nodes is empty, expected at least 1 of them"]


def test_thousands_of_unknown_keys_are_counted() -> None:
    many = b"".join(b"k%d: 1, " % number for number in range(3000))
    profile = parse(PROCESS.replace(b"idx: 0", many + b"idx: 0"), "p.yaml")
    assert len(profile.warnings) == 21
    assert profile.warnings[0] == "p.yaml: 2980 more unknown keys below nodes are not read"
