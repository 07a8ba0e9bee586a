"""The process engine: what a worker has started is found by its slot's directory and ended, and nothing else."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time

import psutil

from swarm.engines import process as process_engine
from swarm.engines.process import MARK, ProcessEngine, _is_marked
from swarm.nodes import detached
from swarm.nodes.standing import Node


def marked(place):
    return [one for one in psutil.process_iter(["environ"]) if (one.info["environ"] or {}).get(MARK) == str(place)]


def start(script, place):
    return subprocess.Popen(["sh", "-c", script], env={**os.environ, MARK: str(place)}, stdout=subprocess.PIPE)


def test_a_sweep_ends_what_is_being_started_too_and_no_other_slots_worker(tmp_path):
    many = "for i in $(seq 300); do sleep 60 >/dev/null & [ $i = 20 ] && echo; done; wait"
    other = start("echo; exec sleep 60", tmp_path / "12.1-3")
    worker = start(many, tmp_path / "12.0-3")
    try:
        other.stdout.readline()
        worker.stdout.readline()  # it is in the midst of it
        ProcessEngine().sweep(tmp_path / "12.0-3")
        assert not [one for one in marked(tmp_path / "12.0-3") if one.status() != psutil.STATUS_ZOMBIE]
        assert other.poll() is None
    finally:
        for process in (other, worker):
            process.kill()
            process.wait()
            process.stdout.close()


def test_what_a_killed_operator_had_running_ends_with_stop_swarm(tmp_path):
    gone = Node("swop-1", 2**22, 0.0)
    workers = [start("echo; exec sleep 60", tmp_path / place) for place in ("slots/12.0-3", "jobs/13.0-1")]
    try:
        for place, worker in zip(("slots/12.0-3", "jobs/13.0-1"), workers, strict=True):
            (tmp_path / place).mkdir(parents=True)
            worker.stdout.readline()
        detached.stop([detached.Detached(gone, "swop", tmp_path, False, tmp_path / "record")])
        assert [worker.wait() for worker in workers] == [-9, -9]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def test_a_learning_node_is_found_by_its_slot_only(tmp_path):
    node = subprocess.Popen(
        ["sh", "-c", "echo; read never", "swarm.cli.run_sl"], env={**os.environ, MARK: str(tmp_path / "12.0-3")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        node.stdout.readline()
        engine = ProcessEngine()
        worker = engine.find(tmp_path / "12.0-3")
        assert worker is not None
        assert worker.pid == node.pid
        assert engine.find(tmp_path / "12.0-30") is None
        assert engine.find(tmp_path / "12.0") is None
        worker.kill()
        assert node.wait() == -9
        assert worker.poll()
    finally:
        node.kill()
        node.communicate()


def test_a_sweep_ends_what_is_just_becoming_its_program(tmp_path):
    """It has no environment for a moment then, by which it could be told."""
    for _ in range(20):
        with subprocess.Popen(["sleep", "600"], env=os.environ | {MARK: str(tmp_path)}) as process:
            found = _is_marked(process.pid, tmp_path)
            process.kill()
        assert found


def test_what_has_no_environment_is_nobodys_worker(tmp_path):
    with subprocess.Popen(["sleep", "600"], env={}) as process:
        found = _is_marked(process.pid, tmp_path)
        process.kill()
        assert not found
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not _is_marked(process.pid, tmp_path), "it has ended, and nobody has seen it"


def test_however_many_have_no_environment_a_sweep_waits_for_them_together(tmp_path, monkeypatch):
    pauses, sleep = [], time.sleep
    monkeypatch.setattr(process_engine.time, "sleep", lambda duration_s: (pauses.append(duration_s), sleep(duration_s)))
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(subprocess.Popen(["sleep", "600"], env={})) for _ in range(30)]
        for each in started:
            stack.callback(each.kill)
        ProcessEngine().sweep(tmp_path)
    assert 0 < len(pauses) < len(started)
