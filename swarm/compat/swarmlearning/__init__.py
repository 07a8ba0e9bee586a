"""``swarmlearning`` for programs written for HPE Swarm Learning, as they stand.

    from swarmlearning.tf import SwarmCallback
    from swarmlearning.client.swarm import SwarmError

`runtime/importpath` puts it on the path of every worker. Each module is a door: what it opens is ``swarm``'s own.
Guarantee: importing it changes nothing; only ``swarmlearning.tf`` teaches Keras 3 what Keras 2 took (``keras2``).
"""
