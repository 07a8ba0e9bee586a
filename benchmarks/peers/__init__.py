"""One merge round of other systems beside one of swarm, measured alike: see `benchmarks.peers.__main__`."""
