"""What a learning node says of itself outlives a disk that is full for a while."""

import errno
import json
import logging
import os

from swarm.nodes import progress
from swarm.nodes.local import Lines
from swarm.nodes.progress import OWED_MAX, Progress


class Disk:
    """So many bytes are left on it."""

    def __init__(self, left):
        self.left = left
        self.write = os.write

    def __call__(self, descriptor, data):
        if not self.left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = self.write(descriptor, data[: self.left])
        self.left -= taken
        return taken


def test_a_full_disk_ends_nothing_and_what_it_did_not_take_is_written_later(tmp_path, monkeypatch, caplog):
    disk = Disk(40)
    monkeypatch.setattr(progress.os, "write", disk)
    said, read = Progress(tmp_path / "report.jsonl"), Lines(tmp_path / "report.jsonl")
    with caplog.at_level(logging.WARNING):
        said.line("node_started")
        said.line("program_started", pid=7)
        said.line("program_ended", exit_code=0)
    assert read.new() == [{"event": "node_started"}]
    assert [record.getMessage().partition("report.jsonl ")[2] for record in caplog.records] == [
        "cannot be written at present: No space left on device"
    ]
    disk.left = 10_000
    said.line("finished", digest="blake3:aa")
    assert [line["event"] for line in read.new()] == ["program_started", "program_ended", "finished"]
    said.close()


def test_what_only_views_read_is_left_out_when_the_disk_stays_full(tmp_path, monkeypatch):
    disk = Disk(0)
    monkeypatch.setattr(progress.os, "write", disk)
    said = Progress(tmp_path / "report.jsonl")
    for round_ in range(200):
        said.line("round", round=round_, text="x" * (OWED_MAX // 100))
    said.line("finished", digest="blake3:aa")
    disk.left = 10 * OWED_MAX
    said.line("left")
    events = [json.loads(line)["event"] for line in (tmp_path / "report.jsonl").read_text().splitlines()]
    assert events.count("round") < 110
    assert events[-2:] == ["finished", "left"]
    said.close()
