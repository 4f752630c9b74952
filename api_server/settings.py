"""The API's settings."""

from pydantic import Field

from alpha.config.services import HealthSettings, LogSettings
from operations.context import OperationsSettings


class ApiSettings(OperationsSettings, LogSettings, HealthSettings):
    """Everything that the API reads from the environment."""

    postgres_user: str = Field("alpha_api", description="the role of this service")
    api_host: str = Field("127.0.0.1", description="the address the API listens on")
    api_port: int = Field(8060, ge=0, le=65535, description="the port the API listens on")
    api_requests_per_minute: int = Field(
        300, ge=1, le=100_000, description="requests that one token may make in a minute"
    )
    api_failures_per_minute: int = Field(
        20, ge=1, le=10_000, description="requests without a valid token that one address may make in a minute"
    )
    api_hosts: str = Field(
        "",
        description="further host names under which the API is reached, separated by commas; 127.0.0.1 and localhost always",
    )
