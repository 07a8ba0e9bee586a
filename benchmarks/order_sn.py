"""`run-sn` whose ledger takes opaque bytes: what ordering alone costs, for `swarm bench ledger`.

Everything is the network node's own but one thing: proposals that begin with OPAQUE have no author, and nobody looks
into them. They are ordered, stored and sent to the other network nodes as all others are.
"""

from __future__ import annotations

from swarm.core.claims import Blank, Claim
from swarm.core.ledger import Ledger
from swarm.wire import signed

OPAQUE = b"opaque\0"

NOBODY = signed.Header(b"", "", b"", 0, "Opaque", b"", ())

_verify_proposal, _proposal_header = signed.verify_proposal, signed.proposal_header


def verify_proposal(raw: bytes, ledger: Ledger, time_ms: int) -> Claim:
    return Blank() if raw.startswith(OPAQUE) else _verify_proposal(raw, ledger, time_ms)


def proposal_header(raw: bytes) -> signed.Header:
    return NOBODY if raw.startswith(OPAQUE) else _proposal_header(raw)


if __name__ == "__main__":
    signed.verify_proposal, signed.proposal_header = verify_proposal, proposal_header

    from swarm.cli.run_sn import main  # what the node is made of takes the two functions from there

    main()
