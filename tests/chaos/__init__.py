"""Real processes on hosts of their own, and everything that can go wrong between and within them.

`python -m tests.chaos` runs a swarm and breaks it; `switch` and `hosts` are the network it runs on.
"""
