"""What a node refuses at its own start, each in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed448

from swarm.errors import BadInput, IdentityError, SwarmError
from swarm.runtime.credentials import Credentials
from swarm.wire.certs import UnknownAnchor
from tests.certificates import DAY, NOW, OrganisationFiles, authority, crl, leaf, make_organisation, new_key, write


@pytest.fixture
def own(tmp_path: Path) -> OrganisationFiles:
    return make_organisation(tmp_path, "a", ["sn", "sl"])


def load(own: OrganisationFiles, role: str = "sn", **more: object) -> Credentials:
    return Credentials.load(own.cert(role), own.key(role), own.capath, **more)  # type: ignore[arg-type]


def refusal(kind: type[SwarmError], call: Callable[[], object]) -> SwarmError:
    with pytest.raises(kind) as caught:
        call()
    return caught.value


def test_a_good_pair_loads(own: OrganisationFiles) -> None:
    credentials = load(own, expect_roles=("sn",))
    assert str(credentials.identity) == "swarm://a/sn/sn-1"
    assert [anchor.label for anchor in credentials.anchors] == ["a"]


def test_gen_certs_files_load(organisation: Callable[..., object]) -> None:
    made = organisation("hospital-a", key_type="rsa")
    credentials = Credentials.load(made.cert("sl"), made.key("sl"), made.capath)  # type: ignore[attr-defined]
    assert str(credentials.identity) == "swarm://hospital-a/sl/sl-1"


def test_the_wrong_role_for_this_command_is_named(own: OrganisationFiles) -> None:
    error = refusal(IdentityError, lambda: load(own, "sl", expect_roles=("sn",)))
    assert error.message == (
        f"{own.cert('sl')} is the certificate of swarm://a/sl/sl-1, with the role sl; this command needs sn"
    )


@pytest.mark.parametrize("which", ["cert", "key", "capath"])
def test_a_missing_file_is_named(own: OrganisationFiles, which: str) -> None:
    files = {"cert": own.cert("sn"), "key": own.key("sn"), "capath": own.capath}
    files[which] = Path("/nowhere/x.pem")
    error = refusal(BadInput, lambda: Credentials.load(files["cert"], files["key"], files["capath"]))
    assert "/nowhere/x.pem" in error.message
    assert error.hint


def test_a_key_that_others_can_read_is_refused(own: OrganisationFiles) -> None:
    own.key("sn").chmod(0o644)
    error = refusal(IdentityError, lambda: load(own))
    assert error.message.endswith("can be read by others (mode 0644), expected 0600")
    assert error.hint == f"chmod 600 {own.key('sn')}"


def test_the_key_of_another_certificate_is_refused_with_both_fingerprints(own: OrganisationFiles) -> None:
    error = refusal(IdentityError, lambda: Credentials.load(own.cert("sn"), own.key("sl"), own.capath))
    assert error.message.startswith(f"{own.key('sl')} is not the key of {own.cert('sn')}: ")
    assert error.message.count("sha256:") == 2


def test_files_that_are_no_pem_are_named(own: OrganisationFiles) -> None:
    own.cert("sn").write_text("nothing")
    assert "is not a PEM certificate" in refusal(BadInput, lambda: load(own)).message
    own.key("sl").write_text("nothing")
    assert "is not a PEM private key" in refusal(BadInput, lambda: load(own, "sl")).message
    (own.capath / "b.pem").write_text("nothing")
    assert f"{own.capath / 'b.pem'}: " in refusal(BadInput, lambda: load(make_again(own), "sl")).message


def make_again(own: OrganisationFiles) -> OrganisationFiles:
    write(leaf(own.ca, "SL-1"), own.directory, "sl")
    return own


def test_an_encrypted_key_is_refused(own: OrganisationFiles) -> None:
    encryption = serialization.BestAvailableEncryption(b"secret")
    key = new_key().private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    own.key("sn").write_bytes(key)
    assert "is encrypted; a node has nobody to ask" in refusal(BadInput, lambda: load(own)).message


def test_another_kind_of_key_is_refused(own: OrganisationFiles) -> None:
    key = ed448.Ed448PrivateKey.generate()
    own.key("sn").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    assert "expected Ed25519, P-256 or RSA" in refusal(IdentityError, lambda: load(own)).message


def test_ones_own_certificate_is_judged_as_others_will_judge_it(own: OrganisationFiles) -> None:
    write(leaf(own.ca, start=NOW - 9 * DAY, end=NOW - DAY), own.directory, "sn")
    assert "the certificate CN=SN-1 expired on " in refusal(IdentityError, lambda: load(own)).message
    write(leaf(authority("CA-2")), own.directory, "sn")
    assert "which no CA in capath is or has signed" in refusal(UnknownAnchor, lambda: load(own)).message


def test_ones_own_revoked_certificate_is_refused(own: OrganisationFiles) -> None:
    revoked = leaf(own.ca)
    write(revoked, own.directory, "sn")
    (own.capath / "a.crl.pem").write_bytes(crl(own.ca, revoked))
    assert "was revoked by its CA" in refusal(IdentityError, lambda: load(own)).message
    assert load(own, "sl").crls


def test_a_revocation_list_of_nobody_is_refused(own: OrganisationFiles) -> None:
    (own.capath / "x.crl.pem").write_bytes(crl(authority("CA-a"), own.ca))
    assert "was signed by no CA in capath" in refusal(IdentityError, lambda: load(own)).message


def test_an_empty_capath_is_refused(own: OrganisationFiles, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    error = refusal(BadInput, lambda: Credentials.load(own.cert("sn"), own.key("sn"), tmp_path / "empty"))
    assert error.message.endswith("holds no CA certificate (*.pem)")


def test_a_nodes_certificate_in_capath_is_named(own: OrganisationFiles) -> None:
    (own.capath / "sl.pem").write_bytes(own.cert("sl").read_bytes())
    assert refusal(BadInput, lambda: load(own)).message == (
        f"{own.capath / 'sl.pem'}: CN=SL-1 in capath is not a CA certificate: expected CA:TRUE"
    )
