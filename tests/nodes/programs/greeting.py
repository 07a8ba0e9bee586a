"""A person's client of the next release: proposes what came with its rules, and prints what became of it.

Arguments: port of a network node's API, key, certificate, capath, state directory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from swarm.errors import SwarmError
from swarm.nodes.client import Client, consult
from swarm.runtime.credentials import Credentials

port, key, certificate, capath, state = sys.argv[1:]


async def greet(client: Client) -> dict[str, object]:
    return (await client.propose("Greeted", {"text": "hello"})).result


try:
    said = consult(
        ("127.0.0.1", int(port)), Credentials.load(Path(certificate), Path(key), Path(capath)), Path(state), greet
    )
except SwarmError as error:
    said = {"code": error.code, "message": error.message, "hint": error.hint}
print(json.dumps(said), flush=True)
