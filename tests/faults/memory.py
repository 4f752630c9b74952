"""How large the processes of the arena have become, and how large each may."""

from collections.abc import Mapping

import psutil

_MB = 1024 * 1024
#: In MB of resident memory. Of PostgreSQL each process counts alone; what they share counts in each.
BOUNDS = {"listener": 300, "redis": 150, "postgres": 300}


class Memory:
    """The largest size of each, so far."""

    def __init__(self) -> None:
        self.most_mb = dict.fromkeys(BOUNDS, 0)

    def look(self, processes: Mapping[str, int | None]) -> None:
        """Measure these: name and process number, None for one that does not run. Children count like their parent."""
        for name, pid in processes.items():
            if pid is None:
                continue
            try:
                parent = psutil.Process(pid)
                family = [parent, *parent.children()]
            except psutil.Error:
                continue
            for process in family:
                try:
                    self.most_mb[name] = max(self.most_mb[name], process.memory_info().rss // _MB)
                except psutil.Error:
                    continue

    def faults(self) -> list[str]:
        """Who is larger than it may be, one sentence each."""
        return [
            f"{name} grew to {mb} MB, more than {BOUNDS[name]}"
            for name, mb in self.most_mb.items()
            if mb > BOUNDS[name]
        ]
