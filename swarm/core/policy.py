"""Who may do what: one table of verb x role x membership, for links, weights and the ledger. The default is no.

Called by the ledger for kinds, by the SN for the verbs of links, by the data server for weights. Role, organisation and
name come from certificates only. The membership column is what the ledger checks besides the role.
"""

from __future__ import annotations

from typing import Literal

Membership = Literal[
    "none", "admitted", "member", "voter", "sentinel's organisation", "sentinel's or node's organisation",
    "contract's organisation", "task's organisation", "taskrunner's organisation", "dataset's organisation", "holder",
]  # fmt: skip

_EVERYBODY = frozenset({"sn", "sl", "swop", "swci"})
_SN, _SL, _SWOP, _SWCI = (frozenset({role}) for role in ("sn", "sl", "swop", "swci"))

RULES: dict[str, tuple[frozenset[str], Membership]] = {
    # verbs on links
    "propose": (_EVERYBODY, "none"),
    "status": (_EVERYBODY, "none"),
    "outcome": (_EVERYBODY, "none"),
    "jobs": (_EVERYBODY, "none"),
    "job": (_EVERYBODY, "none"),
    "artifacts": (_EVERYBODY, "none"),
    "datasets": (_EVERYBODY, "none"),
    "dataset": (_EVERYBODY, "none"),
    "follow": (_EVERYBODY, "none"),
    "code": (_EVERYBODY, "none"),
    "code_put": (_SWCI, "none"),
    "alive": (_SN, "admitted"),
    "going": (_SL, "none"),
    "training": (_SL, "none"),
    "training_elsewhere": (_SN, "admitted"),
    "entries": (_SN, "none"),
    "raft": (_SN, "none"),
    "forward": (_SN, "none"),
    "heads": (_SN, "none"),
    "cosign": (_SN, "none"),
    "snapshot": (_SN, "none"),
    "recover": (_SWCI, "none"),
    # weights, between SLs
    "weights": (_SL, "member"),
    # kinds in the ledger
    "Genesis": (_SN, "none"),
    "OrganisationAdmitted": (_SWCI, "sentinel's organisation"),
    "NodeJoined": (_EVERYBODY, "none"),
    "NodeLeft": (_EVERYBODY, "none"),
    "NodeLost": (_SN, "voter"),
    "Configuration": (_SN, "none"),
    "ProtocolActivated": (_SN, "voter"),
    "ForcedRecovery": (_SWCI, "sentinel's or node's organisation"),
    "SnRemoved": (_SWCI, "sentinel's or node's organisation"),
    "Enrolled": (_SL, "contract's organisation"),
    "Offer": (_SL, "member"),
    "WindowClosed": (_SN, "voter"),
    "Ready": (_SL, "member"),
    "Suspect": (_SL, "member"),
    "DeadlinePassed": (_SN, "voter"),
    "Missing": (_SL, "member"),
    "Leave": (_SL, "member"),
    "Evidence": (_SL, "member"),
    "ContractReset": (_SWCI, "contract's organisation"),
    "ContractRebased": (_SWCI, "contract's organisation"),
    "ContractCreated": (_SWCI, "none"),
    "TaskCreated": (_SWCI, "none"),
    "TaskBodyAppended": (_SWCI, "task's organisation"),
    "TaskFinalized": (_SWCI, "task's organisation"),
    "TaskDeleted": (_SWCI, "task's organisation"),
    "TaskrunnerCreated": (_SWCI, "none"),
    "TaskAssigned": (_SWCI, "none"),
    "JobsSubmitted": (_SWCI, "none"),
    "JobsFinalized": (_SWCI, "task's organisation"),
    "JobsStarted": (_SWCI, "task's organisation"),
    "JobsStopped": (_SWCI, "task's organisation"),
    "JobsRetried": (_SWCI, "task's organisation"),
    "JobsDeleted": (_SWCI, "task's organisation"),
    "RolesSubmitted": (_SWCI, "none"),
    "RolesScaled": (frozenset({"swci", "swop"}), "task's organisation"),
    "GoalReached": (_SWOP, "holder"),
    "StartLapsed": (_SN, "voter"),
    "RunLapsed": (_SN, "voter"),
    "WorkPut": (_SWOP, "holder"),
    "WorkTaken": (_SWOP, "holder"),
    "WorkDone": (_SWOP, "holder"),
    "WorkForgotten": (_SWOP, "holder"),
    "WorkLapsed": (_SN, "voter"),
    "DatasetAdded": (_SWCI, "none"),
    "DatasetCommitted": (_SWCI, "dataset's organisation"),
    "DatasetTagged": (_SWCI, "dataset's organisation"),
    "DatasetRemoved": (_SWCI, "dataset's organisation"),
    "TaskrunnerReset": (_SWCI, "taskrunner's organisation"),
    "SwopListening": (_SWOP, "none"),
    "TaskDeclined": (_SWOP, "holder"),
    "SlotReported": (_SWOP, "holder"),
    "LeaseEnded": (_SN, "voter"),
    "SlotJoined": (_SL, "none"),
    "SlotTold": (_SL, "holder"),
}


def allowed(verb: str, role: str) -> bool:
    rule = RULES.get(verb)
    return rule is not None and role in rule[0]


def membership(verb: str) -> Membership:
    """What the author has to be besides having the role."""
    return RULES[verb][1]


def roles(verb: str) -> str:
    """The roles that may, for a sentence: "sn", "sl or swci"."""
    return " or ".join(sorted(RULES[verb][0])) if verb in RULES else "nobody"
