"""``swarmlearning`` for programs written for HPE Swarm Learning, as they stand."""
