"""Settings of the backup service."""

from datetime import time
from pathlib import Path

from pydantic import Field

from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings


class BackupSettings(DatabaseSettings, LogSettings, HealthSettings):
    """The owner's direct connection to PostgreSQL; where backups go, when, and how many are kept."""

    postgres_port: int = Field(5432, ge=1, le=65535, description="the port of PostgreSQL itself, not of PgBouncer")
    backup_dir: Path = Field(Path("database/backups/postgres"), description="the folder of the backups")
    backup_at: time = Field(time(2), description="the time of day of the backup, UTC, for example 02:00")
    backup_keep_daily: int = Field(30, ge=1, description="how many daily backups are kept")
    backup_keep_weekly: int = Field(12, ge=0, description="how many weekly backups are kept")
    backup_keep_monthly: int = Field(12, ge=0, description="how many monthly backups are kept")
    backup_age_recipients: str | None = Field(
        None,
        description="public keys of age (age1...), separated by blanks: backups are encrypted for them; none when empty",
    )
    backup_age_program: str = Field("age", description="the program age")
    backup_hook: Path | None = Field(
        None,
        description="a program that is run with the path of each new backup, to copy it elsewhere; none when empty",
    )
    backup_programs: Path | None = Field(None, description="the folder of pg_dump and pg_restore; the PATH when empty")
    redis_host: str | None = Field(None, description="the host of Redis, for alerts; none when empty")

    def recipients(self) -> list[str]:
        """The public keys that backups are encrypted for."""
        return (self.backup_age_recipients or "").split()

    def program(self, name: str) -> str:
        """The path of pg_dump or pg_restore."""
        return name if self.backup_programs is None else str(self.backup_programs / name)

    def kept(self) -> dict[str, int]:
        """How many backups each shelf keeps."""
        return {"daily": self.backup_keep_daily, "weekly": self.backup_keep_weekly, "monthly": self.backup_keep_monthly}
