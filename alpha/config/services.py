"""Settings shared by services: read from the environment and `.env`, validated once at startup, frozen.

Every variable can be given as `NAME` or, for secrets, as `NAME_FILE` with the path of a file that
holds the value. A service's settings are a class that inherits the groups it needs:

    class ListenerSettings(ExchangeSettings, DatabaseSettings, RedisSettings, LogSettings, HealthSettings): ...
    settings = load(ListenerSettings)
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr

from alpha.config.loader import Settings


class DatabaseSettings(Settings):
    """Address, user and password of PostgreSQL (or of PgBouncer in front of it)."""

    postgres_host: str = Field("127.0.0.1", description="the host of PostgreSQL or PgBouncer")
    postgres_port: int = Field(6432, ge=1, le=65535, description="the port: 6432 for PgBouncer, 5432 for PostgreSQL")
    postgres_db: str = Field("trading_db", description="the name of the database")
    postgres_user: str = Field("trading_user", description="the role of this service")
    postgres_password: SecretStr = Field(description="the password of this role")


class RedisSettings(Settings):
    """Address, user and password of Redis."""

    redis_host: str = Field("127.0.0.1", description="the host of Redis")
    redis_port: int = Field(6379, ge=1, le=65535, description="the port of Redis")
    redis_sentinels: str = Field(
        "",
        description="Redis Sentinels as host:port,host:port; REDIS_HOST and REDIS_PORT are not used then",
        pattern=r"^$|^[A-Za-z0-9_.-]+:[0-9]{1,5}(,[A-Za-z0-9_.-]+:[0-9]{1,5})*$",
    )
    redis_sentinel_name: str = Field("alpha", description="the name of the Redis that the Sentinels watch")
    redis_username: str = Field("default", description="the Redis user of this service")
    redis_password: SecretStr = Field(description="the password of this Redis user")

    @property
    def sentinels(self) -> list[tuple[str, int]]:
        """Hosts and ports of the Sentinels; empty without them."""
        pairs = (each.rpartition(":") for each in self.redis_sentinels.split(",") if each)
        return [(host, int(port)) for host, _, port in pairs]


class LogSettings(Settings):
    """Log level and log folder."""

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="json, console, or auto: readable on a terminal, JSON elsewhere"
    )
    log_dir: Path | None = Field(None, description="a folder for rotated log files; none when empty")


class HealthSettings(Settings):
    """Address and port of /healthz and /metrics."""

    health_host: str = Field("127.0.0.1", description="the address to listen on")
    health_port: int = Field(0, ge=0, le=65535, description="the port to listen on; 0 chooses a free one")


class RegistrySettings(Settings):
    """Where the repository and its `bots.toml` are."""

    alpha_bots_file: Path = Field(Path("bots.toml"), description="the registry of bots")
