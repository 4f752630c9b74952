"""Bot control for the dashboard and the API, which control nothing and see no containers: they rely on live state alone."""

from alpha.errors import Rejected
from bot_control.interface import Process, Unseen


class NoControl:
    """A bot control that refuses everything."""

    async def list(self) -> list[Process]:
        """Return nothing: no containers are visible from here."""
        raise Unseen("Containers are not visible from here.")

    async def start(self, container: str) -> bool:
        """Refused."""
        raise Rejected(f"This only reads; start {container} with the command centre.")

    async def stop(self, container: str, grace_s: int = 10) -> bool:
        """Refused."""
        raise Rejected(f"This only reads; stop {container} with the command centre.")

    async def restart(self, container: str, grace_s: int = 10) -> None:
        """Refused."""
        raise Rejected(f"This only reads; restart {container} with the command centre.")

    async def logs(self, container: str, lines: int) -> str:
        """Refused."""
        raise Rejected(f"This only reads; ask the command centre for the log of {container}.")

    async def close(self) -> None:
        """Nothing to close."""
