"""An operator's secrets: what its host puts in place of ``secret:NAME`` in the variables of a task or profile.

Used by `nodes/pairing`. One line a secret, ``NAME=VALUE``, in a file that only the operator's user can read
(``run-swop --secrets FILE``). It is read whenever a worker is about to start, so that a changed one counts from then
on. Guarantee: no value gets into a log, a report or the ledger from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import BadInput, IdentityError
from swarm.wire.secrets import secret_name

BYTES_MAX = 1 << 20


@dataclass(frozen=True)
class Secrets:
    file: Path | None = None

    def resolved(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables with every ``secret:NAME`` replaced; raises SwarmError that names what cannot be."""
        names = {variable: _name(variable, value) for variable, value in environment.items()}
        if not any(names.values()):
            return dict(environment)
        known = self._read()
        found = dict(environment)
        for variable, name in names.items():
            if name is not None:
                if name not in known:
                    raise BadInput(
                        f"{variable} is to be secret:{name}, and this operator has no secret of this name",
                        hint=f"a line {name}=VALUE in the file of run-swop --secrets",
                    )
                found[variable] = known[name]
        return found

    def _read(self) -> dict[str, str]:
        if self.file is None:
            return {}
        try:
            mode = self.file.stat().st_mode & 0o777
            with self.file.open("rb") as file:
                text = file.read(BYTES_MAX).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"the secrets of this operator, {self.file}, cannot be read: {_why(error)}") from None
        if mode & 0o077:
            raise IdentityError(
                f"the secrets of this operator, {self.file}, can be read by others (mode {mode:04o}), expected 0600",
                hint=f"chmod 600 {self.file}",
            )
        lines = (line.strip() for line in text.splitlines())
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name.strip(): value.strip() for name, equals, value in pairs if equals}


def _name(variable: str, value: str) -> str | None:
    try:
        return secret_name(value)
    except ValueError as error:
        raise BadInput(f"{variable}: {error}") from None


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is no UTF-8 text"
