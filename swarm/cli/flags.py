"""Every flag and every environment variable of HPE Swarm Learning's launchers, and what each comes to here.

One table. `cli/launching` makes options of the rows that are harmless or refused; docs/from-hpe.md shows all of them,
and a test compares the two and looks for the rows that are implemented among the commands' own options. A row is
*implemented* (it means what it means with HPE, or what stands there), *harmless* (accepted, said in one line, without
effect) or *refused* (with the row's sentence and hint).
"""

from __future__ import annotations

from typing import Literal, NamedTuple

State = Literal["implemented", "harmless", "refused"]
LAUNCHERS = ("run-sn", "run-sl", "run-swop", "run-swci")


class Row(NamedTuple):
    """Options that are treated alike, each with its names (the short one first), of these commands."""

    names: tuple[str, ...]
    of: tuple[str, ...]
    state: State
    says: str
    hint: str = ""
    switch: bool = False
    """Takes no value."""


def _words(text: str) -> tuple[str, ...]:
    """Options without a short form: ``--a, --b``; one with names of its own: ``-a --all``."""
    return tuple(" ".join(one.split()) for one in text.split(","))


def _row(names: str, of: str, state: State, says: str, *, hint: str = "", switch: bool = False) -> Row:
    commands = LAUNCHERS if of == "all" else tuple(f"run-{name}" for name in of.split())
    return Row(_words(names), commands, state, says, hint, switch)


_SPIRE = "certificates come from files here, not from a SPIRE agent's socket"
_FILES = "give --key, --cert and --capath; gen-cert makes them"

COMMON = (
    _row("--key, --cert, --capath, --cacert", "all", "implemented",
         "the node's identity, and the CAs that it trusts: a directory of PEM files, or one file with all of them"),
    _row("-d --detach, --rm", "all", "implemented",
         "comes back when the node is ready; throws the state directory away at stop", switch=True),
    _row("--name", "all", "implemented", "the name of the state directory, by which `swarm logs` finds the node"),
    _row("-h --hostname", "all", "implemented", "`HOSTNAME` for the node and its program"),
    _row("-e --env, --env-file", "all", "implemented", "variables of the node and its program"),
    _row("-v --volume", "all", "implemented",
         "what is mounted at `/platform/swarm/SMLNODE` is the state directory; any other volume has no effect"),
    _row("-p --publish", "all", "implemented",
         "`PORT:30304` (30303, 30305, 30306) makes the node listen on that port; any other has no effect"),
    _row("--help", "all", "implemented", "examples first", switch=True),
    _row("--apls-ip --primary-apls-ip, --apls-port --primary-apls-port, --secondary-apls-ip, --secondary-apls-port, "
         "--apls-pdf", "all", "harmless", "there is no licence, and no server for it"),
    _row("--image", "all", "harmless", "there are no images of nodes: the installed version runs"),
    _row("--sudo, --pid-main, --volumes-from-main", "all", "harmless", "nodes are processes of whoever starts them",
         switch=True),
    _row("--socket-path", "all", "refused", _SPIRE, hint=_FILES),
    _row("--sidecar", "all", "refused", "there are no containers beside a node",
         hint="the training program of run-sl stands behind --"),
    _row("--cmd, --entrypoint", "all", "refused", "a node has no image with a command of its own",
         hint="its flags stand on the command line; run-sl takes a program behind --"),
)  # fmt: skip

DOCKER = (
    _row("--network, --net, --network-alias, --ip, --ip6, --link, --link-local-ip, --mac-address, --add-host, "
         "--domainname, --dns, --dns-option, --dns-search, --expose", "all", "harmless",
         "a node uses this host's network and names"),
    _row("-P --publish-all", "all", "harmless", "a node uses this host's network and names", switch=True),
    _row("-u --user, --group-add, --userns, --cap-add, --cap-drop, --security-opt", "all", "harmless",
         "a node has the rights of whoever starts it, no more and no fewer"),
    _row("--privileged, --read-only", "all", "harmless",
         "a node has the rights of whoever starts it, no more and no fewer", switch=True),
    _row("--blkio-weight, --blkio-weight-device, --cgroup-parent, --cgroupns, --cpu-period, --cpu-quota, "
         "--cpu-rt-period, --cpu-rt-runtime, -c --cpu-shares, --cpus, --cpuset-cpus, --cpuset-mems, "
         "--device-cgroup-rule, --device-read-bps, --device-read-iops, --device-write-bps, --device-write-iops, "
         "--kernel-memory, -m --memory, --memory-reservation, --memory-swap, --memory-swappiness, --oom-score-adj, "
         "--pids-limit, --shm-size, --storage-opt, --sysctl, --ulimit", "all", "harmless",
         "a node has no limits but this host's: `systemd-run --scope -p MemoryMax=4G run-sn …` sets some"),
    _row("--oom-kill-disable", "all", "harmless",
         "a node has no limits but this host's: `systemd-run --scope -p MemoryMax=4G run-sn …` sets some", switch=True),
    _row("--device, --gpus, --ipc, --pid, --uts, --isolation, --runtime, --platform, --volume-driver, --volumes-from, "
         "--mount, --tmpfs, -w --workdir", "all", "harmless", "a node sees this host's devices, processes and files"),
    _row("--use-api-socket, --init, --disable-content-trust", "all", "harmless",
         "a node sees this host's devices, processes and files", switch=True),
    _row("-a --attach, -l --label, --label-file, --annotation, --cidfile, --log-driver, --log-opt, --pull, "
         "--health-cmd, --health-interval, --health-retries, --health-start-interval, --health-start-period, "
         "--health-timeout, --restart, --stop-signal, --stop-timeout", "all", "harmless",
         "there is no container engine to be told: `swarm status` shows health, a service manager restarts"),
    _row("-i --interactive, -t --tty, -q --quiet, --no-healthcheck", "all", "harmless",
         "there is no container engine to be told: `swarm status` shows health, a service manager restarts",
         switch=True),
)  # fmt: skip

OWN = (
    _row("--host-ip", "sn sl", "implemented", "the address under which others reach the node"),
    _row("--sentinel", "sn", "implemented", "founds the network", switch=True),
    _row("--sentinel-ip, --sentinel-api-port, --sentinel-api-service", "sn", "implemented",
         "any network node will do; one of these or `--sentinel` is needed"),
    _row("--sn-api-port, --sn-api-service", "sn sl swop", "implemented",
         "port 30304; a service is HOST[:PORT] (443) of a proxy that forwards TCP, announced by run-sn, "
         "dialled by the others"),
    _row("--sn-p2p-port, --sn-p2p-service", "sn", "implemented", "port 30303; HOST[:PORT] of a proxy, announced"),
    _row("--sn-ip", "sl swop", "implemented",
         "without it run-sl takes the network node that `run-sn -d` left running on this host; "
         "for run-swop the profile's `apisrv` wins"),
    _row("--sn-docker-name", "sl", "implemented", "which of several that `run-sn -d --name` left running on this host"),
    _row("--sn-image", "sl", "harmless", "there are no images of nodes: the installed version runs"),
    _row("--sl-fs-port, --sl-fs-service", "sl", "implemented",
         "port 30305; HOST[:PORT] (443) of a proxy that forwards TCP, announced to the other learning nodes"),
    _row("--usr-dir", "swop swci", "implemented", "where profile and scripts are"),
    _row("--profile-file-name", "swop", "implemented", "the profile, in `--usr-dir`"),
    _row("--init-script-name", "swci", "implemented", "the script, in `--usr-dir`; `swci-init` if it is there"),
    _row("--docker-socket-file, --docker-group-id", "swop", "harmless",
         "no container engine is asked: workers are processes"),
    _row("--swop-uid", "swop", "harmless", "workers are processes of whoever starts the operator"),
)  # fmt: skip

IMAGE = "there is no container engine here to start a program from an image"
PROGRAM = (
    "give the program behind --, as in run-sl ... -- python train.py; "
    "or add --engine process to start --ml-entrypoint and --ml-cmd as a process of this host"
)

_ML_OWN = _row("--ml-image, --ml-entrypoint, --ml-cmd, --ml-w --ml-workdir, --ml-v --ml-volume, --ml-e --ml-env, "
               "--ml-h --ml-hostname", "sl", "implemented",
               "with `--engine process`: the program, its arguments, directory, volumes and variables, as a process of "
               f"this host, which does not use the image; without it refused: {IMAGE}")  # fmt: skip


def _ml(*, switch: bool) -> tuple[str, ...]:
    """Every other option of ``docker container create``, for the program's container instead of the node's."""
    names = ["-it", "-ti", "--rm"] if switch else ["--name", "--env-file", "-p --publish"]
    own = {"-w --workdir"}
    names += [name for row in DOCKER if row.switch == switch for name in row.names if name not in own]
    return tuple(" ".join(f"--ml-{one.lstrip('-')}" for one in name.split()) for name in names)


_ML_IDLE = "the program is a process of whoever starts the node: it sees this host's network, devices and limits"
ML = (_ML_OWN, *(Row(_ml(switch=switch), ("run-sl",), "harmless", _ML_IDLE, "", switch) for switch in (False, True)))

FLAGS = (*COMMON, *DOCKER, *OWN, *ML)


class Variable(NamedTuple):
    names: tuple[str, ...]
    of: tuple[str, ...]
    """Who reads them; a launcher, or `program`."""
    state: State
    says: str
    hint: str = ""


def _variable(names: str, of: str, state: State, says: str, *, hint: str = "") -> Variable:
    readers = LAUNCHERS if of == "all" else tuple(f"run-{name}" if name != "program" else name for name in of.split())
    return Variable(tuple(names.split()), readers, state, says, hint)


VARIABLES = (
    _variable("SWARM_ID_KEY SWARM_ID_CERT SWARM_ID_CAPATH SWARM_ID_CACERT", "all", "implemented",
              "as `--key --cert --capath --cacert`"),
    _variable("THIS_NODE_IP", "sn sl", "implemented", "as `--host-ip`"),
    _variable("SN_I_AM_SENTINEL", "sn", "implemented", "as `--sentinel`"),
    _variable("SENTINEL_NODE_IP SENTINEL_API_SERVER_PORT SENTINEL_API_SERVICE", "sn", "implemented",
              "as `--sentinel-ip --sentinel-api-port --sentinel-api-service`"),
    _variable("SN_API_SERVER_PORT SN_API_SERVICE", "sn sl swop", "implemented", "as `--sn-api-port --sn-api-service`"),
    _variable("SN_ETH_PORT_EXT SN_ETH_P2P_SERVICE", "sn", "implemented", "as `--sn-p2p-port --sn-p2p-service`"),
    _variable("SN_NODE_IP", "sl swop", "implemented", "as `--sn-ip`"),
    _variable("SL_FS_PORT SL_FS_SERVICE", "sl", "implemented", "as `--sl-fs-port --sl-fs-service`"),
    _variable("USR_DIR", "swop swci", "implemented", "as `--usr-dir`"),
    _variable("SWOP_PROFILE", "swop", "implemented", "as `--profile-file-name`"),
    _variable("SWCI_STARTUP_SCRIPT", "swci", "implemented", "as `--init-script-name`"),
    _variable("SWCI_MODE SWCI_WEB_PORT", "swci", "implemented", "as `--mode --web-port`"),
    _variable("SWCI_RUN_TASK_MAX_WAIT_TIME SWCI_GENERIC_TASK_MAX_WAIT_TIME", "swci", "implemented",
              "minutes that `WAIT FOR TASKRUNNER` waits (120)"),
    _variable("SWOP_KEEP_CONTAINERS", "swop", "implemented",
              "`True` keeps the directories of ended slots; their logs are kept in any case"),
    _variable("SWARM_LOG_LEVEL SL_LOG_LEVEL", "all", "implemented", "as `--log-level`"),
    _variable("SWARM_LOOPBACK", "program", "implemented", "`true`: the program trains alone, without a learning node"),
    _variable("SL_MAKE_ME_ADMIN", "sl", "harmless",
              "no node merges for the others: every one merges its share of the tensors"),
    _variable("SL_LEADER_FAILURE_BASE_TIMEOUT", "sl", "harmless",
              "who is given up is decided by progress, in seconds, not by one time for every model and line"),
    _variable("SL_WAIT_FOR_FULL_QUORUM_SECONDS", "sl", "harmless",
              "a round waits for the others 1.5 times as long as they took before, 2 to 30 s"),
    _variable("SL_RAM_INTENSIVE", "sl", "harmless", "merging takes the models in pieces, in any case"),
    _variable("SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB", "sl", "harmless",
              "weights are not compressed; the callback's `wire=\"bf16\"` or `\"int8\"` sends fewer bytes"),
    _variable("SL_CNT_NAME SL_SWOP_TRNAME SL_SWOP_UID SL_SWOP_IDX SL_SWOP_OPID APISRV_CON_RETRY", "sl", "harmless",
              "set by HPE's operator, and nobody reads it here"),
    _variable("SN_START_MINING", "sn", "harmless", "the ledger has no miners"),
    _variable("SWOP_DOCKER_GID SWOP_UID SWOP_GID", "swop", "harmless",
              "workers are processes of whoever starts the operator"),
    _variable("LOGS_DIR", "all", "harmless", "logs are in the state directory: `swarm logs` shows them"),
    _variable("SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_IP SWARM_LICENSE_AUTOPASSJ_SERVER_PRIMARY_PORT "
              "SWARM_LICENSE_AUTOPASSJ_SERVER_SECONDARY_IP SWARM_LICENSE_AUTOPASSJ_SERVER_SECONDARY_PORT",
              "all", "harmless", "there is no licence, and no server for it"),
    _variable("SWARM_SPIFFE_WORKLOAD_API_SOCKET_PATH", "all", "refused", _SPIRE, hint=_FILES),
)  # fmt: skip
