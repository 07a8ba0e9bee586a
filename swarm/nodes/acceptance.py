"""Whose tasks an operator runs: its own organisation's, and those that its host has named with --accept-org.

Used by `nodes/swop`. Guarantees: the default is no; an organisation is its CA's public key, never a name that two
share; every author of a task (who created it, made it final, assigned it) has to be accepted, by a certificate that
this host itself still trusts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from swarm.core.jobrun import JobRun
from swarm.core.names import Identity
from swarm.core.operator_steps import Refusal
from swarm.core.run import Run
from swarm.core.task import Task
from swarm.errors import BadInput, IdentityError
from swarm.runtime.credentials import Credentials
from swarm.runtime.replica import Replica
from swarm.wire.certs import Anchor


@dataclass(frozen=True, slots=True)
class Acceptance:
    own: Identity
    accepted: Mapping[bytes, str]
    """By the SHA-256 of the CA's public key: the organisation's name in sentences."""
    anchors: Sequence[Anchor]
    judge: Callable[[Sequence[bytes]], Identity]
    """Whose certificates these are by now, as this host judges them; raises IdentityError."""

    def refusal_of(self, task: Task, run: Run | JobRun, replica: Replica) -> Refusal | None:
        """Why this host does not run the task; None if it accepts all who have a part in it."""
        authors = ((task.creator, "created"), (task.finalizer, "finalized"), (run.assigner, "assigned"))
        said = (
            self.refusal(replica.ledger.nodes[uid].identity, what, list(replica.chains[uid])) for uid, what in authors
        )
        return next((refusal for refusal in said if refusal is not None), None)

    def refusal(self, author: Identity, what: str, chain: Sequence[bytes]) -> Refusal | None:
        """Why this host does not run what the author (who ``what``: "created", "assigned") asks; None if it does."""
        if author.anchor not in self.accepted:
            known = sorted(self.accepted.values())
            return Refusal(
                f"{author.name} of {author.organisation} {what} it, and tasks are accepted of {', '.join(known)} only",
                f"start {self.own.name} with run-swop --accept-org {self._flag(author)}",
            )
        try:
            judged = self.judge(chain)
        except IdentityError as error:
            return Refusal(f"the certificate of {author}, who {what} it: {error.message}", error.hint)
        if not judged.same_as(author):
            return Refusal(f"the certificate of {author}, who {what} it, is by now that of {judged}", "")
        return None

    def _flag(self, author: Identity) -> str:
        shared = {anchor.spki_sha256 for anchor in self.anchors if anchor.name == author.organisation}
        return author.organisation if shared == {author.anchor} else f"sha256:{author.anchor.hex()}"


def accept(texts: Sequence[str], credentials: Credentials) -> Acceptance:
    """What the flags mean by the CAs in capath; raises BadInput when one means none of them, or two."""
    own, anchors = credentials.identity, credentials.anchors
    accepted = {own.anchor: own.organisation}
    for text in texts:
        anchor = _meant(text, anchors)
        accepted[anchor.spki_sha256] = anchor.label
    return Acceptance(own, accepted, anchors, credentials.judge)


def _meant(text: str, anchors: Sequence[Anchor]) -> Anchor:
    names = {f"sha256:{anchor.spki_sha256.hex()}": anchor for anchor in anchors}
    names |= {anchor.label: anchor for anchor in anchors}
    if (anchor := names.get(text.lower())) is not None:
        return anchor
    shared = {anchor.spki_sha256 for anchor in anchors if anchor.name == text.lower()}
    if len(shared) > 1:
        keys = " and ".join(f"sha256:{key.hex()}" for key in sorted(shared))
        raise BadInput(
            f"--accept-org {text}: two organisations in capath have this name, {keys}",
            hint="name the one that is meant by its fingerprint: --accept-org sha256:…",
        )
    near = get_close_matches(text.lower(), [anchor.label for anchor in anchors], n=1)
    known = ", ".join(sorted({anchor.label for anchor in anchors}))
    raise BadInput(
        f"--accept-org {text[:80]}: capath holds no CA of that organisation, only of {known}",
        hint=f"did you mean {near[0]}?" if near else "copy its CA certificate to capath, or correct the name",
    )
