"""The import path of HPE Swarm Learning: this directory stands on the path of programs, and ``swarmlearning`` in it.

Nothing but that package may lie here: whatever does can be imported by its bare name in every worker. What it is made
of lies inside it and is imported by its full name, so that there is one of each.
"""
