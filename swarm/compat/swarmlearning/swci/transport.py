"""How `Swci` reaches a web interface: one HTTPS request a command, each with both certificates.

Guarantees: unless the caller has turned it off, nothing is sent before the other side's certificate was verified
against `ca_bundle` and has the role swci; every failure is one `Failed` that says at which address and what to do;
no request lasts longer than a command may.
"""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import quote

CONNECT_S = 30.0
COMMAND_S = 7500.0
"""The longest wait that a web interface allows by itself, 120 minutes, and some more."""
ANSWER_MAX = 64 << 20


class Failed(Exception):
    """No answer, or none that can be read: one sentence."""


class Web:
    """``context``: of the TLS connection; None = plain HTTP, which web interfaces refuse with a sentence."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self._host, self._port, self._context = host, port, context
        self.address = f"{'https' if context else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def command(self, text: str) -> list[str]:
        """The lines of a command's answer; a failed command's begin with ``ERROR ``."""
        answer = self._post(f"/exec?cmd={quote(text, safe='')}", b"", {})
        try:
            content = json.loads(answer)["CONTENT"]
            return [line.strip() for one in content for line in str(one).splitlines()]
        except (ValueError, KeyError, TypeError) as error:
            raise Failed(f"{self.address} answered what no web interface of a swarm does: {answer[:80]!r}") from error

    def upload(self, name: str, data: bytes) -> str:
        """The text of the answer."""
        boundary = secrets.token_hex(16)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        body = head.encode() + data + f"\r\n--{boundary}--\r\n".encode()
        return self._post("/uploadTaskDef", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})

    def _post(self, path: str, body: bytes, headers: dict[str, str]) -> str:
        connection = self._connection()
        try:
            connection.connect()
            assert connection.sock is not None
            if self._context is not None and self._context.verify_mode is ssl.CERT_REQUIRED:
                assert isinstance(connection.sock, ssl.SSLSocket)
                must_be_swci(connection.sock.getpeercert(), self.address)
            connection.sock.settimeout(COMMAND_S)
            connection.request("POST", path, body, {**headers, "Connection": "close"})
            return connection.getresponse().read(ANSWER_MAX).decode("utf-8", "replace")
        except ssl.SSLCertVerificationError as error:
            raise Failed(
                f"the certificate of {self.address} is not signed by a CA of clientCABundle: {error.verify_message}"
            ) from error
        except ssl.SSLError as error:
            raise Failed(f"{self.address} refused the connection: {error.reason or error}; "
                         "clientCert has to be a swci's of the same organisation") from error  # fmt: skip
        except (OSError, http.client.HTTPException) as error:
            raise Failed(f"{self.address} does not answer: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_S)
        return http.client.HTTPSConnection(self._host, self._port, timeout=CONNECT_S, context=self._context)


def tls_context(cert: str, key: str | None, ca_bundle: str | None, *, verify: bool) -> ssl.SSLContext:
    """``ca_bundle``: a PEM file, or a directory of them. Raises RuntimeError for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # who answers is named by organisation and role, not by a host
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if not verify:
        context.verify_mode = ssl.CERT_NONE
    elif ca_bundle is None:
        raise RuntimeError(
            "clientCABundle is not given, so nobody can tell who answers: "
            "give the CA's file or the directory of CAs (capath), or verify=False to talk to whoever answers"
        )
    else:
        for path in _authorities(Path(ca_bundle)):
            _load(path, lambda path=path: context.load_verify_locations(cafile=path))
    _load(cert, lambda: context.load_cert_chain(cert, key))
    return context


def _authorities(bundle: Path) -> list[Path]:
    if not bundle.is_dir():
        return [bundle]
    found = [path for path in sorted(bundle.glob("*.pem")) if not path.name.endswith(".crl.pem")]
    if not found:
        raise RuntimeError(f"the directory clientCABundle {bundle} holds no CA certificate (*.pem)")
    return found


def _load(path: Any, load: Any) -> None:
    try:
        load()
    except (OSError, ssl.SSLError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise RuntimeError(f"the certificate file {path} (or its key) cannot be used: {why}") from error


def must_be_swci(certificate: Any, address: str) -> None:
    """By the name that certificates of a swarm carry: ``swarm://<org>/swci/<name>``, else ``CN=SWCI-…`` as HPE's."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]
    common = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    roles = [name.split("/")[3] for name in names if name.startswith("swarm://") and name.count("/") >= 4]
    if not (roles == ["swci"] or (not names and any(name.upper().startswith("SWCI-") for name in common))):
        said = ", ".join([*names, *common]) or "nobody"
        raise Failed(f"{address} answers with the certificate of {said}, expected a swci's")
