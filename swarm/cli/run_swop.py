"""``run-swop``: be an operator, which runs the tasks of its taskrunner on this host as its profile says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarm.cli.addresses import SERVICE_PORT, service
from swarm.cli.ending import entry
from swarm.cli.launching import Launcher, identified, reaching
from swarm.errors import BadInput

if TYPE_CHECKING:
    from swarm.nodes.ledgerlink import Address
    from swarm.wire.profile import Profile

EXAMPLES = """
run-swop --usr-dir workspace/mnist/swop --profile-file-name swop1_profile.yaml --sn-ip 10.1.1.1 \\
         --engine process --accept-org org-2 \\
         --key swop-1-key.pem --cert swop-1-cert.pem --capath ca/capath
"""

KEEP = "SWOP_KEEP_CONTAINERS"


@click.command(
    "run-swop",
    cls=Launcher,
    role="swop",
    examples=EXAMPLES,
    help="Be an operator (SWOP): start learning nodes and programs for the tasks of a taskrunner. "
    "Tasks of the own organisation are run, and of those named with --accept-org; nobody else's.",
)
@click.option(
    "--usr-dir",
    required=True,
    type=click.Path(path_type=Path),
    envvar="USR_DIR",
    help="directory with the profile",
)
@click.option(
    "--profile-file-name", required=True, metavar="FILE", envvar="SWOP_PROFILE", help="the profile, in --usr-dir"
)
@reaching("a network node, best the own organisation's; the profile's apisrv wins")
@click.option("--accept-org", multiple=True, metavar="NAME", help="run this organisation's tasks too; repeatable")
@click.option("--engine", type=click.Choice(["process"]), help="what workers are started as, whatever the profile says")
@click.option(
    "--secrets",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="NAME=VALUE lines, mode 0600: what secret:NAME in tasks and profile means here",
)
@click.option("--tethered", is_flag=True, help="workers end whenever the operator does, instead of awaiting the next")
@identified
def command(
    usr_dir: Path,
    profile_file_name: str,
    sn_ip: str | None,
    sn_api_port: int,
    sn_api_service: str | None,
    accept_org: tuple[str, ...],
    engine: str | None,
    secrets: Path | None,
    tethered: bool,
    key: Path,
    cert: Path,
    capath: Path,
    state: Path | None,
    log_level: str | None,
) -> None:
    profile = _profile(usr_dir / profile_file_name, engine)
    from swarm.engines.process import ProcessEngine
    from swarm.nodes import swop
    from swarm.nodes.acceptance import accept
    from swarm.nodes.pairing import Pairing
    from swarm.nodes.room import Room
    from swarm.nodes.secrets import Secrets
    from swarm.nodes.starting import run_node
    from swarm.runtime import report
    from swarm.runtime.statedir import StateDirectory, default_state_dir
    from swarm.runtime.tls import Credentials

    credentials = Credentials.load(cert, key, capath, expect_roles=("swop",))
    acceptance = accept(accept_org, credentials)
    sn = _network_node(profile, sn_ip, sn_api_port, sn_api_service)
    with StateDirectory(state or default_state_dir(credentials.identity.name)) as directory:
        report.start(directory.path, log_level)
        settings = swop.Settings(
            sn=sn,
            profile=profile,
            pairing=Pairing(profile, sn, directory.path / "volumes", swop.log.warning, Secrets(secrets)),
            room=Room(usr_dir / profile_file_name, profile.capacity),
            engine=ProcessEngine(tethered=tethered),
            acceptance=acceptance,
            credentials=credentials,
            state=directory,
            keep=os.environ.get(KEEP, "").lower() in ("true", "1", "yes"),
        )
        run_node(swop.run, settings)


def _profile(path: Path, engine: str | None) -> Profile:
    """The profile, with its warnings said; raises BadInput for one that this operator cannot serve."""
    from swarm.wire import profile

    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(
            f"profile {path} cannot be read: {error.strerror}", hint="--profile-file-name is a file in --usr-dir"
        ) from None
    found = profile.parse(data, str(path))
    for warning in found.warnings:
        click.echo(f"warning: {warning}", err=True)
    if found.policyuri is not None:
        raise BadInput(
            f"{path}: policyuri is {found.policyuri[:80]!r}, and there is no policy engine to ask: expected ~",
            hint="whose tasks are run is said with --accept-org",
        )
    if found.resourcemgr.mgrtype == "DOCKER" and engine is None:
        raise BadInput(
            f"{path}: resourcemgr is DOCKER, and this operator has no container engine",
            hint="--engine process starts learning nodes and programs as processes of this host instead",
        )
    return found


def _network_node(profile: Profile, sn_ip: str | None, port: int, proxy: str | None) -> Address:
    """The profile's apisrv, else the flags."""
    locator = profile.apisrv
    if named := locator.service or (not locator.host and proxy):
        return service(str(named), "the service", port=locator.port or SERVICE_PORT)
    host = locator.host or sn_ip or ""
    if not host:
        raise BadInput(
            "neither the profile's apisrv nor a flag names a network node", hint="--sn-ip IP, or apisrv in the profile"
        )
    return host, locator.port or port


main = entry(command)

if __name__ == "__main__":
    main()
