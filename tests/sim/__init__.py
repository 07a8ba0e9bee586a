"""The whole-swarm simulator: one seed is one world of network nodes, learning nodes, operators and a commander.

``python -m tests.sim --seeds 2000``. The nodes are the product's own machines (``swarm.core``, ``swarm.wire``); around
them is a simulated clock, network and disk, all of whose choices come from one ``random.Random(seed)``.

    world      time, processes, what a crash and a pause are          network   links and what goes wrong with them
    disk       what survives a crash                                  weather   which faults a seed has, and when
    sn sl swop swci client   one kind of actor a file (sl: program, attempt)
    codec      cheap bytes for signed ones                            chain     replicas that share their work
    history    what is recorded                                       checkers  P1-P5, judged by the history alone
    scenario   a world from its seed, safety then liveness            planted   the 20 bugs that must be found
    processes  those that play worlds, until they are ended               litter    what worlds leave behind
"""
