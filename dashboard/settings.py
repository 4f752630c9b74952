"""The dashboard's settings."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from alpha.config.services import DatabaseSettings, HealthSettings, LogSettings, RedisSettings
from operations.context import OperationsSettings
from operations.dashboard_access import DashboardAccess


class DashboardSettings(OperationsSettings, DashboardAccess, LogSettings, HealthSettings):
    """Everything that the dashboard reads from the environment."""

    dashboard_host: str = Field("127.0.0.1", description="the address the dashboard listens on")
    dashboard_port: int = Field(8050, ge=0, le=65535, description="the port the dashboard listens on")
    dashboard_token: SecretStr = Field(min_length=16, description="what a browser must show once, as ?token=...")
    dashboard_failures_per_minute: int = Field(
        20,
        ge=1,
        le=10_000,
        description="wrong tokens, links and cookies of one address in a minute; further ones are not looked at",
    )
    dashboard_logs_dir: Path | None = Field(
        None, description="a folder with the services' log files, for the pages of logs; none when empty"
    )
    dashboard_session_hours: int = Field(12, ge=1, le=720, description="how long a login holds, in hours")
    dashboard_steering_db: str = Field(
        "", description="the database that steering uses, where POSTGRES_DB is a copy that can only be read"
    )
    dashboard_steering_user: str = Field("alpha_dashboard", description="the PostgreSQL role of steering")
    alpha_dashboard_db_password: SecretStr | None = Field(
        None, description="the password of alpha_dashboard; POSTGRES_PASSWORD without it"
    )
    dashboard_steering_redis_user: str = Field(
        "", description="the Redis user of steering, dashboard_steering in containers; REDIS_USERNAME without it"
    )
    redis_dashboard_steering_password: SecretStr | None = Field(
        None, description="the password of that Redis user; REDIS_PASSWORD without it"
    )

    dashboard_studies: str = Field(
        "",
        description="the database of sweeps, as postgresql://optuna_reader@HOST:PORT/optuna, for the page of sweeps; none when empty",
        pattern=r"^$|^postgresql://[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+(:[0-9]{1,5})?/[A-Za-z0-9_.-]+$",
    )
    dashboard_studies_password: SecretStr | None = Field(None, description="the password of optuna_reader")

    @property
    def session_life(self) -> timedelta:
        """How long a login holds."""
        return timedelta(hours=self.dashboard_session_hours)

    def steering_database(self) -> DatabaseSettings:
        """How steering connects to PostgreSQL: with its own role."""
        return self.model_copy(
            update={
                "postgres_db": self.dashboard_steering_db or self.postgres_db,
                "postgres_user": self.dashboard_steering_user,
                "postgres_password": self.alpha_dashboard_db_password or self.postgres_password,
            }
        )

    def studies_database(self) -> DatabaseSettings | None:
        """How the studies of sweeps are read; None without a page of them."""
        if not self.dashboard_studies:
            return None
        parts = urlsplit(self.dashboard_studies)
        return self.model_copy(
            update={
                "postgres_host": parts.hostname,
                "postgres_port": parts.port or 5432,
                "postgres_db": parts.path.strip("/"),
                "postgres_user": parts.username,
                "postgres_password": self.dashboard_studies_password or SecretStr(""),
            }
        )

    def steering_redis(self) -> RedisSettings:
        """How steering connects to Redis: with its own user, which may write commands."""
        return self.model_copy(
            update={
                "redis_username": self.dashboard_steering_redis_user or self.redis_username,
                "redis_password": self.redis_dashboard_steering_password or self.redis_password,
            }
        )
