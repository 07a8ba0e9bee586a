"""`swarm demo`: two or more organisations with different data train one model, on real parts, on this machine.

`examples` makes the shards, `worker` is the training program of each peer, `digests` recomputes what the ledger claims,
`play` runs it all.
"""
