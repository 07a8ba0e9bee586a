"""The certificates that an organisation makes for itself: HPE's tree and fields, and what never happens to files."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from swarm.core.names import ROLES
from swarm.errors import BadInput, IdentityError
from swarm.runtime.authority import CertificateTree, issue
from swarm.wire.issuing import general_name


def load(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def test_the_tree_is_that_of_hpe_gen_cert(tmp_path):
    issue(CertificateTree(tmp_path, "1"))
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    leaves = {f"{role}-1-{what}.pem" for role in ROLES for what in ("key", "cert")}
    assert files == {"ca/ca-1-key.pem", "ca/ca-1-srl.srl", "ca/capath/ca-1-cert.pem"} | leaves


@pytest.mark.parametrize(
    ("key_type", "kind"),
    [("ed25519", ed25519.Ed25519PrivateKey), ("p256", ec.EllipticCurvePrivateKey), ("rsa", rsa.RSAPrivateKey)],
)
def test_fields_are_those_of_hpe_and_each_leaf_verifies_against_the_ca(tmp_path, key_type, kind):
    tree = CertificateTree(tmp_path, "1")
    issue(tree, organisation="Hospital-A", key_type=key_type, sans=[general_name("192.0.2.7")])
    ca = load(tree.authority)
    assert ca.subject.rfc4514_string() == "CN=CA-1,OU=Swarm-Learning"
    assert ca.issuer == ca.subject
    assert extension(ca, x509.BasicConstraints).critical
    assert extension(ca, x509.BasicConstraints).value.ca
    assert extension(ca, x509.KeyUsage).critical
    assert extension(ca, x509.KeyUsage).value.key_cert_sign
    names = extension(ca, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["CA-1"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["swarm://hospital-a"]
    for role in ROLES:
        leaf = load(tree.certificate(role))
        leaf.verify_directly_issued_by(ca)
        key = load_pem_private_key(tree.key(role).read_bytes(), password=None)
        assert isinstance(key, kind)
        assert key.public_key() == leaf.public_key()
        assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == f"{role.upper()}-1"
        names = extension(leaf, x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [f"{role.upper()}-1"]
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [f"swarm://hospital-a/{role}/{role}-1"]
        assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.7"]
        assert not extension(leaf, x509.BasicConstraints).value.ca
        usage = extension(leaf, x509.KeyUsage).value
        assert usage.digital_signature
        assert not usage.key_cert_sign
        assert (
            extension(leaf, x509.AuthorityKeyIdentifier).value.key_identifier
            == extension(ca, x509.SubjectKeyIdentifier).value.digest
        )


def test_keys_are_for_their_owner_only_and_serials_differ(tmp_path):
    tree = CertificateTree(tmp_path, "1")
    issue(tree)
    for path in [tree.authority_key, *(tree.key(role) for role in ROLES)]:
        assert path.stat().st_mode & 0o777 == 0o600
    serials = {load(tree.certificate(role)).serial_number for role in ROLES}
    assert len(serials) == len(ROLES)
    assert max(serials) == int(tree.serials.read_text(), 16)


def test_a_leaf_lasts_the_days_asked_for_and_never_longer_than_its_ca(tmp_path):
    tree = CertificateTree(tmp_path, "1")
    issued = issue(tree, days=30)
    now = datetime.now(UTC)
    assert timedelta(days=29) < issued.leaves["sn"].not_valid_after_utc - now <= timedelta(days=30)
    assert timedelta(days=3649) < issued.authority.not_valid_after_utc - now <= timedelta(days=3650)
    again = issue(tree, days=4000, force=True)
    assert again.leaves["sn"].not_valid_after_utc == issued.authority.not_valid_after_utc


def test_nothing_is_replaced_without_force(tmp_path):
    tree = CertificateTree(tmp_path, "1")
    issue(tree)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match=r"sn-1-key\.pem exists \(and 7 more\), nothing has been written"):
        issue(tree)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_renewing_keeps_the_ca_and_its_organisation_and_goes_on_with_its_serials(tmp_path):
    tree = CertificateTree(tmp_path, "1")
    first = issue(tree, organisation="hospital-a")
    ca = tree.authority.read_bytes()
    second = issue(tree, force=True)
    assert tree.authority.read_bytes() == ca
    assert not second.authority_made
    assert second.organisation == "hospital-a"
    assert len(second.replaced) == 8
    assert min(leaf.serial_number for leaf in second.leaves.values()) > max(
        leaf.serial_number for leaf in first.leaves.values()
    )


def test_a_ca_without_key_of_another_key_or_of_another_organisation_signs_nothing(tmp_path):
    tree = CertificateTree(tmp_path / "1", "1")
    issue(tree, organisation="a")
    with pytest.raises(BadInput, match="speaks for the organisation a, not for b"):
        issue(tree, organisation="b", force=True)
    other = CertificateTree(tmp_path / "2", "1")
    issue(other)
    tree.authority_key.write_bytes(other.authority_key.read_bytes())
    with pytest.raises(IdentityError, match="is not the key of the CA"):
        issue(tree, force=True)
    tree.authority_key.unlink()
    with pytest.raises(IdentityError, match=r"ca-1-key\.pem is missing"):
        issue(tree, force=True)


def test_a_host_index_or_san_that_is_no_name_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not a name"):
        issue(CertificateTree(tmp_path, "../1"))
    for text in ("swarm://b/sn/sn-1", "two words", "", "-x"):
        with pytest.raises(BadInput, match="is no name for a certificate"):
            general_name(text)
    assert not any(tmp_path.iterdir())
