"""Container paths: what profiles and tasks may name, and what each refusal says."""

from pathlib import Path

import pytest

from swarm.engines.paths import Mount, covered, in_order, source_of, target_of
from swarm.errors import BadInput


@pytest.mark.parametrize(
    ("text", "target"), [("/tmp/test", "/tmp/test"), ("/tmp//test/", "/tmp/test"), ("//a/./b", "/a/b")]
)
def test_a_target_has_one_spelling(text, target):
    assert target_of(text, "Tgt") == target


@pytest.mark.parametrize("text", ["", "/", "//", "/.", "model", "./model", "/a\0b"])
def test_a_target_is_an_absolute_path_below_the_root(text):
    with pytest.raises(BadInput, match=r"Tgt is .*, expected an absolute path below / inside the worker"):
        target_of(text, "Tgt")


@pytest.mark.parametrize("text", ["/../etc", "/tmp/../../etc", "/tmp/test/.."])
def test_a_target_leads_nowhere_but_down(text):
    with pytest.raises(BadInput, match=r"leads out of the worker's directories: '\.\.' is not possible there"):
        target_of(text, "Tgt")


def test_a_bound_source_exists_on_this_host(tmp_path):
    assert source_of("BIND", str(tmp_path), "Src", volumes=tmp_path / "volumes") == tmp_path
    with pytest.raises(BadInput, match=r"Src .*/missing cannot be used: No such file or directory"):
        source_of("BIND", str(tmp_path / "missing"), "Src", volumes=tmp_path / "volumes")


def test_links_that_lead_in_a_circle_are_no_source(tmp_path):
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for path, part in ((tmp_path / "one", ""), (tmp_path, "two")):
        with pytest.raises(BadInput, match="cannot be used: Too many levels of symbolic links"):
            source_of("BIND", str(path), "Src", volumes=tmp_path, sub_path=part)


@pytest.mark.parametrize("text", ["model", "../model", ""])
def test_a_relative_source_is_refused(tmp_path, text):
    with pytest.raises(BadInput, match="expected an absolute path on the operator's host"):
        source_of("BIND", text, "Src", volumes=tmp_path)


def test_a_placeholder_that_nobody_replaced_is_named(tmp_path):
    with pytest.raises(BadInput) as caught:
        source_of("BIND", "<PROJECT-MODEL>", "Src", volumes=tmp_path)
    assert caught.value.hint == "replace the placeholder by a directory of this host"


@pytest.mark.parametrize("text", ["/", "//", "/tmp/.."])
def test_a_whole_host_is_no_source(tmp_path, text):
    with pytest.raises(BadInput, match="a whole host is not given to a worker"):
        source_of("BIND", text, "Src", volumes=tmp_path)


def test_a_volume_is_a_directory_of_the_operators_own(tmp_path):
    volumes = tmp_path / "volumes"
    made = source_of("VOLUME", "sl-cli-lib", "Src", volumes=volumes)
    assert made == volumes / "sl-cli-lib"
    assert made.is_dir()
    assert source_of("VOLUME", "sl-cli-lib", "Src", volumes=volumes) == made


@pytest.mark.parametrize("name", ["../other", "a/b", "", ".", "..", "/etc", "a\nb"])
def test_a_volume_is_named_and_no_path(tmp_path, name):
    with pytest.raises(BadInput, match="is not the name of a volume"):
        source_of("VOLUME", name, "Src", volumes=tmp_path)


def test_a_sub_path_stays_inside_what_it_is_part_of(tmp_path):
    (tmp_path / "certs" / "capath").mkdir(parents=True)
    (tmp_path / "certs" / "out").symlink_to("/etc")
    source = {"kind": "BIND", "text": str(tmp_path / "certs"), "what": "CAPATH", "volumes": tmp_path}
    assert source_of(**source, sub_path="capath") == tmp_path / "certs" / "capath"
    assert source_of(**source, sub_path="/capath") == tmp_path / "certs" / "capath"
    for escape in ("..", "capath/../..", "out"):
        with pytest.raises(BadInput, match="of CAPATH leads out of"):
            source_of(**source, sub_path=escape)


def test_outer_targets_come_first_and_none_is_claimed_twice():
    inner = Mount("SharedContent[0]", Path("/model"), "/tmp/test/model")
    outer = Mount("PrivateContent", Path("/data"), "/tmp/test")
    assert in_order([inner, outer]) == (outer, inner)
    with pytest.raises(BadInput, match=r"PrivateContent and SharedContent\[1\] both claim /tmp/test"):
        in_order([inner, outer, Mount("SharedContent[1]", Path("/other"), "/tmp/test")])


def test_a_target_is_covered_by_a_mount_above_it():
    mounts = [Mount("PrivateContent", Path("/data"), "/tmp/test")]
    assert covered("/tmp/test", mounts)
    assert covered("/tmp/test/model", mounts)
    assert not covered("/tmp/testing", mounts)
    assert not covered("/tmp", mounts)
