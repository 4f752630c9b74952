"""Servers that a killed demo left running, found by their own files."""

import os
import signal
import time
from pathlib import Path

_END_S = 30.0


def server_of(pid_file: Path, folder: Path) -> int | None:
    """The process that `pid_file` names, when it works in `folder`; None for a file that outlived its process.

    A number may belong to another process by now: only one whose working directory is the server's folder counts.
    """
    try:
        pid = int(pid_file.read_text(encoding="ascii").split()[0])
        there = Path(os.readlink(f"/proc/{pid}/cwd"))
    except (OSError, ValueError, IndexError):
        return None
    return pid if there == folder.resolve() else None


def end_server(pid: int, pid_file: Path, folder: Path, number: signal.Signals) -> bool:
    """Ask a server to end with the signal that it takes for an orderly end; False when it has not within 30 s."""
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
