"""A member that connects to a network node again and again, 200 times a second, until its standard input ends.

Run by `test_links` on a host of its own: `python storm.py HOST PORT PEER_ID CERTIFICATE KEY CAPATH STATE`. Says "begun"
after the first try; at its end in JSON how often it tried, how often its handshake went through, and what time it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import trio

from swarm.errors import SwarmError
from swarm.runtime.credentials import Credentials
from swarm.runtime.mesh import Mesh
from swarm.runtime.statedir import StateDirectory
from swarm.runtime.tls import Local

PER_S = 200


class Storm:
    def __init__(self, mesh: Mesh, host: str, port: int, peer_id: str) -> None:
        self._mesh, self._where, self._peer_id = mesh, (host, port), peer_id
        self.tries = self.let_in = 0

    async def blow(self) -> None:
        async with self._mesh.run(), trio.open_nursery() as nursery:
            nursery.start_soon(self._until_input_ends, nursery.cancel_scope)
            begun_s = trio.current_time()
            while True:
                nursery.start_soon(self._come)
                self.tries += 1
                await trio.sleep_until(begun_s + self.tries / PER_S)
                if self.tries == 1:
                    print("begun", flush=True)

    async def _come(self) -> None:
        try:
            peer = await self._mesh.dial(*self._where, peer_id=self._peer_id)
            self.let_in += 1
            await self._mesh.close(peer)
        except SwarmError:
            pass

    async def _until_input_ends(self, scope: trio.CancelScope) -> None:
        await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
        scope.cancel()


def main(host: str, port: str, peer_id: str, certificate: str, key: str, capath: str, state: str) -> None:
    credentials = Credentials.load(Path(certificate), Path(key), Path(capath))
    with StateDirectory(Path(state)) as directory:
        storm = Storm(Mesh(Local(credentials, directory)), host, int(port), peer_id)

        async def run() -> float:
            begun_s = trio.current_time()
            await storm.blow()
            return trio.current_time() - begun_s

        seconds = trio.run(run)
    said = {"tries": storm.tries, "let_in": storm.let_in, "seconds": seconds, "cpu_s": time.process_time()}
    print(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])
