"""Whose tasks an operator runs: the flags against the CAs in capath, and the sentence for everybody else."""

from __future__ import annotations

import pytest

from swarm.errors import BadInput
from swarm.nodes.acceptance import accept
from swarm.runtime.credentials import Credentials
from tests.certificates import authority, crl, leaf, make_organisation


@pytest.fixture
def hosts(tmp_path):
    """Two organisations that have exchanged their CAs."""
    a, b = make_organisation(tmp_path, "a"), make_organisation(tmp_path, "b")
    a.trust(b)
    return a, b


def credentials(organisation, role="swop"):
    return Credentials.load(organisation.cert(role), organisation.key(role), organisation.capath)


def accepting(organisation, *flags):
    own = credentials(organisation)
    return accept(flags, own)


def refusal(acceptance, author):
    return acceptance.refusal(author.identity, "created", author.chain)


def test_the_own_organisations_tasks_are_run(hosts):
    a, _ = hosts
    assert refusal(accepting(a), credentials(a, "swci")) is None


def test_another_organisations_are_not_and_the_flag_is_named(hosts):
    a, b = hosts
    refused = refusal(accepting(a), credentials(b, "swci"))
    assert refused.reason == "swci-1 of b created it, and tasks are accepted of a only"
    assert refused.hint == "start swop-1 with run-swop --accept-org b"


@pytest.mark.parametrize("flag", ["b", "B"])
def test_a_named_organisations_are_run(hosts, flag):
    a, b = hosts
    assert refusal(accepting(a, flag), credentials(b, "swci")) is None


def test_an_organisation_is_named_by_its_key_too(hosts):
    a, b = hosts
    author = credentials(b, "swci")
    assert refusal(accepting(a, f"sha256:{author.identity.anchor.hex()}"), author) is None


@pytest.mark.parametrize("flag", ["c", "sha256:" + "0" * 64, "", "*", "a b"])
def test_a_name_that_is_nobodys_in_capath_is_refused_at_start(hosts, flag):
    a, _ = hosts
    with pytest.raises(BadInput, match="capath holds no CA of that organisation, only of a, b"):
        accepting(a, flag)


def test_the_nearest_name_is_offered(tmp_path):
    a, other = make_organisation(tmp_path, "a"), make_organisation(tmp_path, "hospital-b")
    a.trust(other)
    with pytest.raises(BadInput) as caught:
        accepting(a, "hospitalb")
    assert caught.value.hint == "did you mean hospital-b?"


def test_a_name_that_two_share_is_refused_with_both_fingerprints(tmp_path, hosts):
    a, b = hosts
    (a.capath / "second.pem").write_bytes(authority("CA-b", uri="swarm://b").pem)
    anchors = {anchor.spki_sha256 for anchor in credentials(a).anchors if anchor.name == "b"}
    with pytest.raises(BadInput) as caught:
        accepting(a, "b")
    assert all(f"sha256:{key.hex()}" in caught.value.message for key in anchors)
    assert len(anchors) == 2
    author = credentials(b, "swci")
    acceptance = accepting(a, f"sha256:{author.identity.anchor.hex()}")
    assert refusal(acceptance, author) is None
    assert refusal(accepting(a), author).hint.endswith(f"--accept-org sha256:{author.identity.anchor.hex()}")


def test_an_author_whose_certificate_this_host_knows_as_revoked_is_refused(hosts):
    a, b = hosts
    author = credentials(b, "swci")
    revoked = leaf(b.ca, "SWCI-1", uris=["swarm://b/swci/swci-1"])
    (a.capath / "b.crl.pem").write_bytes(crl(b.ca, revoked))
    acceptance = accepting(a, "b")
    assert refusal(acceptance, author) is None
    assert "revoked" in acceptance.refusal(author.identity, "created", revoked.chain).reason
