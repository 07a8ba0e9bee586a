"""`gen-cert`: an organisation's CA and the certificates of one host's nodes, where HPE's gen-cert puts them.

What needs `cryptography` is imported when it runs, so that the base install answers with a sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from swarm.cli.ending import entry, print_json
from swarm.cli.help import Command
from swarm.core.names import ROLES, parse_name
from swarm.errors import BadInput

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from swarm.runtime.authority import CertificateTree, Issued

EXAMPLES = """
gen-cert -e mnist -i 1                     on the first host: workspace/mnist/cert/…
gen-cert -e mnist -i 2 --org hospital-b    on the second, with a name of its own
gen-cert -e mnist -i 1 --force             renew: new keys and certificates, the same CA
"""


@click.command(
    "gen-cert",
    cls=Command,
    examples=EXAMPLES,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Make an organisation's CA, and a key and a certificate for each of its roles (sn, sl, swci, swop) on this "
    "host. A CA that exists is kept.",
)
@click.option("-e", "example", default="", metavar="EXAMPLE", help="write to workspace/EXAMPLE/cert below this folder")
@click.option("-i", "host", default="", metavar="HOST", help="index of this host: the 1 in SN-1")
@click.option("--out", type=click.Path(path_type=Path), help="write to this folder instead")
@click.option("--org", metavar="NAME", help="name of the organisation  [default: org-HOST, or that of the CA]")
@click.option("--days", default=365, show_default=True, type=click.IntRange(1, 36500), help="validity; of the CA 3650")
@click.option("--san", "sans", multiple=True, metavar="NAME", help="a further host name or IP address; repeatable")
@click.option("--key-type", default="ed25519", show_default=True, type=click.Choice(["ed25519", "p256", "rsa"]))
@click.option("--force", is_flag=True, help="replace keys and certificates that exist (never the CA)")
@click.option("--json", "as_json", is_flag=True, help="answer with one JSON object")
def command(
    example: str,
    host: str,
    out: Path | None,
    org: str | None,
    days: int,
    sans: tuple[str, ...],
    key_type: str,
    force: bool,
    as_json: bool,
) -> None:
    if not host or not (example or out):
        raise BadInput("Some or all of the parameters are empty", hint="usage: gen-cert -e EXAMPLE-NAME -i HOST-INDEX")
    from swarm.runtime.authority import CertificateTree, issue
    from swarm.wire.issuing import general_name

    tree = CertificateTree(out or _folder_of(example), host)
    names = [general_name(text) for text in sans]
    issued = issue(tree, organisation=org, key_type=key_type, days=days, sans=names, force=force)
    if as_json:
        print_json(_result(tree, issued))
    else:
        _say(tree, issued)


def _folder_of(example: str) -> Path:
    """HPE's place; the name may have several parts (`reverse-proxy/mnist`), none of which leaves the workspace."""
    for part in example.split("/"):
        if part in (".", "..") or not part:
            raise BadInput(f"-e {example[:80]!r} is not a name below workspace/", hint="for example -e mnist")
        parse_name(part)
    return Path("workspace", example, "cert")


def _result(tree: CertificateTree, issued: Issued) -> dict[str, Any]:
    from swarm.wire.certs import spki_sha256

    rows = {"ca": (tree.authority, issued.authority)}
    rows |= {role: (tree.certificate(role), issued.leaves[role]) for role in ROLES}
    return {
        "organisation": issued.organisation,
        "organisation_key": f"sha256:{spki_sha256(issued.authority).hex()}",
        "ca_made": issued.authority_made,
        "capath": str(tree.capath),
        "replaced": [str(path) for path in issued.replaced],
        "certificates": {
            name: {
                "file": str(path),
                "key": str(tree.authority_key if name == "ca" else tree.key(name)),
                "until": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "fingerprint": _fingerprint(certificate),
            }
            for name, (path, certificate) in rows.items()
        },
    }


def _say(tree: CertificateTree, issued: Issued) -> None:
    say = click.echo
    say(f"organisation {issued.organisation}, host {tree.host}, in {tree.directory}")
    say()
    say(f"  {'made' if issued.authority_made else 'kept'}      {_line(tree, tree.authority, issued.authority)}")
    for role in ROLES:
        verb = "replaced" if tree.certificate(role) in issued.replaced else "made"
        say(f"  {verb:<8}  {_line(tree, tree.certificate(role), issued.leaves[role])}")
    say()
    say(f"Beside each lies its key (…-key.pem, the CA's in {tree.authority_key.parent}), mode 0600. Keys stay here.")
    if not issued.authority_made:
        say("The CA is the same, so the other organisations have nothing to do. Nodes read their certificate when they")
        say("start: restart those of this host.")
        return
    remote = os.path.normpath(tree.capath)
    say()
    say("Send the CA certificate to each other organisation, and put theirs beside it:")
    say(f"  scp {tree.authority} OTHER-HOST:{remote}/")
    say(f"  scp OTHER-HOST:{remote}/ca-OTHER-cert.pem {tree.capath}/")
    say("Compare its fingerprint by another way, the telephone for example:")
    say(f"  {issued.organisation}  {_fingerprint(issued.authority)}")


def _line(tree: CertificateTree, path: Path, certificate: Certificate) -> str:
    place = str(path.relative_to(tree.directory))
    until = f"until {certificate.not_valid_after_utc:%Y-%m-%d}"
    return f"{place:<25}  {until}  {_fingerprint(certificate)}"


def _fingerprint(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    from swarm.wire.certs import fingerprint

    return fingerprint(certificate.public_bytes(Encoding.DER))


main = entry(command)
