"""Local TCP ports."""

import socket

from alpha.errors import Misconfigured


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def require_free(port: int, setting: str) -> None:
    """Raise Misconfigured, naming port and setting, when 127.0.0.1:`port` is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Misconfigured(
                f"Port {port} of 127.0.0.1 is in use. End what uses it, or set {setting} to another port."
            ) from None
