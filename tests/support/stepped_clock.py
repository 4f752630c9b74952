"""`python -m tests.support.stepped_clock -m MODULE` or `... FILE`: runs it with a wall clock that can be stepped from outside.

CLOCK_FILE names a file with one float: seconds that are added to the wall clock of everybody who looks into it. The steady
clocks go on as they are, as on a host whose time is set by hand or by NTP.
"""

import mmap
import os
import runpy
import struct
import sys
import time
from pathlib import Path

_FORM = struct.Struct("<d")


class ClockFile:
    """The file, written by a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset_s = 0.0
        path.write_bytes(_FORM.pack(0.0))

    def step(self, offset_s: float) -> None:
        """From now on the wall clock is off by this."""
        self.offset_s = offset_s
        with self.path.open("r+b") as file:
            file.write(_FORM.pack(offset_s))


def main() -> None:
    """Put the clock in place, then run what was asked for."""
    with Path(os.environ["CLOCK_FILE"]).open("rb") as file:
        there = mmap.mmap(file.fileno(), _FORM.size, access=mmap.ACCESS_READ)
    real_s, real_ns = time.time, time.time_ns

    def offset_s() -> float:
        return float(_FORM.unpack_from(there)[0])

    time.time = lambda: real_s() + offset_s()
    time.time_ns = lambda: real_ns() + int(offset_s() * 1e9)
    del sys.argv[0]
    if sys.argv[0] == "-m":
        del sys.argv[0]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
