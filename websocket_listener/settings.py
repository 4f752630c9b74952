"""The listener's settings."""

from pydantic import Field

from alpha.bybit.connection import Timing
from alpha.config.exchange import ExchangeSettings
from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings, RegistrySettings


class ListenerSettings(
    ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings, RegistrySettings
):
    """Everything the listener reads from the environment. All seconds are wall-clock."""

    postgres_port: int = Field(5432, ge=1, le=65535, description="the port of PostgreSQL itself, not of PgBouncer")
    listener_share: bool = Field(
        False, description="true where several listeners share the accounts; without it a second one is a spare"
    )
    listener_audit_s: float = Field(10.0, gt=0, le=25, description="seconds between two audits against REST")
    listener_history_days: int = Field(
        7, ge=0, le=730, description="how many days of executions a first start reads; demo accounts keep 7"
    )
    listener_buffer_rows: int = Field(
        50_000, ge=100, description="how many rows may wait for PostgreSQL before they are dropped and read again"
    )
    listener_ping_s: float = Field(10.0, gt=0, le=20, description="seconds between two pings on a stream")
    listener_silence_s: float = Field(
        25.0, gt=0, le=120, description="seconds without any frame after which a connection is replaced"
    )
    listener_connection_age_s: float = Field(
        43_200.0, gt=0, description="seconds after which a connection is replaced by a new one"
    )
    listener_snapshot_s: float = Field(60.0, ge=1, description="seconds between two snapshots of each account's equity")
    listener_start_wait_s: float = Field(
        20.0, ge=0, description="seconds a start waits for PostgreSQL and Redis before it ends with a sentence"
    )
    listener_away_s: float = Field(
        15.0, gt=0, description="seconds without PostgreSQL or Redis after which the process counts as unhealthy"
    )

    @property
    def stream_timing(self) -> Timing:
        """The limits of a stream's connection."""
        return Timing(
            # an answer that does not come is a silence too, although pongs may come meanwhile
            answer_s=min(Timing().answer_s, self.listener_silence_s),
            ping_s=self.listener_ping_s,
            silence_s=self.listener_silence_s,
            max_age_s=self.listener_connection_age_s,
        )
