"""The settings of the trade sync service."""

from pydantic import Field

from alpha.config.exchange import ExchangeSettings
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


class SyncSettings(ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings, RegistrySettings):
    """The service's settings. It bypasses PgBouncer: its lock for one run at a time belongs to a session."""

    postgres_port: int = Field(5432, ge=1, le=65535, description="the port of PostgreSQL itself, not of PgBouncer")
    postgres_user: str = Field("alpha_sync", description="the role of this service")
    sync_interval_s: float = Field(3600.0, gt=0, description="seconds of wall time between two runs of a bot")
    sync_history_days: int = Field(
        730, ge=1, le=730, description="how many days back the service reads by itself; Bybit keeps two years"
    )
    sync_overlap_hours: int = Field(
        48, ge=1, le=168, description="how many hours before the last run are read again, for rows that come late"
    )
    sync_windows_at_once: int = Field(12, ge=1, le=16, description="how many windows of one bot are read at a time")
    sync_grace_s: float = Field(
        10.0, ge=0, le=600, description="seconds the listener has to catch up before a difference is reported"
    )
    reconcile_days: int = Field(7, ge=1, le=730, description="how many days each run of the service reconciles")
