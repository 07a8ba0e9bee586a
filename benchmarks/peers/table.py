"""The Markdown of one run: what `docs/BENCHMARKS.md` shows, figures beside what was set, encrypted and timed.

Called by `benchmarks.peers.__main__`. A row without figures says why it has none.
"""

from __future__ import annotations

from typing import Any

SECONDS = ("system", "version", "median s a round", "swarm beside it", "ratio")
KILLED = ("the round one was killed in", "rounds after it")
NOTES = ("system", "settings", "TLS", "in the clock besides the transfer and the mean")


def markdown(found: dict[str, Any]) -> str:
    size = f"{found['peers']} peers, {found['mb']} MB of float32, {found['rounds']} rounds after {found['warm_ups']}"
    kill = f"; one of the {found['peers']} killed in a round" if found["kill"] else ""
    place = f"{found['date']}, commit {found['commit']}, {found['machine']}"
    lines = [
        f"{place}; `{found['command']}`: {size} to warm up{kill}.",
        "",
        *_table(
            [*SECONDS, *(KILLED if found["kill"] else ())], [_figures(row, found["kill"]) for row in found["rows"]]
        ),
        "",
        *_table(
            [*NOTES, *(("for the case of a death",) if found["kill"] else ())],
            [_notes(row, found["kill"]) for row in found["rows"]],
        ),
    ]
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    written = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in written]


def _figures(row: dict[str, Any], kill: bool) -> list[str]:
    cells = [row["title"], row["version"] or "–"]
    if row["void"]:
        cells += [f"void: {row['void']}", "–", "–"]
    else:
        cells += [f"{row['median_s']:.3f}", _said(row["swarm_s"], ".3f"), _said(row["ratio"], ".1f", " ×")]
    return [*cells, *_killed(row["killed"])] if kill else cells


def _killed(killed: dict[str, Any] | None) -> list[str]:
    if killed is None:
        return ["–", "–"]
    if killed["others_s"] is None:
        return [f"never: {killed['never']}", "–"]
    of = " or ".join(map(str, killed["mean_of"]))
    return [f"{killed['others_s']:.3f}" + (f", the mean of {of}" if of else ""), _said(killed["later_s"], ".3f")]


def _notes(row: dict[str, Any], kill: bool) -> list[str]:
    return [row["title"], row["settings"], row["tls"], row["clock"], *([row["on_death"]] if kill else [])]


def _said(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
