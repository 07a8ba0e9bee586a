"""One program for each measured system, run in that system's environment: N participants that merge round after round.

Each holds to `benchmarks.peers.participant`: it says when it gives its arrays and when it has the merged ones.
"""
