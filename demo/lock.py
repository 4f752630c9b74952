"""Allows one demo per data folder, and waits for leftovers of a killed one."""

import fcntl
import os
import time
from pathlib import Path

from alpha.errors import Misconfigured

#: How long processes of a killed demo may take to end, in seconds; they were signalled at its death.
ENDING_S = 20.0


class DemoLock:
    """Held while a demo runs in `folder`; the kernel releases it when the process ends for any reason."""

    def __init__(self, folder: Path, what: str = "A demo", instead: str = "DEMO_STATE=/path make demo") -> None:
        """Take the lock. Raises Misconfigured with the PID of the holder when one is running here.

        `what` runs here, and `instead` starts it in a folder of its own: words of that sentence.
        """
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._mine = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._mine, 32, 0).decode(errors="replace").strip()
            os.close(self._mine)
            raise Misconfigured(
                f"{what} runs here already, process {holder or 'unknown'}. End it (q or Ctrl-C in its terminal), "
                f"or give this one a folder of its own: {instead}."
            ) from None
        os.ftruncate(self._mine, 0)
        os.pwrite(self._mine, f"{os.getpid()}\n".encode(), 0)
        #: Every process of the demo inherits this descriptor and so shares the lock: it is held while any is alive.
        self.children = os.open(folder / "processes.lock", os.O_RDWR | os.O_CREAT, 0o600)

    def wait_for_the_former(self) -> None:
        """Wait until all processes of a previous demo have ended. Raises Misconfigured when one does not end."""
        deadline = time.monotonic() + ENDING_S
        while True:
            try:
                fcntl.flock(self.children, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Misconfigured(
                        f"Processes of a former demo in {self._folder} have not ended. End them, then start this one again."
                    ) from None
                time.sleep(0.05)
            else:
                fcntl.flock(self.children, fcntl.LOCK_SH)
                return

    def release(self) -> None:
        """Release the lock."""
        os.close(self.children)
        os.close(self._mine)
