from __future__ import annotations

import time
from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.core.names import Identity
from swarm.errors import BadInput, IdentityError
from swarm.wire.certs import (
    anchors_from_der,
    anchors_from_pem,
    cert_sign,
    cert_verify,
    crl_from_pem,
    describe,
    fingerprint,
    judge,
)
from tests.certificates import (
    CLIENT,
    CODE_SIGNING,
    DAY,
    NOW,
    SERVER,
    Pair,
    authority,
    crl,
    leaf,
    new_key,
)


def judged(pair: Pair, *cas: Pair, crls: tuple[bytes, ...] = (), now=NOW) -> Identity:
    return judge(pair.chain, anchors_from_der(ca.der for ca in cas), [crl_from_pem(each) for each in crls], now)


def refusal(pair: Pair, *cas: Pair, **more) -> str:
    with pytest.raises(IdentityError) as caught:
        judged(pair, *cas, **more)
    return caught.value.message


A = authority("CA-1", uri="swarm://a")


def test_hpes_form_is_accepted() -> None:
    ca = authority("CA-1", key="rsa2048", usage=("digital_signature", "key_cert_sign"))
    identity = judged(leaf(ca, "SN-1", hpe=True), ca)
    assert str(identity) == "swarm://ca-1/sn/sn-1"
    assert identity.anchor == anchors_from_der([ca.der])[0].spki_sha256


@pytest.mark.parametrize("key", ["ed25519", "p256", "rsa2048", "rsa4096"])
def test_every_promised_key_type_is_accepted(key: str) -> None:
    ca = authority("CA-1", uri="swarm://a", key=key)
    pair = leaf(ca, "SWOP-2", uris=["swarm://a/swop/swop-2"], key=key)
    assert str(judged(pair, ca)) == "swarm://a/swop/swop-2"
    signature = cert_sign(pair.key, b"data")
    assert cert_verify(pair.der, b"data", signature)
    assert not cert_verify(pair.der, b"other", signature)
    assert not cert_verify(leaf(ca, key=key if key != "ed25519" else "p256").der, b"datum", signature)


@pytest.mark.parametrize(("common", "role", "name"), [("SWCI-x.y", "swci", "swci-x.y"), ("sl-7", "sl", "sl-7")])
def test_without_uri_the_common_name_gives_role_and_name(common: str, role: str, name: str) -> None:
    identity = judged(leaf(A, common), A)
    assert (identity.organisation, identity.role, identity.name) == ("a", role, name)


def test_one_intermediate_is_accepted_and_the_anchor_may_come_along() -> None:
    between = authority("between", signed_by=A)
    pair = leaf(between)
    assert judged(pair, A).organisation == "a"
    assert judged(Pair(pair.certificate, pair.key, (between.certificate, A.certificate)), A).organisation == "a"


def test_an_intermediate_in_capath_is_an_organisation_of_its_own() -> None:
    between = authority("between", signed_by=A)
    assert judged(leaf(between), A, between).organisation == "between"


def test_a_foreign_anchor_is_refused() -> None:
    other = authority("CA-2")
    assert refusal(leaf(other), A) == (
        "the certificate CN=SN-1 was issued by CN=CA-2, which no CA in capath is or has signed"
    )


def test_a_namesake_of_the_anchor_is_a_foreign_anchor() -> None:
    assert "which no CA in capath" in refusal(leaf(authority("CA-1", uri="swarm://a")), A)


def test_a_self_signed_leaf_is_a_foreign_anchor() -> None:
    key = new_key()
    pair = leaf(Pair(leaf(A, key=key).certificate, key), key=key)
    assert "was issued by CN=SN-1, which no CA in capath" in refusal(pair, A)


def test_a_leaf_with_key_cert_sign_issues_nothing() -> None:
    ca = authority("CA-1", key="rsa2048")
    member = leaf(ca, "SL-1", hpe=True)
    forged = leaf(member, "SN-1")
    assert "which no CA in capath" in refusal(Pair(forged.certificate, forged.key, (member.certificate,)), ca)


def test_no_ca_speaks_for_another_organisation() -> None:
    b = authority("CA-2", uri="swarm://b")
    assert refusal(leaf(b, uris=["swarm://a/sn/sn-1"]), A, b) == (
        "the certificate CN=SN-1 says organisation 'a', but the CA of 'b' has signed it: "
        "no CA can speak for another organisation"
    )


@pytest.mark.parametrize(
    ("common", "uri"), [("SN-1", "swarm://a/sn/sn-2"), ("SL-1", "swarm://a/sn/sl-1"), ("x", "swarm://a/sn/y")]
)
def test_san_and_common_name_must_agree(common: str, uri: str) -> None:
    assert refusal(leaf(A, common, uris=[uri]), A) == f"the SAN {uri} and CN={common} of a certificate do not agree"


def test_two_swarm_names_are_one_too_many() -> None:
    assert "has 2 swarm:// names, expected one" in refusal(leaf(A, uris=["swarm://a/sn/sn-1", "swarm://a/sl/sn-1"]), A)


@pytest.mark.parametrize("uri", ["swarm://a/sn", "swarm://a/boss/x", "swarm://a/sn/x/y", "swarm:a", "swarm://a/sn/a b"])
def test_a_malformed_swarm_name_is_refused(uri: str) -> None:
    message = refusal(leaf(A, None, uris=[uri]), A)
    assert "is not swarm://ORGANISATION/ROLE/NAME" in message or "is not a name" in message


@pytest.mark.parametrize("common", ["host.example", "SN-", "SN1", None])
def test_a_certificate_without_a_role_is_refused(common: str | None) -> None:
    assert "names no role" in refusal(leaf(A, common), A)


def test_an_expired_certificate_is_refused() -> None:
    ended, now = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in (NOW - DAY, NOW))
    said = f"the certificate CN=SN-1 expired on {ended}, it is {now}"
    assert refusal(leaf(A, start=NOW - 9 * DAY, end=NOW - DAY), A) == said


def test_validity_is_judged_at_the_given_time() -> None:
    assert "expired on" in refusal(leaf(A), A, now=NOW + 40 * DAY)
    assert judged(leaf(A, end=NOW - timedelta(seconds=1)), A, now=NOW - timedelta(hours=1)).role == "sn"


def test_a_certificate_of_tomorrow_is_refused() -> None:
    begins, now = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in (NOW + DAY, NOW))
    assert refusal(leaf(A, start=NOW + DAY), A) == f"the certificate CN=SN-1 is not valid before {begins}, it is {now}"


def test_what_has_begun_by_the_latest_time_that_was_reached_has_begun() -> None:
    pair, anchors = leaf(A, start=NOW, end=NOW + 9 * DAY), anchors_from_der([A.der])
    assert judge(pair.chain, anchors, [], NOW - DAY, NOW).name == "sn-1"
    seen, now = (f"{moment:%Y-%m-%d %H:%M:%S} UTC" for moment in (NOW - DAY / 2, NOW - DAY))
    with pytest.raises(IdentityError, match=f"is not valid before .*, it is {now}, and this process has seen {seen}$"):
        judge(pair.chain, anchors, [], NOW - DAY, NOW - DAY / 2)


def test_what_expires_is_measured_by_the_clock_as_it_stands() -> None:
    pair, anchors = leaf(A, start=NOW, end=NOW + DAY), anchors_from_der([A.der])
    assert judge(pair.chain, anchors, [], NOW, NOW + 9 * DAY).name == "sn-1"
    with pytest.raises(IdentityError, match="expired on"):
        judge(pair.chain, anchors, [], NOW + 2 * DAY, NOW)


def test_an_expired_ca_is_refused() -> None:
    old = authority("CA-0", start=NOW - 9 * DAY, end=NOW - DAY)
    assert refusal(leaf(old), old).startswith("the certificate CN=CA-0 expired on ")


def test_a_ca_as_node_is_refused() -> None:
    assert "CN=SN-1 is a CA certificate, expected that of a node" in refusal(leaf(A, ca_flag=True), A)
    assert "CN=CA-1 is a CA certificate, expected that of a node" in refusal(A, A)


def test_wrong_usage_is_refused() -> None:
    assert refusal(leaf(A, usage=("key_encipherment",)), A) == "the key usage of CN=SN-1 lacks digitalSignature"
    assert refusal(leaf(A, purposes=[CODE_SIGNING]), A) == "the extended key usage of CN=SN-1 lacks serverAuth"
    assert refusal(leaf(A, purposes=[SERVER]), A) == "the extended key usage of CN=SN-1 lacks clientAuth"
    assert judged(leaf(A, purposes=[SERVER, CLIENT]), A).role == "sn"
    assert judged(leaf(A, usage=None), A).role == "sn"


def test_an_unknown_critical_extension_is_refused() -> None:
    assert "the critical extension 1.2.3.4, which is not known here" in refusal(leaf(A, critical="1.2.3.4"), A)


def test_an_oversized_certificate_is_refused_before_it_is_read() -> None:
    assert "bytes was presented, at most 8192 are accepted" in refusal(leaf(A, padding=8192), A)
    with pytest.raises(IdentityError, match="a certificate of 100000 bytes was presented"):
        judge([b"\0" * 100000], [], [], NOW)


def test_a_chain_too_deep_is_refused() -> None:
    low = authority("low", signed_by=authority("between", signed_by=A))
    assert refusal(leaf(low), A).startswith("the chain of CN=SN-1 is too deep: expected at most one intermediate")
    lowest = authority("lowest", signed_by=authority("lower", signed_by=low))
    assert "is too deep" in refusal(leaf(lowest), A)


def test_a_path_length_of_0_allows_no_intermediate() -> None:
    root = authority("CA-1", path_length=0)
    assert "is too deep" in refusal(leaf(authority("between", signed_by=root)), root)


@pytest.mark.parametrize("bits", [1024, 2047, 4104])
def test_an_rsa_key_of_another_size_is_refused(bits: int) -> None:
    assert f"has an RSA key of {bits} bits, expected 2048 to 4096" in refusal(leaf(A, key=f"rsa{bits}"), A)


def test_a_huge_rsa_key_is_refused_quickly() -> None:
    pair = leaf(A, key="rsa16384")
    anchors = anchors_from_der([A.der])
    before = time.process_time()
    with pytest.raises(IdentityError, match="an RSA key of 16384 bits"):
        judge(pair.chain, anchors, [], NOW)
    assert time.process_time() - before < 0.5  # room for a whole garbage collection of this process


def test_another_curve_is_refused() -> None:
    assert "has a key on curve secp384r1, expected P-256" in refusal(leaf(A, key="p384"), A)


def test_a_listed_certificate_is_refused_and_only_by_its_own_cas_list() -> None:
    pair, other = leaf(A), authority("CA-1")
    message = refusal(pair, A, other, crls=(crl(A, leaf(A), pair),))
    assert message.startswith("the certificate CN=SN-1 was revoked by its CA on ")
    assert judged(pair, A, crls=(crl(A, leaf(A)),)).role == "sn"
    assert judged(pair, A, other, crls=(crl(other, pair),)).role == "sn"


def test_a_listed_intermediate_is_refused() -> None:
    between = authority("between", signed_by=A)
    assert "CN=between was revoked" in refusal(leaf(between), A, crls=(crl(A, between),))


def test_two_organisations_of_one_name_are_told_apart() -> None:
    other, third = authority("CA-2", uri="swarm://a"), authority("CA-3", uri="swarm://c")
    anchors = anchors_from_der([A.der, other.der, third.der])
    labels = [anchor.label for anchor in anchors]
    assert labels == [f"a#{anchors[0].spki_sha256.hex()[:8]}", f"a#{anchors[1].spki_sha256.hex()[:8]}", "c"]
    assert judged(leaf(other, uris=["swarm://a/sn/sn-1"]), A, other).organisation == labels[1]


def test_a_renewed_ca_is_the_same_organisation() -> None:
    renewed = authority("CA-1", uri="swarm://a", key=A.key)
    anchors = anchors_from_pem([A.pem + renewed.pem, A.pem])
    assert [anchor.label for anchor in anchors] == ["a", "a"]
    assert anchors[0].spki_sha256 == anchors[1].spki_sha256


def test_of_a_ca_that_was_renewed_with_its_key_the_certificate_that_is_valid_counts_in_whatever_order_they_come() -> (
    None
):
    """The name of its file in capath decided."""
    expired = authority("CA-1", uri="swarm://a", key=A.key, start=NOW - 9 * DAY, end=NOW - DAY)
    to_come = authority("CA-1", uri="swarm://a", key=A.key, start=NOW + DAY, end=NOW + 9 * DAY)
    between = leaf(authority("between", signed_by=A))
    for order in permutations((A, expired, to_come)):
        assert judged(leaf(A), *order).organisation == "a"
        assert judged(between, *order).organisation == "a"
    assert "the certificate CN=CA-1" in refusal(leaf(A), expired, to_come)
    assert "expired on" in refusal(leaf(A), expired, to_come)


@pytest.mark.parametrize(("common", "name"), [("Hôpital A / Root CA", "h-pital-a-root-ca"), ("CA-1", "ca-1")])
def test_a_cas_common_name_becomes_a_name(common: str, name: str) -> None:
    assert anchors_from_der([authority(common).der])[0].label == name


def test_a_ca_without_a_name_is_called_by_its_key() -> None:
    (anchor,) = anchors_from_der([authority(None).der])
    assert anchor.label == f"ca-{anchor.spki_sha256.hex()[:8]}"


def test_what_is_no_ca_is_no_anchor() -> None:
    with pytest.raises(BadInput, match="CN=SN-1 in capath is not a CA certificate"):
        anchors_from_der([leaf(A).der])
    with pytest.raises(BadInput, match="a CA file is not a PEM certificate"):
        anchors_from_pem(["nothing"])
    with pytest.raises(BadInput, match="not a revocation list in PEM form"):
        crl_from_pem(A.pem)


def test_control_characters_of_a_subject_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in refusal(leaf(authority("CA-\x1b[31m2")), A)


def test_fingerprints_say_their_hash() -> None:
    assert fingerprint(b"").startswith("sha256:e3b0c442")


GOOD = leaf(A)
ANCHORS = anchors_from_der([A.der])


@given(st.integers(0, len(GOOD.der) - 1), st.integers(1, 255))
def test_a_damaged_certificate_is_refused_not_believed(at: int, flip: int) -> None:
    damaged = bytearray(GOOD.der)
    damaged[at] ^= flip
    with pytest.raises(IdentityError):
        judge([bytes(damaged)], ANCHORS, [], NOW)


def test_a_certificate_has_one_writing_whatever_its_signature_ends_with() -> None:
    even = next(made for made in (leaf(A) for _ in range(200)) if not made.der[-1] & 1)
    header = even.der.rindex(b"\x03\x41\x00")
    damaged = bytearray(even.der)
    damaged[header + 2] = 1  # "one bit is unused": true of the signature's last bit, so the parser says nothing
    with pytest.raises(IdentityError, match="whole bytes"):
        judge([bytes(damaged)], ANCHORS, [], NOW)


def test_a_certificate_of_no_known_version_is_described_by_its_fingerprint() -> None:
    der = GOOD.der
    odd = der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x0a", 1)
    assert odd != der
    assert describe(odd) == fingerprint(odd)
