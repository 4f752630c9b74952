"""Alerts that could come in storms: the first of a kind at once, then one for each interval, with how many it stands for."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from alpha.alerts import Alert, Alerts
from alpha.clock import wall_ms

#: Seconds between two alerts of one kind.
EVERY_S = 60.0
#: Makes the alert: how many since the one before, and what they concern (symbols, for example), sorted.
Make = Callable[[int, list[str]], Alert]


@dataclass(slots=True)
class _Kind:
    """What has gathered of one kind since its last alert."""

    make: Make
    count: int = 0
    about: set[str] = field(default_factory=set)
    told_s: float | None = None


class AlertBatcher:
    """Gathers without waiting; `run` tells."""

    def __init__(self, alerts: Alerts, every_s: float = EVERY_S) -> None:
        self._alerts = alerts
        self._every_s = every_s
        self._kinds: dict[str, _Kind] = {}
        self._wake = asyncio.Event()

    def note(self, kind: str, make: Make, *, count: int = 1, about: Iterable[str] = ()) -> None:
        """This happened. The alert is made by the last `make` of its kind, so that it speaks of the newest case."""
        gathered = self._kinds.setdefault(kind, _Kind(make))
        gathered.make = make
        gathered.count += count
        gathered.about.update(about)
        self._wake.set()

    async def run(self) -> None:
        """Raise what is due, until cancelled."""
        while True:
            self._wake.clear()
            await self.tell()
            left_s = [
                kind.told_s + self._every_s - time.monotonic()
                for kind in self._kinds.values()
                if kind.count and kind.told_s is not None
            ]
            try:
                async with asyncio.timeout(max(0.0, min(left_s)) if left_s else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def tell(self, *, all_of_it: bool = False) -> None:
        """Raise the alert of each kind that is due; `all_of_it`: also what is not yet due."""
        now_s = time.monotonic()
        # other kinds may come while an alert is on its way
        for kind in list(self._kinds.values()):
            due = kind.told_s is None or now_s - kind.told_s >= self._every_s
            if kind.count and (due or all_of_it):
                alert = kind.make(kind.count, sorted(kind.about))
                kind.count, kind.about, kind.told_s = 0, set(), now_s
                await self._alerts.raise_alert(alert, wall_ms())
