"""What HPE's launchers have in common: spelling of flags, ``-d --name --rm -e -v``, and Docker's flags without effect.

`run-sn run-sl run-swop run-swci` are of the class `Launcher`; their own options stay theirs, and they find the state
directory that all this comes to in their `state`. Guarantees: flags of any case, as ``--x=y`` or ``--x y``; a value
that looks like a flag is a missing one; what has no effect here is accepted and said in one line; ``-d`` comes back
when the node is ready, or with the error that it ended with.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from swarm.cli.help import Command
from swarm.errors import BadInput

STATE_TARGET = "/platform/swarm/SMLNODE"
"""Where HPE's network nodes keep their chain: what is mounted there is the state directory."""

# Of `docker container create`, but for what means something here. Where there is a short form, it comes first.
_DOCKER_LONG = """
    add-host annotation blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile cpu-period
    cpu-quota cpu-rt-period cpu-rt-runtime cpus cpuset-cpus cpuset-mems device device-cgroup-rule device-read-bps
    device-read-iops device-write-bps device-write-iops dns dns-option dns-search domainname entrypoint env-file expose
    gpus group-add health-cmd health-interval health-retries health-start-interval health-start-period health-timeout
    ip ip6 ipc isolation kernel-memory label-file link link-local-ip log-driver log-opt mac-address memory-reservation
    memory-swap memory-swappiness mount network net network-alias oom-score-adj pid pids-limit platform pull restart
    runtime security-opt shm-size stop-signal stop-timeout storage-opt sysctl tmpfs ulimit userns uts volume-driver
    volumes-from
"""
_DOCKER_VALUES = (
    "-a --attach", "-c --cpu-shares", "-h --hostname", "-l --label", "-m --memory", "-p --publish", "-u --user",
    "-w --workdir", *(f"--{name}" for name in _DOCKER_LONG.split()),
)  # fmt: skip
_DOCKER_SWITCHES = (
    "-i --interactive", "-t --tty", "-q --quiet", "-P --publish-all", "--disable-content-trust", "--init",
    "--no-healthcheck", "--oom-kill-disable", "--privileged", "--read-only",
)  # fmt: skip
_LICENCE = (
    "--apls-ip", "--primary-apls-ip", "--apls-port", "--primary-apls-port", "--secondary-apls-ip",
    "--secondary-apls-port", "--apls-pdf",
)  # fmt: skip
_HPE_VALUES = (
    "--image", "--cmd", "--docker-socket-file", "--docker-group-id", "--swop-uid", "--sn-docker-name", "--sn-image",
)  # fmt: skip
_HPE_SWITCHES = ("--sudo", "--pid-main", "--volumes-from-main")

SHARED = (
    click.Option(["-d", "--detach"], is_flag=True, help="come back when the node is ready and leave it running"),
    click.Option(["--name"], metavar="NAME", help="name of the node's state directory  [default: its certificate's]"),
    click.Option(["--rm"], is_flag=True, help="throw the state directory away at stop"),
    click.Option(["-e", "--env"], multiple=True, metavar="K=V", help="an environment variable; repeatable"),
    click.Option(["-v", "--volume"], multiple=True, metavar=f"DIR:{STATE_TARGET}", help="state directory, as with HPE"),
)


class WithoutEffect(click.Option):
    """Accepted, because HPE's commands carry it."""

    def __init__(self, names: str, *, switch: bool) -> None:
        super().__init__([*names.split()], is_flag=switch, multiple=not switch, hidden=True, expose_value=False)


@dataclass(frozen=True)
class Words:
    """One option of a command line with its value, or one word that is none."""

    option: click.Option | None
    words: tuple[str, ...]


class Launcher(Command):
    """A command that is a node of this role. It takes `state: Path | None`."""

    def __init__(self, *args: Any, role: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.role = role
        self.params += SHARED
        self.params += [WithoutEffect(names, switch=False) for names in (*_DOCKER_VALUES, *_LICENCE, *_HPE_VALUES)]
        self.params += [WithoutEffect(names, switch=True) for names in (*_DOCKER_SWITCHES, *_HPE_SWITCHES)]
        self.epilog = "Flags are of any case. Docker's own, and those of licence servers, are accepted without effect."

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, program = _apart(args)
        ctx.obj = split = spelled(own, [param for param in self.params if isinstance(param, click.Option)])
        ctx.obj = (split, program)
        return super().parse_args(ctx, [word for one in split for word in one.words] + program)

    def invoke(self, ctx: click.Context) -> Any:
        split, program = ctx.obj
        given = {option.name: ctx.params.pop(str(option.name)) for option in SHARED}
        os.environ.update(_variables(given["env"]))
        mounted, idle = _mounted(given["volume"])
        _say_what_has_no_effect([*_ignored(split), *idle])
        asked = ctx.params["state"] or mounted
        ctx.params["state"] = place = asked or _named(given["name"])
        if place is None and (given["detach"] or given["rm"]):
            ctx.params["state"] = place = self._of_certificate(ctx)
        thrown_away = bool(given["rm"] and not mounted and place and (place != asked or not _has_entries(place)))
        if given["detach"]:
            assert place is not None
            self._detach(place, [*_for_node(split), "--state", str(place), *program], thrown_away)
            return None
        try:
            return super().invoke(ctx)
        finally:
            if thrown_away and place and not _in_use(place):
                shutil.rmtree(place, ignore_errors=True)

    def _of_certificate(self, ctx: click.Context) -> Path:
        from swarm.runtime.credentials import Credentials
        from swarm.runtime.statedir import default_state_dir

        given = ctx.params
        credentials = Credentials.load(given["cert"], given["key"], given["capath"], expect_roles=(self.role,))
        return default_state_dir(credentials.identity.name)

    def _detach(self, state: Path, arguments: list[str], thrown_away: bool) -> None:
        from swarm.nodes.detached import start
        from swarm.nodes.launch import ended_by_signals

        module = f"swarm.cli.run_{self.role}"
        with ended_by_signals():
            process = start(state, self.role, [sys.executable, "-m", module, *arguments], thrown_away=thrown_away)
        click.echo(f"{process.name} is ready: process {process.pid}, log {process.log}")


# ---- the spelling of flags


def _apart(args: list[str]) -> tuple[list[str], list[str]]:
    """The launcher's own words, and from ``--`` on those of a program."""
    end = args.index("--") if "--" in args else len(args)
    return args[:end], args[end:]


def spelled(args: list[str], options: Iterable[click.Option]) -> list[Words]:
    """As click knows them: known flags in their one spelling, each with its value; the rest as it is."""
    known = {name: option for option in options for name in option.opts}
    todo, done = list(args), []
    while todo:
        word = todo.pop(0)
        if (several := _several(word, known)) is not None:
            todo[:0] = several
            continue
        name, equals, value = word.partition("=")
        name = name.lower() if name.startswith("--") else name
        option = known.get(name)
        if option is None:
            done.append(Words(None, (word,)))
        elif option.is_flag:
            if not equals or _is_true(name, value):
                done.append(Words(option, (name,)))
        else:
            if not equals:
                if not todo or (todo[0].startswith("-") and todo[0] != "-"):
                    raise BadInput(f"{name}: missing argument")
                value = todo.pop(0)
            done.append(Words(option, (f"{name}={value}",) if name.startswith("--") else (name, value)))
    return done


def _several(word: str, known: dict[str, click.Option]) -> list[str] | None:
    """``-dit`` as -d -i -t, ``-eK=V`` as -e K=V."""
    if word.startswith("--") or len(word) < 3 or not word.startswith("-") or word[2] == "=":
        return None
    option = known.get(word[:2])
    if option is None:
        return None
    return [word[:2], f"-{word[2:]}"] if option.is_flag else [word[:2] + "=" + word[2:]]


def _is_true(name: str, text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise BadInput(f"{name} is {text[:40]!r}, expected true or false")
    return text.lower() in ("true", "1")


# ---- what the shared ones come to


def _for_node(split: Iterable[Words]) -> list[str]:
    """What the process of a detached node is told of them: its environment and its state it has already."""
    return [word for one in split if one.option not in SHARED and not _is_idle(one) for word in one.words]


def _is_idle(one: Words) -> bool:
    return isinstance(one.option, WithoutEffect)


def _ignored(split: Iterable[Words]) -> list[str]:
    return [one.words[0].partition("=")[0] for one in split if _is_idle(one)]


def _say_what_has_no_effect(flags: Iterable[str]) -> None:
    if names := list(dict.fromkeys(flags)):
        said = f"note: without effect, for nothing here runs in containers or needs a licence: {' '.join(names)}"
        click.echo(said, err=True)


def _variables(texts: Iterable[str]) -> dict[str, str]:
    """Of -e; a name alone is what the environment has already."""
    pairs = [text.partition("=") for text in texts]
    for name, _, _ in pairs:
        if not name or "\0" in name:
            raise BadInput("-e takes NAME=VALUE, and there is no name")
    return {name: value for name, equals, value in pairs if equals}


def _named(name: str | None) -> Path | None:
    from swarm.runtime.statedir import default_state_dir

    return default_state_dir(name) if name else None


def _mounted(volumes: Iterable[str]) -> tuple[Path | None, list[str]]:
    """The state directory among the volumes, and the flags of the others, which have no effect."""
    state, idle = None, []
    for text in volumes:
        source, _, rest = text.partition(":")
        if rest.partition(":")[0].rstrip("/") == STATE_TARGET:
            state = _host_directory(source)
        else:
            idle.append(f"-v {text}")
    return state, idle


def _host_directory(source: str) -> Path:
    from swarm.runtime.statedir import default_state_dir

    if "/" not in source:
        return default_state_dir("volumes") / source
    path = Path(source)
    if not path.is_absolute() and not path.is_dir():
        raise BadInput(f"bad mount: -v {source}:{STATE_TARGET}: there is no directory {source}")
    return path.absolute()


def _in_use(place: Path) -> bool:
    """Whether another process runs in the state directory: it is that one's, whatever this one was told."""
    from swarm.runtime.statedir import in_use

    return in_use(place)


def _has_entries(place: Path) -> bool:
    return place.is_dir() and any(place.iterdir())
