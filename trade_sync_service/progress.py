"""Progress of a run: bars on a terminal, or events in a log."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from alpha.logs import logger
from alpha.model.timestamp import at
from trade_sync_service.domain.coverage import Interval

log = logger(__name__)


class Progress(Protocol):
    """Receives every window that was read."""

    def plan(self, bot: str, windows: int) -> None:
        """Add windows to be read."""

    def window(self, bot: str, window: Interval, rows: int) -> None:
        """Count a window that was read and stored."""


class LoggedProgress:
    """Progress of a service: one event per window while many are read, otherwise none."""

    def __init__(self) -> None:
        self._left: dict[str, int] = {}

    def plan(self, bot: str, windows: int) -> None:
        """Count the windows."""
        self._left[bot] = self._left.get(bot, 0) + windows

    def window(self, bot: str, window: Interval, rows: int) -> None:
        """Log what was read and how many windows are left."""
        self._left[bot] = left = max(0, self._left.get(bot, 0) - 1)
        log.info(
            "window_read",
            bot=bot,
            start=at(window.start_ms).isoformat(),
            end=at(window.end_ms).isoformat(),
            rows=rows,
            left=left,
        )


class BarProgress(AbstractContextManager["BarProgress"]):
    """One bar per bot, on a terminal. Needs the package `rich`."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("windows, {task.fields[rows]} rows"),
            TimeRemainingColumn(),
        )
        self._tasks: dict[str, int] = {}
        self._rows: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def plan(self, bot: str, windows: int) -> None:
        """Extend the bar's total."""
        if bot not in self._tasks:
            self._tasks[bot] = self._bars.add_task(bot, total=0, rows=0)
            self._rows[bot] = 0
        task = self._bars.tasks[self._tasks[bot]]
        self._bars.update(task.id, total=(task.total or 0) + windows)

    def window(self, bot: str, window: Interval, rows: int) -> None:
        """Advance the bar."""
        if bot not in self._tasks:
            self.plan(bot, 0)
        self._rows[bot] += rows
        self._bars.update(self._bars.tasks[self._tasks[bot]].id, advance=1, rows=self._rows[bot])
