"""Rotates the database passwords: stored durably before the server has them, consistent everywhere at the end."""

import secrets
from collections.abc import Mapping
from pathlib import Path

import msgspec

from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import Connection, connect
from alpha.postgres.migrate import ROLES
from alpha.postgres.scram import verifier
from alpha.postgres.sql import queries
from alpha_cli.installation.durable import refused, write_durably
from alpha_cli.installation.layout import OWNER

SQL = queries(__file__)

_PENDING = "rotation.json"


def role_variables() -> dict[str, str]:
    """Role to the variable of its password."""
    return {role: f"{role}_DB_PASSWORD".upper() for role in ROLES}


class Rotation:
    """One rotation of all database passwords. If interrupted at any point, the next run finishes it."""

    def __init__(self, folder: Path, present: Mapping[str, str], *, in_files: bool) -> None:
        """`folder` is `secrets/`; `present` are the current passwords. In a plain `.env` roles may use the owner's."""
        self._path = folder / _PENDING
        if not present.get(OWNER):
            raise Misconfigured(f"{OWNER} is not set, so there is nothing to change. Run 'alpha init' first.")
        self._old = present[OWNER]
        names = [OWNER, *(name for name in role_variables().values() if in_files or present.get(name))]
        self.new = self._pending() or {name: secrets.token_urlsafe(24) for name in names}

    async def apply(self, settings: DatabaseSettings) -> None:
        """Store the new passwords durably, then set them in the server in one transaction.

        Raises Misconfigured when the server accepts neither the old nor the new password of the owner.
        """
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as fault:
            raise refused(self._path.parent, fault) from None
        write_durably(self._path, msgspec.json.encode(self.new).decode(), 0o600)
        connection = await self._connect(settings)
        try:
            owner = settings.postgres_user.replace('"', '""')
            async with connection.transaction():
                await connection.execute(f"ALTER ROLE \"{owner}\" PASSWORD '{verifier(self.new[OWNER])}'")
                for role, variable in role_variables().items():
                    if await connection.fetchval(SQL["role_exists"], role):
                        password = self.new.get(variable, self.new[OWNER])
                        await connection.execute(f"ALTER ROLE {role} PASSWORD '{verifier(password)}'")
        finally:
            await connection.close()

    def finished(self) -> None:
        """Delete the pending state, once every file has the new passwords."""
        self._path.unlink(missing_ok=True)

    async def _connect(self, settings: DatabaseSettings) -> Connection:
        """Connect with the old password, or with the new one if an earlier run has already set it."""
        try:
            return await connect(with_password(settings, self._old), "password")
        except Misconfigured as fault:
            try:
                return await connect(with_password(settings, self.new[OWNER]), "password")
            except Misconfigured:
                raise Misconfigured(
                    f"{fault} An existing database keeps the password that it was made with: put that one into {OWNER}, "
                    "then run this again."
                ) from None

    def _pending(self) -> dict[str, str] | None:
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, OSError):
            raise Misconfigured(
                f"{self._path} cannot be read. It holds passwords that the database may have: restore it."
            ) from None
        return found if found.get(OWNER) else None


def with_password(settings: DatabaseSettings, password: str) -> DatabaseSettings:
    """The same connection with another password."""
    return DatabaseSettings.model_validate({**settings.model_dump(), "postgres_password": password})
