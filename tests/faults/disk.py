"""A small separate disk for PostgreSQL that can be filled: an in-memory file system that is resized while mounted.

Mounting needs root, and a kernel or container that allows it; elsewhere `mounted` returns None and the reason.
"""

import os
import subprocess
from pathlib import Path

#: Generous: an in-memory file system only uses memory for what is written.
_ROOMY = "2g"


class SmallDisk:
    """A mounted file system in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def mounted(cls, folder: Path) -> tuple["SmallDisk | None", str]:
        """Mount one; returns None and the reason where that is not allowed."""
        if os.geteuid() != 0:
            return None, "only root may mount a file system"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={_ROOMY},mode=0700", "alpha-faults", str(folder))
        except (OSError, subprocess.CalledProcessError) as fault:
            return None, f"a file system cannot be mounted here ({fault})"
        return cls(folder), ""

    def fill(self) -> None:
        """Shrink it so that no further block can be written."""
        state = os.statvfs(self._folder)
        used = (state.f_blocks - state.f_bfree) * state.f_frsize
        _run("mount", "-o", f"remount,size={max(used, state.f_frsize)}", str(self._folder))

    def clear(self) -> None:
        """Make room again."""
        _run("mount", "-o", f"remount,size={_ROOMY}", str(self._folder))

    def unmount(self) -> None:
        """Unmount it, even while in use."""
        _run("umount", "--lazy", str(self._folder))


def _run(*arguments: str) -> None:
    subprocess.run(
        arguments, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
