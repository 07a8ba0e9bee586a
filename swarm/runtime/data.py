"""The data plane: weights between learning nodes, over blocking TLS sockets in threads.

The door of this room. Pull: who needs bytes asks for a range of them (`Want`), whoever holds them streams them from a
`Region` as they become available. Guarantees: bytes go from memory to memory without a copy of ours; a transfer ends
with an explicit end or with an error that names the peer; no transfer waits for another one.
"""

from swarm.runtime.data_client import DataClient, FetchStopped, Stop
from swarm.runtime.data_protocol import Traffic, Want
from swarm.runtime.data_region import NotYet, Region, Stranger
from swarm.runtime.data_server import DataServer

__all__ = ["DataClient", "DataServer", "FetchStopped", "NotYet", "Region", "Stop", "Stranger", "Traffic", "Want"]
