"""What every test stands on: no silent skips in CI, its turn, no leftovers, a home of its own, organisations to order.

The `organisation` fixture makes an organisation's CA and certificates in the test's own directory:

    a, b = organisation("a"), organisation("b", key_type="p256")
    a.trust(b)                                   # both directions, as two people who exchanged their CA certificates
    a.key("sn"), a.cert("sn"), a.capath          # what run-sn takes
    a.leaf("sl", days=-1)                        # one more pair of files: here an expired certificate
"""

from __future__ import annotations

import compileall
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, settings

from tests.lanes import Lanes

ROOT = Path(__file__).resolve().parent.parent
LANES = pytest.StashKey[Lanes]()

# How long an example takes tells how busy the machine is, and nothing else.
settings.register_profile("swarm", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("swarm")
# Tests that need more than Python; where CI lacks what they need, they fail instead of vanishing.
NEVER_SKIPPED_IN_CI = {"root", "netns", "docker", "slurm", "browser", "compiler"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    marks = NEVER_SKIPPED_IN_CI & {mark.name for mark in item.iter_markers()}
    if marks and report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped with CI=true, although marked {', '.join(sorted(marks))}: {report.longrepr}"
    return report


def pytest_configure(config: pytest.Config) -> None:
    """Ctrl-C reaches what the tests start: shells ignore it for background jobs, and children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config, "workerinput"):
        config.stash[LANES] = Lanes(Path(config.workerinput["lanes"]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """`-n auto`: one more than there are cores, because tests of processes spend much of their time waiting."""
    return (os.cpu_count() or 1) + 1


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell each process of `-n` where they all meet."""
    node.workerinput["lanes"] = str(node.config._tmp_path_factory.getbasetemp())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that run alone come last, so that they keep nobody waiting in between."""
    items.sort(key=_alone)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    lanes = item.config.stash.get(LANES, None)
    if lanes is None:
        return (yield)
    with lanes.alone() if _alone(item) else lanes.beside_others():
        return (yield)


def _alone(item: pytest.Item) -> bool:
    return item.get_closest_marker("alone") is not None


@pytest.fixture(scope="session", autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No setting of this machine reaches a test, and no test writes into the home of who runs it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("SWARM_", "SL_", "SN_", "XDG_"))]:
            patch.delenv(name)
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        patch.setenv("PYTHONDONTWRITEBYTECODE", "1")
        compileall.compile_dir(ROOT / "swarm", quiet=1)  # once here, instead of in each of hundreds of processes
        yield


@pytest.fixture(scope="module", autouse=True)
def no_orphans() -> Iterator[None]:
    """A module's tests end every process they started, their grandchildren too."""
    if sys.platform == "linux":  # what loses its parent becomes our child instead of init's
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    yield
    children = psutil.Process().children(recursive=True)
    _, alive = psutil.wait_procs(children, timeout=2)
    left = {child.pid: " ".join(_command(child)) for child in alive if not _harmless(child)}
    for child in alive:
        if child.pid in left:
            child.kill()
    assert not left, f"processes left behind: {left}"


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _harmless(process: psutil.Process) -> bool:
    """Gone meanwhile, dead and waiting for its parent, or multiprocessing's own helper, which ends with Python."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE or "resource_tracker" in " ".join(process.cmdline())
    except psutil.Error:
        return True


@dataclass(frozen=True)
class Organisation:
    """One organisation's certificates on disk, as `gen-cert` leaves them; see the head of this file."""

    name: str
    directory: Path
    tree: object

    @property
    def capath(self) -> Path:
        return self.tree.capath

    @property
    def ca_cert(self) -> Path:
        return self.tree.authority

    @property
    def ca_key(self) -> Path:
        return self.tree.authority_key

    def cert(self, role: str) -> Path:
        return self.tree.certificate(role)

    def key(self, role: str) -> Path:
        return self.tree.key(role)

    def trust(self, *others: Organisation) -> None:
        """Exchange CA certificates with each of the others."""
        for other in others:
            shutil.copy(other.ca_cert, self.capath / f"{other.name}-ca-cert.pem")
            shutil.copy(self.ca_cert, other.capath / f"{self.name}-ca-cert.pem")

    def leaf(
        self, role: str, name: str | None = None, *, uri: str | None = None, days: int = 1, key_type: str = "ed25519"
    ) -> tuple[Path, Path]:
        """(certificate, key) files of one more leaf; `days` below zero: expired, `uri`: another than its own."""
        from cryptography import x509

        from swarm.runtime import authority
        from swarm.wire.issuing import Stamp, leaf_certificate

        name = name or f"{role}-x"
        ca = x509.load_pem_x509_certificate(self.ca_cert.read_bytes())
        ca_key = authority.serialization.load_pem_private_key(self.ca_key.read_bytes(), password=None)
        key = authority.new_key(key_type)
        until = datetime.now(UTC) + timedelta(days=days)
        certificate = leaf_certificate(
            key.public_key(),
            ca,
            ca_key,
            label=name.upper(),
            uri=uri or f"swarm://{self.name}/{role}/{name}",
            stamp=Stamp(x509.random_serial_number(), until - timedelta(days=2), until),
        )
        files = self.directory / f"{name}-cert.pem", self.directory / f"{name}-key.pem"
        files[0].write_bytes(certificate.public_bytes(authority.serialization.Encoding.PEM))
        files[1].touch(mode=0o600)
        files[1].write_bytes(authority._key_pem(key))
        return files


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """For temporary files of a command, with a path short enough for sockets below it."""
    with tempfile.TemporaryDirectory(prefix="swarm-test-") as path:
        yield Path(path)


@pytest.fixture
def organisation(tmp_path: Path) -> Callable[..., Organisation]:
    """A factory: `organisation(name="a", key_type="ed25519")`."""
    from swarm.runtime.authority import CertificateTree, issue

    def make(name: str = "a", *, key_type: str = "ed25519", host: str = "1") -> Organisation:
        directory = tmp_path / f"certificates-{name}"
        tree = CertificateTree(directory, host)
        issue(tree, organisation=name, key_type=key_type)
        return Organisation(name, directory, tree)

    return make
