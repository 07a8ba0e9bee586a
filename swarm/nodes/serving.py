"""What a learning node lets its peers read: models that are committed, and the attempt that it takes part in.

Used by ``nodes/learning`` for the data server, in its threads. Guarantees: members of the contract only, and of what
this one contributes to an attempt each as much as it merges itself; who asks for what may still come is told to ask
again, for anything else why it is not to be had.
"""

from __future__ import annotations

from swarm.core.contract import Contract
from swarm.core.events import SnapMade
from swarm.core.exchanging_places import places
from swarm.core.member import Phase
from swarm.errors import Refused
from swarm.nodes.attempt import Attempt
from swarm.nodes.contribution import Contribution
from swarm.nodes.models import Models
from swarm.runtime.data import NotYet, Region, Stranger, Want
from swarm.runtime.tls import Peer


def check_member(contract: Contract, peer: Peer, want: Want) -> None:
    member = contract.members.get(peer.uid)
    if want.contract != contract.name or member is None:  # it may have enrolled, and this node not have read it yet
        raise Stranger(f"{peer.identity} is no member of contract {want.contract!r} on this node")
    member.must_be_in(contract.name)


def not_yet(contract: Contract | None, peer: Peer, want: Want) -> NotYet:
    """Of a contract, as this node's ledger has it, in which this node takes no part so far."""
    said = f"this learning node does not serve contract {want.contract!r} yet"
    if contract is None or peer.uid not in contract.members:
        return Stranger(said)
    check_member(contract, peer, want)
    return NotYet(said)


def model(contract: Contract, models: Models, want: Want) -> Region:
    if all(want.digest != commit.digest for commit in contract.kept):
        raise NotYet(f"the model {want.digest} is none that contract {want.contract} has committed and keeps")
    file = models.get(want.digest)
    if file is None:
        raise Refused(f"this node does not hold the model {want.digest}")
    return Region.complete(file.whole)


def part(contract: Contract, now: Attempt | None, phase: Phase, peer: Peer, want: Want) -> Region:
    """Of the attempt ``now``, which is the newest that this node knows."""
    known = (now.snap.round, now.snap.attempt) if now else (contract.round, -1)
    if known < (want.round, want.attempt):
        if phase is Phase.RESTING:  # it offered, then went on alone or began anew
            raise Refused("the weights that this node offered are not those of its program any more")
        raise NotYet(f"this node does not know of attempt {want.attempt} of round {want.round} yet")
    if now is None or known != (want.round, want.attempt):
        raise Refused(f"attempt {want.attempt} of round {want.round} is over on this node")
    if want.what in ("offer", "leaves"):
        check_merger(now.snap, now.own, peer, want)
    return now.region(want)


def check_merger(snap: SnapMade, own: Contribution, peer: Peer, want: Want) -> None:
    """Raw weights are for who merges these very ones: in a broadcast all of them for every member of the attempt. After
    a forced recovery somebody may mean another attempt of this number, to which other weights were offered."""
    offered = {member.uid: member.digest for member in snap.members}
    if peer.uid in offered and want.digest in offered.values():
        for place in places(snap, peer.uid, own.nbytes):
            start, stop = own.span(want.what, place.start, place.stop)
            if place.owner == peer.uid and start <= want.start <= want.stop <= stop:
                return
    raise Refused(f"{peer.identity} does not merge bytes {want.start} to {want.stop} of {want}, so may not read them")
