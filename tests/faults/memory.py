"""Peak memory of the processes of a fault environment, and their limits."""

from collections.abc import Mapping
from pathlib import Path

import psutil

_MB = 1024 * 1024
#: Resident memory in MB. For PostgreSQL each process counts separately, including shared memory.
BOUNDS = {"listener": 300, "redis": 150, "postgres": 300}


def children(pid: int) -> list[int]:
    """The children of a process. psutil would read every process of the machine for them."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Memory:
    """Peak memory of each process so far."""

    def __init__(self) -> None:
        self.most_mb = dict.fromkeys(BOUNDS, 0)

    def look(self, processes: Mapping[str, int | None]) -> None:
        """Measure processes by name and PID (None if not running). Each child is measured like its parent."""
        for name, pid in processes.items():
            if pid is None:
                continue
            try:
                family = [psutil.Process(each) for each in (pid, *children(pid))]
            except psutil.Error:
                continue
            for process in family:
                try:
                    self.most_mb[name] = max(self.most_mb[name], process.memory_info().rss // _MB)
                except psutil.Error:
                    continue

    def faults(self) -> list[str]:
        """Processes above their limit, one sentence each."""
        return [
            f"{name} grew to {mb} MB, more than {BOUNDS[name]}"
            for name, mb in self.most_mb.items()
            if mb > BOUNDS[name]
        ]
