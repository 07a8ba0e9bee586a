"""What HPE's launchers have in common: spelling of flags, ``-d --name --rm -e -v``, and Docker's flags without effect.

`run-sn run-sl run-swop run-swci` are of the class `Launcher`; their own options stay theirs, and they find the state
directory that all this comes to in their `state`. What HPE's users know beyond that is in the table `cli/flags`.
Guarantees: flags of any case, as ``--x=y`` or ``--x y``; a value that looks like a flag is a missing one; what has no
effect here is accepted and said in one line; ``-d`` comes back when the node is ready, or with the error that it ended
with.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from swarm.cli.flags import FLAGS, VARIABLES, Row
from swarm.cli.help import Command
from swarm.errors import BadInput

STATE_TARGET = "/platform/swarm/SMLNODE"
"""Where HPE's network nodes keep their chain: what is mounted there is the state directory."""

PORTS = {
    "sn": {"30303": "--sn-p2p-port", "30304": "--sn-api-port"},
    "sl": {"30305": "--sl-fs-port"},
    "swci": {"30306": "--web-port"},
}
"""Where HPE's containers listen, and the flags that say where processes do, which publish nothing."""

CONTRADICTIONS = (
    ({"--capath"}, {"--cacert"}, "one of them names all CAs"),
    ({"-d", "--detach"}, {"-a", "--attach"}, "a node that is left running has nobody attached to it"),
)

SHARED = (
    click.Option(["-d", "--detach"], is_flag=True, help="come back when the node is ready and leave it running"),
    click.Option(["--name"], metavar="NAME", help="name of the node's state directory  [default: its certificate's]"),
    click.Option(["--rm"], is_flag=True, help="throw the state directory away at stop"),
    click.Option(["-e", "--env"], multiple=True, metavar="K=V", help="an environment variable; repeatable"),
    click.Option(["--env-file"], multiple=True, metavar="FILE", help="a file of them, one a line; repeatable"),
    click.Option(["-h", "--hostname"], metavar="NAME", help="HOSTNAME of the node and its program"),
    click.Option(
        ["-p", "--publish"], multiple=True, metavar="PORT:30304", help="the port that HPE publishes, as with HPE"
    ),
    click.Option(["-v", "--volume"], multiple=True, metavar=f"DIR:{STATE_TARGET}", help="state directory, as with HPE"),
)


class WithoutEffect(click.Option):
    """Accepted, because HPE's commands carry it."""

    def __init__(self, names: str, *, switch: bool) -> None:
        super().__init__([*names.split()], is_flag=switch, multiple=not switch, hidden=True, expose_value=False)


class Denied(click.Option):
    """Known, and refused with the reason and what to do instead."""

    def __init__(self, names: str, row: Row) -> None:
        super().__init__([*names.split()], is_flag=row.switch, multiple=not row.switch, hidden=True, expose_value=False)
        self.row = row


def identified(command: Callable[..., None], *, level: str = "SWARM_LOG_LEVEL or INFO") -> Callable[..., None]:
    """The options that name a node's identity and its state, and its --log-level, of all launchers.

    ``level``: what says it where the flag does not.
    """
    file = click.Path(path_type=Path)
    for option in (
        click.option("--log-level", help=f"DEBUG INFO WARNING ERROR  [default: {level}]"),
        click.option("--state", type=file, help="state directory  [default: by the certificate's name]"),
        click.option(
            "--capath", "--cacert", "capath", required=True, type=file, envvar=["SWARM_ID_CAPATH", "SWARM_ID_CACERT"],
            help="directory with every organisation's CA, or one file with all of them",
        ),
        click.option(
            "--cert", required=True, type=file, envvar="SWARM_ID_CERT", help="certificate of the node, PEM"
        ),
        click.option(
            "--key", required=True, type=file, envvar="SWARM_ID_KEY", help="private key of the node, PEM, mode 0600"
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def reaching(help: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The options that name the network node that a node goes to; ``help`` is that of --sn-ip."""
    port = click.IntRange(1, 65535)

    def add(command: Callable[..., None]) -> Callable[..., None]:
        for option in (
            click.option("--sn-api-service", metavar="HOST[:PORT]", envvar="SN_API_SERVICE",
                         help="the same through a proxy"),
            click.option("--sn-api-port", default=30304, show_default=True, type=port, envvar="SN_API_SERVER_PORT"),
            click.option("--sn-ip", metavar="IP", envvar="SN_NODE_IP", help=help),
        ):  # fmt: skip
            command = option(command)
        return command

    return add


def own_port(flag: str, port: int, variable: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The option that names a port on which a node listens."""
    kind = click.IntRange(0, 65535)
    return click.option(flag, default=port, show_default=True, type=kind, envvar=variable, help="0: any free port")


@dataclass(frozen=True)
class Words:
    """One option of a command line with its value, or one word that is none."""

    option: click.Option | None
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.option.name) if self.option else ""

    @property
    def flag(self) -> str:
        return self.words[0].partition("=")[0] if self.option else ""

    @property
    def value(self) -> str:
        return self.words[1] if len(self.words) > 1 else self.words[0].partition("=")[2]


class Launcher(Command):
    """A command that is a node of this role. It takes `state: Path | None`."""

    def __init__(self, *args: Any, role: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.role = role
        self.params += SHARED
        name = f"run-{role}"
        for row in (row for row in FLAGS if name in row.of and row.state != "implemented"):
            for names in row.names:
                idle = WithoutEffect(names, switch=row.switch)
                self.params.append(idle if row.state == "harmless" else Denied(names, row))
        self.epilog = "Flags are of any case. Docker's own, and those of licence servers, are accepted without effect."

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own, program = _apart(args)
        split = spelled(own, [param for param in self.params if isinstance(param, click.Option)])
        _check(split)
        os.environ.update(_variables(split))
        split = [self._published(one) for one in split]
        ctx.obj = (split, program)
        return super().parse_args(ctx, [word for one in split for word in one.words] + program)

    def invoke(self, ctx: click.Context) -> Any:
        split, program = ctx.obj
        given = {option.name: ctx.params.pop(str(option.name)) for option in SHARED}
        mounted, idle = _mounted(given["volume"])
        published = [f"-p {text}" for text in given["publish"]]
        _say_what_has_no_effect([*_ignored(split), *published, *idle, *_check_variables(f"run-{self.role}")])
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

    def _published(self, one: Words) -> Words:
        """A port that HPE publishes for this role, as the flag of the port to listen on; anything else as it is."""
        host, _, inner = one.value.rpartition(":")
        flag = PORTS.get(self.role, {}).get(inner.removesuffix("/tcp")) if one.name == "publish" else None
        option = next((param for param in self.params if flag in param.opts), None)
        if flag is None or not isinstance(option, click.Option):
            return one
        return Words(option, (f"{flag}={host.rpartition(':')[2]}",))

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


def _check(split: Sequence[Words]) -> None:
    """Raises BadInput for a flag that is refused here, and for two that contradict each other."""
    for one in split:
        if isinstance(one.option, Denied):
            raise BadInput(f"{one.flag}: {one.option.row.says}", hint=one.option.row.hint)
    given = {one.flag for one in split}
    for these, those, why in CONTRADICTIONS:
        if given & these and given & those:
            raise BadInput(f"{min(given & these)} and {min(given & those)} contradict each other: {why}")


def _is_idle(one: Words) -> bool:
    return isinstance(one.option, WithoutEffect)


def _ignored(split: Iterable[Words]) -> list[str]:
    return [one.flag for one in split if _is_idle(one)]


def _check_variables(command: str) -> list[str]:
    """The variables of the environment that have no effect on this command; raises BadInput for a refused one."""
    idle = []
    for row in (row for row in VARIABLES if command in row.of):
        given = [name for name in row.names if os.environ.get(name)]
        if given and row.state == "refused":
            raise BadInput(f"{given[0]} is set: {row.says}", hint=row.hint)
        idle += given if row.state == "harmless" else []
    return idle


def _say_what_has_no_effect(flags: Iterable[str]) -> None:
    if names := list(dict.fromkeys(flags)):
        said = f"note: without effect here (docs/from-hpe.md says why): {' '.join(names)}"
        click.echo(said, err=True)


def _variables(split: Iterable[Words]) -> dict[str, str]:
    """Of -e, --env-file and --hostname, as they stand; a name alone is what the environment has already."""
    found: dict[str, str] = {}
    for one in split:
        match one.name:
            case "env":
                found |= _variable(one.value, "-e")
            case "env_file":
                for line in _lines(one.value):
                    found |= _variable(line, f"a line of {one.value}")
            case "hostname":
                found["HOSTNAME"] = one.value
    return found


def _variable(text: str, what: str) -> dict[str, str]:
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise BadInput(f"{what} takes NAME=VALUE, and there is no name")
    return {name: value} if equals else {}


def _lines(file: str) -> list[str]:
    """Without comments and blank ones, as Docker reads it."""
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"bad file: --env-file {file} cannot be read: {error}") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


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
