"""Histories that earlier versions have recorded: what was acknowledged then has to mean the same now.

`python -m tests.core.recorded VERSION`, run at a release, plays a ledger by chance and writes the entries with what
became of each to `tests/core/recorded/VERSION.msgpack.gz`; `test_recorded` replays all of them with today's code.
"""

from __future__ import annotations

import gzip
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgpack

from swarm.core.claims import Anchored, EntryHeader, Verified
from swarm.core.ledger import Applied
from swarm.core.names import Identity
from tests.core.scene import BIG, CONTRACT, Actor, Scene, digest

DIRECTORY = Path(__file__).parent / "recorded"
GAMES = 6


def record(version: str) -> None:
    packed = msgpack.packb([_game(random.Random(seed)) for seed in range(GAMES)])
    DIRECTORY.mkdir(exist_ok=True)
    (DIRECTORY / f"{version}.msgpack.gz").write_bytes(gzip.compress(packed, mtime=0))


def read(path: Path) -> list[list[Any]]:
    """Each game: its entries, each with its outcome and events, and where the contract stood in the end."""
    games: list[list[Any]] = msgpack.unpackb(gzip.decompress(path.read_bytes()))
    return games


def claim_of(entry: dict[str, Any]) -> tuple[EntryHeader, Verified]:
    header, claim = EntryHeader(**entry["header"]), dict(entry["claim"])
    identity = claim.pop("identity")
    anchors = tuple(Anchored(**each) for each in claim.pop("anchors"))
    return header, Verified(**claim, identity=Identity(**identity) if identity else None, anchors=anchors)


def followed(applied: Applied) -> dict[str, Any]:
    """The outcome and the events as plain data."""
    events = [[type(event).__name__, asdict(event)] for event in applied.events]
    plain: dict[str, Any] = msgpack.unpackb(msgpack.packb({"outcome": asdict(applied.outcome), "events": events}))
    return plain


def standing(scene_ledger: Any) -> dict[str, Any]:
    contract = scene_ledger.contracts.get(CONTRACT)
    if contract is None:
        return {}
    members = {uid: member.state for uid, member in sorted(contract.members.items())}
    return {"round": contract.round, "base": contract.base, "commits": contract.commits, "members": members}


def _game(chance: random.Random) -> list[Any]:
    scene = Scene()
    entries: list[dict[str, Any]] = []
    take = scene.take

    def recording(claim: Any) -> Applied:
        applied = take(claim)
        header, _ = scene.log[-1]
        entries.append({"header": asdict(header), "claim": asdict(claim), **followed(applied)})
        return applied

    genesis, claim = scene.log[0]
    entries.append({"header": asdict(genesis), "claim": asdict(claim), "outcome": None, "events": None})
    scene.take = recording  # type: ignore[method-assign]
    options = {"minPeers": chance.randint(1, 3), "topology": chance.choice(["auto", "sharded"])}
    actors = scene.learners(chance.randint(2, 5), schema=BIG, **options)
    person = Actor("swci", "swci-1")
    scene.join(person)
    for _ in range(90):
        _act(chance, scene, actors, person, options)
    return [entries, standing(scene.ledger)]


def _act(chance: random.Random, scene: Scene, actors: list[Actor], person: Actor, options: dict[str, Any]) -> None:
    if CONTRACT not in scene.ledger.contracts:
        scene.observer.bases.clear()
        scene.observer.finished.clear()
        scene.enrol(actors[0], schema=BIG, **options)
        return
    actor, other = chance.choice(actors), chance.choice(actors)
    match chance.choice("ooooorrrrrssedwwlmgvbx"):
        case "o":
            scene.offer(actor, stop=chance.random() < 0.05, inactive=chance.random() < 0.1)
        case "r":
            scene.ready(actor, chance.choice(["merged"] * 9 + ["other"]))
        case "s":
            scene.suspect(actor, other)
        case "e":
            scene.enrol(actor, schema=BIG, **options)
        case "d":
            scene.say(scene.sn, "DeadlinePassed", scene.where())
        case "w":
            scene.close_window()
        case "l":
            scene.lose(actor)
        case "m":
            kept = [commit.digest for commit in scene.contract.kept]
            what = chance.choice(kept) if kept else digest("x")
            scene.say(actor, "Missing", {"contract": CONTRACT, "digest": what})
        case "g":
            actor.restart()
            scene.join(actor)
        case "v":
            scene.say(actor, "Leave", {"contract": CONTRACT, "reason": ""})
        case "b":
            scene.join(actor)
        case "x":
            if chance.random() < 0.1:
                scene.say(person, "ContractReset", {"contract": CONTRACT})


if __name__ == "__main__":
    record(sys.argv[1])
