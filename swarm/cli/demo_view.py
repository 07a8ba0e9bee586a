"""What a person sees of `swarm demo`: a live picture in a terminal, plain lines elsewhere, and a table at the end.

Called by `cli/demo`. Everything but the final table goes to stderr, so stdout stays one object with --json.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from swarm.cli.tables import count_bytes, output, short_digest, table

if TYPE_CHECKING:
    from swarm.nodes.demo.chaos import Blow
    from swarm.nodes.demo.play import Play, Played, Seen, Settings
    from swarm.nodes.launch import Process
    from swarm.nodes.local import Peer

PICTURES_A_SECOND = 8
WIDE = 106  # columns that all of the live table needs
PHASES = {"": "loading TensorFlow", "alone": "alone", "swarm": "in the swarm", "pooled": "on pooled data"}


class View:
    def __init__(self, settings: Settings, console: Console | None = None) -> None:
        self._settings = settings
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._scene: Play | None = None
        self._begun = self._drawn = time.monotonic()
        self._said: set[str] = set()

    @contextlib.contextmanager
    def showing(self, scene: Play) -> Iterator[None]:
        self._scene = scene
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as self._live:
            yield

    def refresh(self) -> None:
        """Called many times a second; draws as often as the eye wants it."""
        assert self._scene is not None
        if self._live is None:
            self._say_news(self._scene)
        elif time.monotonic() - self._drawn > 1 / PICTURES_A_SECOND:
            self._drawn = time.monotonic()
            self._live.update(self.picture(self._scene), refresh=True)

    # ---- the live picture

    def picture(self, scene: Play) -> RenderableType:
        head = Text.assemble(
            ("swarm demo", "bold"),
            f"  {self._settings.peers} organisations, dataset {self._settings.dataset}, ",
            (scene.run.stage, "cyan"),
            f"  {time.monotonic() - self._begun:.0f} s",
        )
        parts: list[RenderableType] = [head, Text(), self._nodes(scene), Text(), self._peers(scene)]
        parts += [
            Text(f"{peer.name}: {peer.waiting}", style="yellow", no_wrap=True, overflow="ellipsis")
            for peer in scene.run.swarm.peers
            if peer.waiting
        ]
        if scene.chaos is not None and scene.chaos.blows:
            parts += [Text(), _blows(scene.chaos.blows)]
        return Group(*parts)

    def _nodes(self, scene: Play) -> Table:
        rows = table("node", "organisation", ">process", "address", "state")
        nodes = [(process, f"org-{n}") for n, process in enumerate(scene.run.swarm.network, start=1)]
        nodes += [(process, f"org-{n}") for n, process in enumerate(scene.run.swarm.operators, start=1)]
        nodes += [(peer.node, peer.organisation) for peer in scene.run.swarm.peers]
        hit = {blow.pid: blow for blow in scene.chaos.blows if blow.back_s is None} if scene.chaos else {}
        for process, organisation in nodes:
            ready = process.ready() or {}
            port = ready.get("api_port") or ready.get("fs_port")
            rows.add_row(
                process.name,
                organisation,
                str(process.pid),
                f"127.0.0.1:{port}" if port else "",
                _state(process, bool(ready), hit.get(process.pid)),
            )
        return rows

    def _peers(self, scene: Play) -> Table:
        wide = self._console.width >= WIDE
        more = ["", "model"] if wide else []
        rows = table("peer", "classes", "training", ">loss", ">accuracy", ">alone", ">rounds", ">sent", *more)
        if scene.split is None:
            return rows
        for peer, seen, owned in zip(scene.run.swarm.peers, scene.seen, scene.split.owned, strict=False):
            bar = ProgressBar(total=max(1, seen.epochs), completed=seen.epoch, width=10)
            digest = short_digest(peer.rounds[-1]["digest"]) if peer.rounds else ""
            rest: list[RenderableType] = [bar, digest] if wide else []
            rows.add_row(
                peer.name,
                _span(owned),
                _phase(peer, seen),
                "" if seen.loss is None else f"{seen.loss:.3f}",
                "" if seen.accuracy is None else f"{seen.accuracy:.3f}",
                f"{seen.reached['alone']:.3f}" if "alone" in seen.reached else "",
                str(len(peer.rounds)),
                count_bytes(peer.bytes_sent),
                *rest,
            )
        return rows

    # ---- plain lines

    def _say_news(self, scene: Play) -> None:
        self._say_once(scene.run.stage)
        swarm = scene.run.swarm
        for process in [*swarm.network, *swarm.operators, *(peer.node for peer in swarm.peers)]:
            if process.ready():
                self._say_once(f"{process.name} is ready")
        for peer, seen in zip(scene.run.swarm.peers, scene.seen, strict=False):
            if seen.phase:
                self._say_once(f"{peer.name} trains {PHASES[seen.phase]}")
            for phase, accuracy in seen.reached.items():
                self._say_once(f"{peer.name} {PHASES[phase]}: accuracy {accuracy:.3f}")
            if peer.rounds and len(peer.rounds) % 10 == 0:
                self._say_once(f"{peer.name} round {len(peer.rounds)}: {peer.rounds[-1]['digest']}")
            if peer.waiting:
                self._say_once(f"{peer.name}: {peer.waiting}")
        for blow in scene.chaos.blows if scene.chaos else ():
            where = f"round {blow.round}, {blow.phase}"
            self._say_once(f"{blow.process} is hit by {blow.signal} in {where}")
            if blow.back_s is not None:
                self._say_once(f"{blow.process} is back {blow.back_s - blow.at_s:.1f} s after {blow.signal} in {where}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._console.print(f"{time.monotonic() - self._begun:5.1f} s  {line}", markup=False, soft_wrap=True)

    # ---- the end

    def summary(self, played: Played, kept: Path | None, console: Console | None = None) -> None:
        """The final table; on stdout, if there is no other console for it."""
        assert self._scene is not None
        assert self._scene.split is not None
        ran = played.ran
        rows = table("peer", "classes", ">alone", ">in the swarm", ">sent", "digest of the saved weights")
        for peer, seen, owned in zip(
            self._scene.run.swarm.peers, self._scene.seen, self._scene.split.owned, strict=True
        ):
            digest = played.digests[peer.name]
            verdict = "[green]= ledger[/]" if digest == ran.ledger_digest else "[bold red]≠ ledger[/]"
            rows.add_row(
                peer.name,
                _span(owned),
                f"{seen.reached['alone']:.3f}",
                f"[bold green]{seen.reached['swarm']:.3f}[/]",
                count_bytes(peer.bytes_sent),
                f"{short_digest(digest)} {verdict}",
            )
        seconds = ran.round_s or {"median": 0.0, "max": 0.0}
        share = _foreign_share()
        facts = {
            "accuracy": f"on {played.test_examples} common test examples that no peer trained with",
            "pooled": f"{played.pooled_accuracy:.3f} with all data in one place",
            "rounds": f"{ran.rounds}, median {seconds['median']:.2f} s, longest {seconds['max']:.2f} s",
            "data": f"seed {self._settings.seed}: {1 - share:.0%} of a class lies with its peer, {share:.0%} elsewhere",
            "ledger": f"last COMMIT {ran.ledger_digest}",
        }
        if kept:
            facts["kept"] = f"certificates, logs and weights in {kept}"
        console = console or output(markup=True)
        console.print(rows)
        console.print()
        if self._scene.chaos is not None:
            console.print(_blows(self._scene.chaos.blows))
            console.print()
        for name, fact in facts.items():
            console.print(f"[dim]{name:<9}[/]{fact}", soft_wrap=True)


def _foreign_share() -> float:
    from swarm.nodes.demo.examples import FOREIGN_SHARE

    return FOREIGN_SHARE


def _blows(blows: Sequence[Blow]) -> Table:
    rows = table(">after", "hit", "by", "in", "back")
    for blow in blows:
        back = "[yellow]not yet[/]" if blow.back_s is None else f"[green]{blow.back_s - blow.at_s:.1f} s later[/]"
        rows.add_row(
            f"{blow.at_s:.1f} s", blow.process, f"[bold red]{blow.signal}[/]", f"round {blow.round}, {blow.phase}", back
        )
    return rows


def _state(process: Process, ready: bool, blow: Blow | None) -> str:
    if blow is not None:
        return "[bold red]killed[/]" if blow.signal == "SIGKILL" else "[bold blue]frozen[/]"
    if process.exit_code is None:
        return "[green]ready[/]" if ready else "[yellow]starting[/]"
    return "[dim]ended[/]" if process.exit_code == 0 else f"[bold red]exit code {process.exit_code}[/]"


def _phase(peer: Peer, seen: Seen) -> str:
    if peer.node.exit_code == 0:
        return "[green]done[/]"
    return PHASES[seen.phase] + (" [yellow](waits)[/]" if peer.waiting else "")


def _span(classes: tuple[int, ...]) -> str:
    return f"{classes[0]}" if len(classes) == 1 else f"{classes[0]}–{classes[-1]}"
