"""Finds servers that a killed demo left running, by their PID files."""

import os
import signal
import time
from pathlib import Path

_END_S = 30.0


def server_of(pid_file: Path, folder: Path) -> int | None:
    """The PID in `pid_file` if that process runs in `folder`; None for a stale file.

    The PID may have been reused: only a process whose working directory is the server's folder counts.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").split()[0])
        there = Path(os.readlink(f"/proc/{pid}/cwd"))
    except (OSError, ValueError, IndexError):
        return None
    return pid if there == folder.resolve() else None


def end_server(pid: int, pid_file: Path, folder: Path, number: signal.Signals) -> bool:
    """Send a server its orderly shutdown signal; returns False when it has not ended within 30 s."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    deadline = time.monotonic() + _END_S
    while server_of(pid_file, folder) == pid:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
