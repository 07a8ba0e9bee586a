"""What libp2p may hold, and what it may not do by itself: the settings of `runtime.mesh`."""

from __future__ import annotations

from libp2p.network.config import ConnectionConfig
from libp2p.rcmgr import ResourceLimits, ResourceManager
from libp2p.rcmgr.connection_limits import ConnectionLimits

from swarm.core.lateness import LONGEST
from swarm.runtime.doorstep import STRANGERS_MAX
from swarm.runtime.tls import HANDSHAKE_S

CONNECTIONS_MAX = 1024
CONNECTIONS_PER_PEER_MAX = 8
STREAMS_MAX = 8192
NEGOTIATE_S = 5
CONNECT_S = 5.0


def connection_config() -> ConnectionConfig:
    return ConnectionConfig(
        max_connections=CONNECTIONS_MAX,
        min_connections=0,
        low_watermark=0,  # libp2p dials nobody by itself, having no addresses: none is ever told to its peerstore
        high_watermark=CONNECTIONS_MAX,
        max_connections_per_peer=CONNECTIONS_PER_PEER_MAX,
        dial_timeout=CONNECT_S,
        # Beyond what is ever given here: `runtime.mesh` knows how long that is now.
        inbound_upgrade_timeout=HANDSHAKE_S * LONGEST,
        outbound_upgrade_timeout=HANDSHAKE_S * LONGEST,
        inbound_stream_protocol_negotiation_timeout=NEGOTIATE_S * LONGEST,
        outbound_stream_protocol_negotiation_timeout=NEGOTIATE_S * LONGEST,
        enable_health_monitoring=False,  # control links have heartbeats of their own
    )


def resource_manager() -> ResourceManager:
    return ResourceManager(
        limits=ResourceLimits(max_connections=2 * CONNECTIONS_MAX, max_memory_mb=1024, max_streams=STREAMS_MAX),
        connection_limits=ConnectionLimits(
            max_pending_inbound=2 * STRANGERS_MAX,  # one that gives way may take a moment to go
            max_pending_outbound=2 * STRANGERS_MAX,
            max_established_inbound=CONNECTIONS_MAX,
            max_established_outbound=CONNECTIONS_MAX,
            max_established_per_peer=CONNECTIONS_PER_PEER_MAX,
            max_established_total=CONNECTIONS_MAX,
        ),
        enable_metrics=False,
        enable_memory_limits=False,
        enable_circuit_breaker=False,  # five failures of one peer would shut everybody out for 60 s
        enable_graceful_degradation=False,
        enable_rate_limiting=True,
        connections_per_peer_per_sec=10.0,
        burst_connections_per_peer=50.0,
    )
