"""`gen-cert` as people and scripts call it."""

import json
import subprocess

import pytest

from swarm.cli.ending import run
from swarm.cli.gen_cert import command


@pytest.fixture
def gen_cert(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(command, arguments)
        streams = capsys.readouterr()
        return code, streams.out, streams.err

    return call


def test_writes_below_the_current_folder_and_says_what_where_until_when(gen_cert, tmp_path):
    code, out, err = gen_cert("-e", "reverse-proxy/mnist", "-i", "1")
    assert (code, err) == (0, "")
    cert = tmp_path / "workspace/reverse-proxy/mnist/cert"
    fingerprint = subprocess.run(
        ["openssl", "x509", "-in", cert / "ca/capath/ca-1-cert.pem", "-noout", "-fingerprint", "-sha256"],
        capture_output=True, text=True, check=True,
    ).stdout.split("=")[1].strip().replace(":", "").lower()  # fmt: skip
    lines = out.splitlines()
    assert lines[0] == "organisation org-1, host 1, in workspace/reverse-proxy/mnist/cert"
    assert any(line.startswith("  made") and "ca-1-cert.pem" in line and fingerprint in line for line in lines)
    for role in ("sn", "sl", "swop", "swci"):
        assert any(f"{role}-1-cert.pem" in line and "until 2" in line for line in lines)
    assert any(line.startswith("  scp workspace/reverse-proxy/mnist/cert/ca/capath/ca-1-cert.pem ") for line in lines)
    assert lines[-1] == f"  org-1  sha256:{fingerprint}"


def test_json_names_every_file_and_key(gen_cert):
    code, out, _ = gen_cert("--out", "c", "-i", "7", "--org", "Hospital-B", "--key-type", "p256", "--json")
    answer = json.loads(out)
    assert code == 0
    assert answer["ok"]
    assert answer["organisation"] == "hospital-b"
    assert answer["certificates"]["sl"]["key"] == "c/sl-7-key.pem"
    assert set(answer["certificates"]) == {"ca", "sn", "sl", "swop", "swci"}


@pytest.mark.parametrize("arguments", [[], ["-e", "mnist"], ["-i", "1"], ["-e", "", "-i", "1"]])
def test_missing_flags_are_answered_as_hpe_does_with_our_exit_code(gen_cert, arguments, tmp_path):
    code, out, err = gen_cert(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0] == "error: Some or all of the parameters are empty"
    assert "usage: gen-cert -e EXAMPLE-NAME -i HOST-INDEX" in err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("example", ["../x", "/etc", "a//b", ".", "a/../../b"])
def test_an_example_never_leaves_the_workspace(gen_cert, example, tmp_path):
    code, _, err = gen_cert("-e", example, "-i", "1")
    assert code == 2
    assert "is not a name below workspace/" in err
    assert not any(tmp_path.iterdir())


def test_a_second_call_is_refused_and_force_says_what_it_replaces_and_keeps(gen_cert):
    gen_cert("-e", "mnist", "-i", "1")
    code, _, err = gen_cert("-e", "mnist", "-i", "1")
    assert code == 2
    assert err == (
        "error: workspace/mnist/cert/sn-1-key.pem exists (and 7 more), nothing has been written\n"
        "hint: --force replaces the keys and certificates of sn, sl, swop, swci and keeps the CA that signs them\n"
    )
    code, out, _ = gen_cert("-e", "mnist", "-i", "1", "--force")
    assert code == 0
    assert out.count("  replaced  ") == 4
    assert out.count("  kept  ") == 1


def test_openssl_accepts_the_chain_strictly(gen_cert, tmp_path):
    for key_type in ("ed25519", "p256", "rsa"):
        gen_cert("--out", key_type, "-i", "1", "--key-type", key_type)
        done = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-CAfile", f"{key_type}/ca/capath/ca-1-cert.pem",
             f"{key_type}/sn-1-cert.pem"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
