"""The web form of a command interface, spoken to as its server does: what is answered, what is refused and cut off."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
import trio
import trio.testing

from swarm.errors import BadInput, Crowded, IdentityError, Outdated, Refused, Unreachable
from swarm.nodes.swci import webapp
from swarm.nodes.swci.webapp import Desk, application


class Browser:
    """Whoever speaks to the application: one request each time."""

    def __init__(self, run, usr_dir=None, deadline_s=60.0):
        self.desk = Desk(run, usr_dir, deadline_s)
        self.app = application(self.desk)

    async def ask(self, method, path, body=b"", headers=(), query="", leaves=None):
        """The status and the answer. ``body``: pieces; after them the client goes away when ``leaves`` is set."""
        pieces = [body] if isinstance(body, bytes) else list(body)
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1]["more_body"] = False
        sent = []

        async def receive():
            if messages:
                return messages.pop(0)
            await (trio.Event() if leaves is None else leaves).wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
            "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
            "headers": list(headers), "client": None, "server": None,
        }  # fmt: skip
        await self.app(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))

    async def command(self, line, **rest):
        return await self.ask("POST", "/exec", query=f"cmd={quote(line)}", **rest)


async def echo(line):
    return [f"you said {line}"]


def upload(name, data=b"Name: x\n", field="file"):
    boundary = b"b0undary"
    head = f'Content-Disposition: form-data; name="{field}"; filename="{name}"\r\n'.encode()
    body = b"--" + boundary + b"\r\n" + head + b"\r\n" + data + b"\r\n--" + boundary + b"--\r\n"
    return {"body": body, "headers": [(b"content-type", b"multipart/form-data; boundary=" + boundary)]}


def test_a_command_is_answered_with_its_lines():
    status, answer = trio.run(Browser(echo).command, "LIST TASKS")
    assert (status, answer) == (200, {"CONTENT": ["you said LIST TASKS"]})


@pytest.mark.parametrize(
    ("method", "path", "query", "status", "sentence"),
    [
        ("GET", "/exec", "cmd=LIST%20TASKS", 405, "GET is not for /exec"),
        ("POST", "/exec", "", 400, "the request names no command, or several"),
        ("POST", "/exec", "cmd=a&cmd=b", 400, "the request names no command, or several"),
        ("POST", "/exec", "cmd=LIST%0ATASKS", 400, "a command is one printable line of at most 4096 characters"),
        ("POST", "/exec", "cmd=a%1b[2J", 400, "a command is one printable line of at most 4096 characters"),
        ("POST", "/exec", "cmd=" + "x" * 4097, 400, "a command is one printable line of at most 4096 characters"),
        ("POST", "/etc/passwd", "", 404, "there is nothing at /etc/passwd"),
        ("POST", "/uploadTaskDef", "", 400, "the form has no file"),
    ],
)
def test_what_is_no_command_is_refused(method, path, query, status, sentence):
    async def never(line):
        raise AssertionError("it ran")

    got, answer = trio.run(lambda: Browser(never).ask(method, path, query=query))
    assert (got, answer["CONTENT"][0]) == (status, f"ERROR : {sentence}")


def test_a_page_in_a_browser_commands_nothing():
    async def never(line):
        raise AssertionError("it ran")

    headers = [(b"origin", b"https://elsewhere.example")]
    status, answer = trio.run(lambda: Browser(never).command("LIST TASKS", headers=headers))
    assert (status, answer["CONTENT"]) == (
        403, ["ERROR : a page in a browser asks, and commands are not for pages"],
    )  # fmt: skip


def test_a_body_beyond_the_limit_is_not_read_on():
    read = []

    async def main():
        def pieces():
            for number in range(1000):
                read.append(number)
                yield b"x" * 65_536

        class Lazy(list):
            def __init__(self):
                self.source = pieces()

            def __bool__(self):
                return True

            def pop(self, at):
                return {"type": "http.request", "body": next(self.source), "more_body": True}

        browser, sent = Browser(echo), []
        lazy = Lazy()

        async def receive():
            return lazy.pop(0)

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/exec", "headers": [], "query_string": b""}
        await browser.app(scope, receive, send)
        return sent

    status, body = trio.run(main)
    assert status["status"] == 400
    assert b"the body of the request is longer than" in body["body"]
    assert len(read) < 20


def test_a_body_that_does_not_come_is_given_up():
    async def main():
        browser, sent = Browser(echo), []

        async def receive():
            await trio.sleep_forever()

        async def send(message):
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": "/exec", "headers": [], "query_string": b""}
        await browser.app(scope, receive, send)
        return sent

    status, body = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert status["status"] == 503
    assert b"did not come within 30 s" in body["body"]


def test_one_command_at_a_time():
    order = []

    async def slow(line):
        order.append(f"begin {line}")
        await trio.sleep(5)
        order.append(f"end {line}")
        return [line]

    async def main():
        browser = Browser(slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(browser.command, "a")
            nursery.start_soon(browser.command, "b")

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert order in (["begin a", "end a", "begin b", "end b"], ["begin b", "end b", "begin a", "end a"])


def test_who_waits_too_long_for_its_turn_is_told_for_what():
    async def main():
        begun = trio.Event()

        async def slow(line):
            begun.set()
            await trio.sleep(webapp.BUSY_S + 10)
            return [line]

        browser = Browser(slow)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(browser.command, "SLEEP 40")
            await begun.wait()
            return await browser.command("LIST TASKS")

    status, answer = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert (status, answer["CONTENT"][0]) == (503, "ERROR : another command runs: SLEEP 40")


def test_a_command_ends_with_its_deadline_and_with_its_client():
    ended = []

    async def for_ever(line):
        try:
            await trio.sleep_forever()
        finally:
            ended.append(line)

    async def main():
        browser = Browser(for_ever, deadline_s=7)
        late = await browser.command("SLEEP 9")
        gone = trio.Event()
        gone.set()
        left = await browser.command("SLEEP 8", leaves=gone)
        return late, left

    late, left = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert late == (503, {"CONTENT": ["ERROR : SLEEP 9 did not end within 7 s"]})
    assert left == (503, {"CONTENT": ["ERROR : SLEEP 8 was given up"]})
    assert ended == ["SLEEP 9", "SLEEP 8"]


def test_task_files_go_into_the_user_directory(tmp_path):
    (tmp_path / "outside.yaml").write_text("untouched")
    usr = tmp_path / "usr"
    usr.mkdir()
    (usr / "linked.yaml").symlink_to(tmp_path / "outside.yaml")
    browser = Browser(echo, usr)
    for name in ("run.yaml", "linked.yaml"):
        status, answer = trio.run(lambda name=name: browser.ask("POST", "/uploadTaskDef", **upload(name)))
        assert (status, answer) == (200, {"CONTENT": [f"Task definition uploaded : {name}"]})
    assert sorted(path.name for path in usr.iterdir()) == ["linked.yaml", "run.yaml"]
    assert (usr / "run.yaml").read_bytes() == b"Name: x\n"
    assert (tmp_path / "outside.yaml").read_text() == "untouched"


ELSEWHERE = ["../outside.yaml", "/etc/x.yaml", "a/b.yaml", ".hidden.yaml", "swci-init", "", "x" * 200 + ".yaml"]


@pytest.mark.parametrize("name", ELSEWHERE)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    status, answer = trio.run(lambda: Browser(echo, tmp_path).ask("POST", "/uploadTaskDef", **upload(name)))
    assert status == 400
    assert answer["CONTENT"][0].startswith("ERROR : ")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_upload_is_refused(tmp_path):
    browser = Browser(echo, tmp_path)
    garbage = {"body": b"\x00\xff" * 50, "headers": [(b"content-type", b"multipart/form-data; boundary=x")]}
    for rest in (garbage, upload("a.yaml", field="other"), {"body": b"", "headers": [(b"content-type", b"text/x")]}):
        status, answer = trio.run(lambda rest=rest: browser.ask("POST", "/uploadTaskDef", **rest))
        assert (status, answer["CONTENT"][0][:8]) == (400, "ERROR : ")
    large = upload("large.yaml", b"x" * (1 << 20) + b"x")
    assert trio.run(lambda: browser.ask("POST", "/uploadTaskDef", **large))[0] == 400
    nowhere = trio.run(lambda: Browser(echo).ask("POST", "/uploadTaskDef", **upload("a.yaml")))
    assert nowhere[1]["CONTENT"][0] == "ERROR : there is no user directory to upload to"
    assert list(tmp_path.iterdir()) == []


def test_health_says_what_runs():
    status, answer = trio.run(lambda: Browser(echo).ask("GET", "/healthz"))
    assert (status, answer["ok"], answer["running"]) == (200, True, "")


@pytest.mark.parametrize(
    ("error", "status"),
    [(BadInput, 400), (Refused, 403), (Unreachable, 503), (Crowded, 503), (IdentityError, 500), (Outdated, 500)],
)
def test_an_error_has_the_status_of_its_kind(monkeypatch, error, status):
    def keep(*file):
        raise error("no")

    monkeypatch.setattr(webapp.uploads, "keep", keep)
    answer = trio.run(lambda: Browser(echo).ask("POST", "/uploadTaskDef", **upload("task.yaml")))
    assert answer == (status, {"CONTENT": ["ERROR : no"]})
