"""The last step before a worker's program: its paths, its directory, its environment, its log; then it is the program.

Run by path as the child of the learning node (`python -I -S enter.py PLAN.json`), so this file stands on the standard
library alone. `engines/process` writes the plan. Guarantees: the program sees every target of its task, two workers
with equal targets each its own; nothing is mounted but in the program's view; arguments stay single arguments.

Two ways to show a target. Where the kernel permits a mount namespace the program gets a root of its own in which all of
this host is seen as it is, and the targets at their very places: absolute paths written inside the program hold. Where
it does not, targets are links below the slot's root, and arguments and variables that begin with one are rewritten.
Neither is a sandbox: a worker has the rights of the user who runs the operator.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

BAD_INPUT = 2
_NEWNS, _NEWUSER = 0x00020000, 0x10000000
_RDONLY, _REMOUNT, _BIND, _REC, _UNBINDABLE, _SLAVE = 1, 32, 4096, 16384, 1 << 17, 1 << 19
# What a mount was made with stays: a user's own namespace may not take it off.
_KEPT_FLAGS = {os.ST_NOSUID: 2, os.ST_NODEV: 4, os.ST_NOEXEC: 8} if sys.platform == "linux" else {}
_SYSTEM = ("/bin", "/dev", "/etc", "/lib", "/lib64", "/proc", "/sbin", "/sys", "/usr")
_libc = ctypes.CDLL(None, use_errno=True)


class NoPlace(Exception):
    """The sentence that a person is told when a target cannot be shown."""


def main(plan_file: str) -> NoReturn:
    with open(plan_file, encoding="utf-8") as file:
        plan: dict[str, Any] = json.load(file)
    if plan["log"]:
        log = os.open(plan["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(log, 1)
        os.dup2(log, 2)
    inherited = {name: os.environ[name] for name in plan["inherit"] if name in os.environ}
    plan["keep"] += [value for value in inherited.values() if value.startswith("/")]
    arguments, environment = plan["arguments"], {**plan["environment"], **inherited}
    try:
        reason = why_no_view(plan)
        if reason:
            arguments, environment = show_by_links(plan, environment)
        else:
            show_in_a_view(plan)
    except (NoPlace, OSError) as error:
        _end(f"{error}")
    print(mapping(plan["mounts"], reason), flush=True)
    try:
        os.execvpe(arguments[0], arguments, environment)
    except OSError as error:
        _end(f"the program {arguments[0]!r} cannot be started: {error.strerror}")


def _end(sentence: str) -> NoReturn:
    print(f"error: {sentence}", flush=True)
    sys.exit(BAD_INPUT)


def mapping(mounts: Iterable[Mapping[str, Any]], no_view: str) -> str:
    """The one line of the log that says where the program's paths lead."""
    rows = [
        f"{mount['target']} = {mount['source']}" + (" (read-only)" if mount["read_only"] and not no_view else "")
        for mount in mounts
    ]
    how = f"; as links, not read-only, and rewritten where arguments begin with them: {no_view}" if no_view else ""
    return f"paths of this worker: {', '.join(rows)}{how}"


# ---- a view of its own


def why_no_view(plan: Mapping[str, Any]) -> str:
    """Why the program cannot have a root of its own here; empty: it can, and this process is in its own namespace."""
    if sys.platform != "linux":
        return "this system has no mount namespaces"
    needed = [*plan["keep"], *_SYSTEM]
    for mount in plan["mounts"]:
        for path in needed:
            if _below(path, mount["target"]):
                return f"{mount['target']} in place of this host's would hide {path}, which the worker needs"
    try:
        _unshare()
        _mount(None, "/", _REC | _SLAVE)
        _mount(plan["root"], plan["root"], _BIND)
    except OSError as error:
        return f"no mount namespace for this user here ({error.strerror})"
    return ""


def show_in_a_view(plan: Mapping[str, Any]) -> None:
    """Enter a root in which the host is seen with every target at its place; the working directory is entered too."""
    mounts = plan["mounts"]
    _mount(None, plan["root"], _UNBINDABLE)  # what shows the host below does not show it in itself
    _show("/", plan["root"], directories_to_open([mount["target"] for mount in mounts]))
    sources = [os.open(mount["source"], os.O_PATH) for mount in mounts]
    os.chroot(plan["root"])
    os.chdir("/")
    for mount, source in zip(mounts, sources, strict=True):
        _show_target(mount, source)
        os.close(source)
    try:
        os.makedirs(plan["working_dir"], exist_ok=True)
    except OSError as error:
        raise NoPlace(f"WorkingDir {plan['working_dir']} cannot be made: {error.strerror}") from None
    os.chdir(plan["working_dir"])


def directories_to_open(targets: Iterable[str]) -> set[str]:
    """The host's directories that get one more entry, which the host itself is not to have, and all above them."""
    opened = {"/"}
    outer: list[str] = []
    for target in targets:
        if any(_below(target, one) for one in outer):
            continue  # it lies in another target: its place is made in there, as Docker makes it
        outer.append(target)
        place = os.path.realpath(target)
        if os.path.lexists(place):
            continue
        while place != "/":
            place = os.path.dirname(place)
            if os.path.lexists(place):
                opened.add(place)
    return opened


def _show(directory: str, into: str, opened: set[str]) -> None:
    """Show a directory of the host: an opened one as a new directory with the same entries, others as they are."""
    for entry in os.scandir(directory):
        place = os.path.join(into, entry.name)
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), place)
            elif not entry.is_dir():
                os.close(os.open(place, os.O_CREAT | os.O_CLOEXEC, 0o600))
                _mount(entry.path, place, _BIND)
            else:
                os.mkdir(place)
                if entry.path in opened:
                    os.chmod(place, stat.S_IMODE(entry.stat().st_mode))
                    _show(entry.path, place, opened)
                else:
                    _mount(entry.path, place, _BIND | _REC)


def _show_target(mount: Mapping[str, Any], source: int) -> None:
    target = mount["target"]
    try:
        if stat.S_ISDIR(os.fstat(source).st_mode):
            os.makedirs(target, exist_ok=True)
        elif not os.path.exists(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.close(os.open(target, os.O_CREAT | os.O_CLOEXEC, 0o600))
        _mount(f"/proc/self/fd/{source}", target, _BIND | _REC)
    except OSError as error:
        raise NoPlace(f"{mount['source']} cannot be shown at {target}: {error.strerror}") from None
    if mount["read_only"]:
        made_with = os.statvfs(target).f_flag
        kept = sum(flag for seen, flag in _KEPT_FLAGS.items() if made_with & seen)
        _mount(None, target, _BIND | _REMOUNT | _RDONLY | kept)


def _unshare() -> None:
    user, group = os.geteuid(), os.getegid()
    _check(_libc.unshare(_NEWNS | (_NEWUSER if user else 0)), "unshare")
    if user:  # in a namespace of this user's own, as the same user
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)


def _mount(source: str | None, target: str, flags: int) -> None:
    result = _libc.mount(source and os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(flags), None)
    _check(result, target)


def _check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


# ---- links


def show_by_links(plan: Mapping[str, Any], environment: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """Link every target below the root and enter the working directory; the arguments and variables that lead there."""
    root = plan["root"]
    own = [root, *(mount["source"] for mount in plan["mounts"] if mount["own"])]
    for mount in plan["mounts"]:
        _link(mount["source"], root + mount["target"], mount["target"], own)
    working = root + plan["working_dir"]
    os.makedirs(working, exist_ok=True)
    os.chdir(working)
    targets = [mount["target"] for mount in plan["mounts"]]
    arguments = [rewritten(argument, targets, root) for argument in plan["arguments"]]
    return arguments, {name: rewritten(value, targets, root) for name, value in environment.items()}


def _link(source: str, place: str, target: str, own: Sequence[str]) -> None:
    if os.path.lexists(place):
        if os.path.realpath(place) != os.path.realpath(source):
            raise NoPlace(f"{source} cannot be shown at {target}: a link cannot cover what lies there")
        return
    parent = os.path.realpath(os.path.dirname(place))
    if not any(_below(parent, os.path.realpath(one)) for one in own):
        raise NoPlace(f"{source} cannot be shown at {target}: that lies in {parent}, where no link may be left behind")
    os.makedirs(parent, exist_ok=True)
    os.symlink(source, place)


def rewritten(value: str, targets: Iterable[str], root: str) -> str:
    """The value, below the root if it begins with a known target."""
    return root + value if any(_below(value, target) for target in targets) else value


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


if __name__ == "__main__":
    main(sys.argv[1])
