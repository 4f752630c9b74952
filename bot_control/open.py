"""Chooses the bot control from one address."""

from urllib.parse import urlsplit

from pydantic import Field

from alpha.config.loader import Settings
from alpha.errors import Misconfigured
from alpha.registry import Registry
from alpha.services import INFRASTRUCTURE, RESIDENT
from bot_control.desired_state import SWARM, DesiredState
from bot_control.docker_engine import DockerEngine
from bot_control.http import ControlHttp
from bot_control.interface import BotControl
from bot_control.supervisor import Supervisor

#: Listed in the status, never controlled.
LISTED = (*INFRASTRUCTURE, *RESIDENT)


class BotControlSettings(Settings):
    """Where to start and stop bots."""

    bot_control_url: str = Field(
        "unix:///var/run/docker.sock",
        description="http://host:port of the Docker proxy, unix:///path of Docker's socket, supervisor:///path of the demo, "
        "or swarm: where Docker Swarm keeps the processes",
    )
    bot_container_prefix: str = Field(
        "", description="what starts the containers' names; demo- in the demo, so that it can run next to production"
    )


def open_control(settings: BotControlSettings, registry: Registry) -> BotControl:
    """Return the bot control at BOT_CONTROL_URL, without contacting it. Misconfigured for an unsupported form."""
    url = settings.bot_control_url
    parts = urlsplit(url)
    bots = list(registry.containers)
    if parts.scheme == "http" and parts.hostname:
        return DockerEngine(url.rstrip("/"), bots, LISTED, settings.bot_container_prefix)
    if parts.scheme == "unix" and parts.path and not parts.netloc:
        return DockerEngine(url, bots, LISTED, settings.bot_container_prefix)
    if parts.scheme == "supervisor" and parts.path and not parts.netloc:
        return Supervisor(ControlHttp(url, "http://supervisor", parts.path))
    if url == SWARM:
        return DesiredState()
    raise Misconfigured(
        f"BOT_CONTROL_URL is {url!r}. It is http://host:port of the Docker proxy, unix:///path of Docker's socket, "
        "supervisor:///path of the demo's supervisor, or swarm: in a Docker Swarm."
    )
