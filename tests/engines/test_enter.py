"""What a worker's program sees: real programs, started through the plan that the process engine writes for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.engines import enter
from swarm.engines.pair import Program
from swarm.engines.paths import Mount, in_order
from swarm.engines.process import ProcessEngine

VIEW = sys.platform == "linux" and subprocess.run(["unshare", "-rm", "true"], check=False).returncode == 0
WAYS = [pytest.param("view", marks=pytest.mark.skipif(not VIEW, reason="no mount namespaces here")), "links"]

LOOK = """
import os, pathlib, sys
print("cwd", os.getcwd())
for argument in sys.argv[1:]:
    print("sees", argument, pathlib.Path(argument).read_text().strip())
"""


class Stage:
    """One slot's directory, and a host with data of two peers."""

    def __init__(self, directory: Path, way: str) -> None:
        self.directory = directory
        self.way = way
        self.engine = ProcessEngine(dict(os.environ))

    def host(self, name: str, **files: str) -> Path:
        path = self.directory / "host" / name
        path.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (path / file).write_text(text)
        return path

    def run(
        self,
        *arguments: str,
        mounts: list[Mount],
        working_dir: str = "/tmp/swarm-worker",
        slot: str = "1.0",
        **environment: str,
    ) -> tuple[int, str]:
        """(exit code, log) of the program in a slot."""
        place = self.directory / "slots" / slot
        place.mkdir(parents=True, exist_ok=True)
        program = Program(arguments, environment, working_dir, in_order(mounts))
        plan = self.engine._write_plan(program, place)
        if self.way == "links":  # as on a host whose kernel permits no view
            content = json.loads(plan.read_text())
            content["keep"].append("/tmp/swarm-worker")
            plan.write_text(json.dumps(content))
        ended = subprocess.run([sys.executable, "-I", "-S", enter.__file__, str(plan)], check=False, timeout=30)
        return ended.returncode, (place / "ml.log").read_text()


@pytest.fixture(params=WAYS)
def stage(request, tmp_path):
    return Stage(tmp_path, request.param)


@pytest.fixture(params=WAYS[:1])
def view(request, tmp_path):
    return Stage(tmp_path, request.param)


@pytest.fixture
def links(tmp_path):
    return Stage(tmp_path, "links")


def private(source: Path, target: str = "/tmp/swarm-worker") -> Mount:
    return Mount("PrivateContent", source, target)


def shared(source: Path, target: str = "/tmp/swarm-worker/model") -> Mount:
    return Mount("SharedContent[0]", source, target, read_only=True)


def test_relative_paths_lead_to_the_mounts_below_the_working_directory(stage):
    data, model = stage.host("data", x="numbers"), stage.host("model", look=LOOK)
    code, log = stage.run(
        "python3", "model/look", "app-data/x", mounts=[private(data, "/tmp/swarm-worker/app-data"), shared(model)]
    )
    assert (code, "sees app-data/x numbers" in log) == (0, True), log


def test_arguments_and_variables_with_a_target_lead_there(stage):
    data = stage.host("data", x="numbers", look=LOOK)
    code, log = stage.run(
        "sh",
        "-c",
        'python3 "$0" "$DATA_DIR/x"',
        "/tmp/swarm-worker/look",
        mounts=[private(data)],
        DATA_DIR="/tmp/swarm-worker",
    )
    assert (code, log.count("numbers")) == (0, 1), log


def test_absolute_targets_inside_the_program_hold(view):
    data = view.host("data", x="numbers")
    code, log = view.run("python3", "-c", "print(open('/tmp/swarm-worker/x').read())", mounts=[private(data)])
    assert (code, "numbers" in log) == (0, True), log


def test_two_workers_with_equal_targets_see_each_its_own(stage):
    for slot, text in (("1.0", "first"), ("1.1", "second")):
        data = stage.host(f"data-{slot}", x=text, look=LOOK)
        code, log = stage.run("python3", "look", "x", mounts=[private(data)], slot=slot)
        assert (code, f"sees x {text}" in log) == (0, True), log


def test_private_content_writes_through_and_the_host_stays_as_it_was(stage):
    data = stage.host("data")
    code, log = stage.run("sh", "-c", "echo trained > result", mounts=[private(data)])
    assert (code, (data / "result").read_text()) == (0, "trained\n"), log
    assert not Path("/tmp/swarm-worker").exists()


def test_the_working_directory_is_private_to_the_slot(stage):
    for slot in ("1.0", "1.1"):
        code, log = stage.run("sh", "-c", "ls; echo mine > left", mounts=[], slot=slot)
        assert (code, "left" in log) == (0, False), log
        assert (stage.directory / "slots" / slot / "work" / "left").exists()


def test_shared_content_is_read_only(view):
    model = view.host("model", x="code")
    code, log = view.run("sh", "-c", "echo changed > /tmp/swarm-worker/model/x", mounts=[shared(model)])
    assert code != 0
    assert "Read-only file system" in log
    assert (model / "x").read_text() == "code"


def test_without_a_view_the_log_says_that_nothing_is_read_only(links):
    model = links.host("model")
    _, log = links.run("true", mounts=[shared(model)])
    assert "as links, not read-only, and rewritten where arguments begin with them" in log


def test_a_target_inside_another_is_laid_over_it(view):
    data, model = view.host("data", x="numbers"), view.host("model", x="code", look=LOOK)
    code, log = view.run("python3", "model/look", "x", "model/x", mounts=[private(data), shared(model)])
    assert (code, "sees x numbers" in log, "sees model/x code" in log) == (0, True, True), log


def test_links_take_a_target_inside_another_if_the_host_has_it_there(links):
    project = links.host("project", x="numbers")
    model = links.host("project/model", look=LOOK)
    code, log = links.run("python3", "model/look", "x", mounts=[private(project), shared(model)])
    assert (code, "sees x numbers" in log) == (0, True), log


@pytest.mark.parametrize(("target", "there"), [("model", True), ("model", False), ("deep/in/it", False)])
def test_links_leave_nothing_behind_in_private_content(links, target, there):
    project, model = links.host("project"), links.host("model")
    if there:
        links.host("project/model")
    code, log = links.run("true", mounts=[private(project), shared(model, f"/tmp/swarm-worker/{target}")])
    assert code == 2
    assert f"error: {model} cannot be shown at /tmp/swarm-worker/{target}: " in log
    assert sorted(path.name for path in project.iterdir()) == (["model"] if there else [])


def test_a_single_file_can_be_shown(stage):
    file = stage.host("data", x="numbers") / "x"
    code, log = stage.run(
        "cat", "/tmp/swarm-worker/in/y", mounts=[Mount("SharedContent[0]", file, "/tmp/swarm-worker/in/y")]
    )
    assert (code, "numbers" in log) == (0, True), log


def test_directories_of_the_host_keep_their_entries_when_a_target_is_added(view):
    data = view.host("data", x="numbers")
    code, log = view.run(
        "sh",
        "-c",
        "cat /usr/share/swarm-test/x; echo; ls /usr/share | wc -l",
        mounts=[private(data, "/usr/share/swarm-test")],
    )
    assert code == 0, log
    assert "numbers" in log
    assert int(log.split()[-1]) == len(os.listdir("/usr/share")) + 1
    assert not Path("/usr/share/swarm-test").exists()


def test_a_link_in_private_content_leads_where_it_does_on_the_host(view):
    data = view.host("data")
    (data / "elsewhere").symlink_to(view.host("other", x="numbers"))
    code, log = view.run("cat", "elsewhere/x", mounts=[private(data)])
    assert (code, "numbers" in log) == (0, True), log


def test_what_would_hide_the_worker_itself_becomes_a_link(view):
    data = view.host("data", x="numbers")
    code, log = view.run("sh", "-c", "cat $DATA/x", mounts=[private(data, "/usr")], DATA="/usr")
    assert (code, "numbers" in log) == (0, True), log
    assert "/usr in place of this host's would hide" in log


@pytest.mark.parametrize(
    "argument", ["; touch canary", "$(touch canary)", "`touch canary`", "a\nb", "--config=/etc/passwd"]
)
def test_arguments_stay_single_and_inert(stage, argument):
    code, log = stage.run("python3", "-c", "import sys; print(sys.argv[1:])", argument, mounts=[])
    assert (code, repr([argument]) in log) == (0, True), log
    assert not (stage.directory / "slots" / "1.0" / "work" / "canary").exists()


def test_only_the_channel_comes_from_the_learning_nodes_environment(stage, monkeypatch):
    monkeypatch.setenv("SWARM_CHANNEL", str(stage.directory / "socket"))
    monkeypatch.setenv("SL_LOG_LEVEL", "DEBUG")
    code, log = stage.run("env", mounts=[], MAX_EPOCHS="2")
    assert code == 0
    lines = log.splitlines()
    assert {f"SWARM_CHANNEL={stage.directory}/socket", "MAX_EPOCHS=2"} <= set(lines)
    assert not any(line.startswith("SL_LOG_LEVEL") for line in lines)


def test_python3_is_the_operators_also_for_what_a_script_starts(stage):
    code, log = stage.run("sh", "-c", "python3 -c 'import sys; print(sys.prefix)'", mounts=[])
    assert (code, sys.prefix in log) == (0, True), log


def test_swarm_python_names_another_one(stage):
    other = stage.host("bin") / "python3"
    other.write_text("#!/bin/sh\necho the other python\n")
    other.chmod(0o755)
    code, log = stage.run("python3", "x.py", mounts=[], SWARM_PYTHON=str(other))
    assert (code, "the other python" in log) == (0, True), log


def test_the_program_itself_may_lie_in_a_target(stage):
    data = stage.host("data")
    (data / "start").write_text("#!/bin/sh\necho started in $PWD\n")
    (data / "start").chmod(0o755)
    for first in ("/tmp/swarm-worker/start", "./start"):
        code, log = stage.run(first, mounts=[private(data)])
        assert (code, "started in " in log) == (0, True), log
    assert ("as links" in log) == (stage.way == "links")


def test_a_program_that_does_not_exist_is_named(stage):
    code, log = stage.run("no-such-program", mounts=[])
    assert code == 2
    assert "error: the program 'no-such-program' cannot be started: No such file or directory" in log


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/tmp/swarm-worker", "/root/tmp/swarm-worker"),
        ("/tmp/swarm-worker/x", "/root/tmp/swarm-worker/x"),
        ("/tmp/swarm-workering", "/tmp/swarm-workering"),
        ("tmp/test", "tmp/test"),
        ("--data=/tmp/swarm-worker", "--data=/tmp/swarm-worker"),
    ],
)
def test_a_value_is_rewritten_if_it_begins_with_a_target(value, expected):
    assert enter.rewritten(value, ["/tmp/swarm-worker"], "/root") == expected
