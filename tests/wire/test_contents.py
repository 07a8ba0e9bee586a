"""Contents that a task names: a hash with every download, names that lead nowhere but down; and secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import BadInput
from swarm.wire.contents import MakeSwarmUserContent, pinned
from swarm.wire.secrets import hidden, secret_name, tells_a_secret
from swarm.wire.taskfile import RunSwarm, parse

DOCUMENTS = Path(__file__).parent / "documents"
HASH = "0123456789abcdef" * 4
PIN = f"#sha256={HASH}"


def content(*operations: dict[str, Any]) -> MakeSwarmUserContent:
    document = yaml.safe_load((DOCUMENTS / "content.yaml").read_text())
    document["Body"]["OpsList"] = [{"Options": None, **one} for one in operations]
    body = parse(yaml.safe_dump(document).encode(), "t.yaml").body
    assert isinstance(body, MakeSwarmUserContent)
    return body


def refusal(*operations: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as caught:
        content(*operations)
    return caught.value.message


def download(target: str, **more: Any) -> dict[str, Any]:
    return {"Operation": "DOWNLOAD", "Target": target, **more}


def extract(target: str, **more: Any) -> dict[str, Any]:
    return {"Operation": "EXTRACT", "Target": target, **more}


@pytest.mark.parametrize(
    ("target", "uri", "name"),
    [
        (f"https://files.example/a/model.tgz{PIN}", "https://files.example/a/model.tgz", "model.tgz"),
        (f"http://10.1.1.1:80/m?v=2#sha256={HASH.upper()}", "http://10.1.1.1:80/m?v=2", "m"),
        (f"file:///srv/model.zip{PIN}", "file:///srv/model.zip", "model.zip"),
        (f"https://files.example/{PIN}", "https://files.example/", ""),
    ],
)  # fmt: skip
def test_a_download_is_a_uri_and_the_hash_of_its_bytes(target: str, uri: str, name: str) -> None:
    assert pinned(target) == (uri, HASH, name)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("https://files.example/model.tgz", "is without its hash: end it with #sha256= and the 64 digits"),
        (f"https://files.example/model.tgz#md5={HASH}", "is without its hash"),
        (f"https://files.example/model.tgz#sha256={HASH[1:]}", "is without its hash"),
        (f"https://me:hunter2@files.example/model.tgz{PIN}", "holds a name or password, and stands in the ledger"),
        (f"ftp://files.example/model.tgz{PIN}", "is a URI that begins with https://, http:// or file:///"),
        (f"https:///model.tgz{PIN}", "names a host and a file there"),
        (f"https://files.example{PIN}", "names a host and a file there"),
        (f"file://other/model.tgz{PIN}", "names a host and a file there"),
        (f"https://files.example/{PIN}", "ends without the name of a file: say it with Out"),
        ("model.tgz", "is a URI that begins with"),
    ],
)
def test_a_download_that_says_less_is_refused(target: str, said: str) -> None:
    message = refusal(download(target))
    assert said in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (extract("../model.tgz"), "Target of EXTRACT is a path below the content's directory"),
        (extract("/etc/passwd"), "Target of EXTRACT is a path below the content's directory"),
        (extract(f"https://files.example/model.tgz{PIN}"), "Target of EXTRACT is a file of this content"),
        (extract("."), "Target of EXTRACT is a file of this content"),
        (extract("model.tgz", Options=[{"Out": "../up"}]), "Out is a path below the content's directory"),
        (extract("model.tgz", Options=[{"Out": "/tmp"}]), "Out is a path below the content's directory"),
        (extract("model.tgz", Options=[{"Into": "x"}]), "Options holds Into, and there is only Out"),
        (download(f"https://files.example/a{PIN}", Options=[{"Out": "a/../../b"}]), "Out is a path below"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(operation: dict[str, Any], said: str) -> None:
    assert said in refusal(operation)


def test_what_is_made_of_a_file_is_said_with_out_or_by_its_name() -> None:
    body = content(
        download(f"https://files.example/a/model.tgz{PIN}"),
        download(f"https://files.example/a/model.tgz{PIN}", Options=[{"Out": "./in/m.tgz"}]),
        extract("in/m.tgz", Options=[{"Out": "model/"}]),
        extract("model.tgz"),
    )
    assert [one.out for one in body.OpsList] == ["model.tgz", "in/m.tgz", "model", ""]
    assert [one.archive for one in body.OpsList[2:]] == ["in/m.tgz", "model.tgz"]


# ---- secrets


def train(**environment: Any) -> RunSwarm:
    document = yaml.safe_load((DOCUMENTS / "train.yaml").read_text())
    document["Body"]["Envvars"] = [{name: value} for name, value in environment.items()]
    body = parse(yaml.safe_dump(document).encode(), "t.yaml").body
    assert isinstance(body, RunSwarm)
    return body


@pytest.mark.parametrize("name", ["PASSWORD", "DB_PASSWORD", "HF_TOKEN", "AWS_ACCESS_KEY", "api_key", "S.SECRET"])
def test_a_password_in_the_variables_of_a_task_is_refused_with_what_to_write_instead(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        train(**{name: "hunter2"})
    assert f"{name}: what a task says stands in the ledger for everybody to read: expected secret:NAME" in (
        caught.value.message
    )
    assert "run-swop --secrets FILE" in caught.value.message
    assert "hunter2" not in caught.value.message
    assert train(**{name: "secret:db", "NOTE": "x"}).Envvars == {name: "secret:db", "NOTE": "x"}
    assert train(**{name: None}).Envvars == {name: ""}


def test_variables_that_only_sound_like_it_are_taken() -> None:
    harmless = {"TOKENIZER": "bert", "MAX_TOKENS": "512", "SECRETARY": "x", "PASSWORD_FILE": "/run/pw", "KEY": "k"}
    assert train(**harmless).Envvars == harmless
    assert not tells_a_secret("TOKENS", "12")


@pytest.mark.parametrize("value", ["secret:", "secret:a b", "secret:../x", "secret:" + "x" * 65])
def test_a_secret_has_a_name(value: str) -> None:
    with pytest.raises(BadInput, match="is no name of a secret"):
        train(NOTE=value)


def test_a_text_that_is_no_secret_is_none() -> None:
    assert (secret_name("secret:db"), secret_name("db"), secret_name("")) == ("db", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "DB_PASSWORD=hunter2",
        "  - HF_TOKEN : hunter2",
        '{"api_key": "hunter2", "a": 1}',
        r'{"api_key": "not \"hunter2\" alone", "a": 1}',
        r'{"line": "{\"password\": \"hunter2 and more\", \"a\": 1}"}',
        r'{"line": "{\"line\": \"{\\\"token\\\": \\\"not \\\\\\\"hunter2\\\\\\\" alone\\\"}\"}"}',
        "password: 'hunter2 and more'",
        "http_proxy: http://me:hunter2@proxy:3128",
        "Authorization: Bearer hunter2hunter2",
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2, cut off",
    ],
)
def test_what_is_shown_to_others_holds_no_secret(text: str) -> None:
    assert "hunter2" not in hidden(text)
    assert "(hidden)" in hidden(text)


@given(st.text("abc :=\"'\n{}TOKENpassword://@", max_size=60))
def test_hiding_twice_hides_no_more(text: str) -> None:
    assert hidden(hidden(text)) == hidden(text)
