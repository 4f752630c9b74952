"""The dashboard's settings."""

from pathlib import Path

from pydantic import Field, SecretStr

from alpha.config.services import HealthSettings, LogSettings
from operations.context import OperationsSettings


class DashboardSettings(OperationsSettings, LogSettings, HealthSettings):
    """Everything that the dashboard reads from the environment."""

    dashboard_host: str = Field("127.0.0.1", description="the address the dashboard listens on")
    dashboard_port: int = Field(8050, ge=0, le=65535, description="the port the dashboard listens on")
    dashboard_token: SecretStr = Field(min_length=16, description="what a browser must show once, as ?token=...")
    dashboard_failures_per_minute: int = Field(
        20,
        ge=1,
        le=10_000,
        description="wrong tokens and cookies of one address in a minute; further ones are not looked at",
    )
    dashboard_logs_dir: Path | None = Field(
        None, description="a folder with the services' log files, for the pages of logs; none when empty"
    )
