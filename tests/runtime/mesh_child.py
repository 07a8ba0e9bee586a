"""A process that listens, for tests that freeze and kill it.

`python -m tests.runtime.mesh_child STATE CERT KEY CAPATH PORT` prints its port when it is ready.
Serves control links with the verb `echo`, and streams of the protocol /echo.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio

from swarm.runtime.control import Control, Link
from swarm.runtime.mesh import Mesh, Stream
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Credentials, Local


async def echo(link: Link, body: dict[str, Any]) -> dict[str, Any]:
    return body


async def echo_stream(stream: Stream) -> None:
    while data := await stream.receive_some():
        await stream.send_all(data)


async def main(state: str, cert: str, key: str, capath: str, port: str) -> None:
    local = Local(Credentials.load(Path(cert), Path(key), Path(capath)), StateDirectory(Path(state)))
    local.state.set_network_id(b"\1" * 32)
    mesh = Mesh(local)
    mesh.accept("/echo", echo_stream)
    control = Control(mesh, {"echo": echo}, lambda peer, verb: None)
    async with mesh.run(listen=[("127.0.0.1", int(port))]), control.run():
        print(mesh.listen_ports[0], flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
