"""What HPE's platforms have in common: see ``swarm``."""
