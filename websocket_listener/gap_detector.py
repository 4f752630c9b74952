"""Executions that an audit read over REST and the stream, which stood, has not brought: late, or lost on the way?

The exchange's list can be ahead of its stream by a moment. What is still not pushed two seconds later was lost. Pure.
"""

from collections.abc import Callable, Iterable

from alpha.model.execution import Execution
from websocket_listener.unexplained import WAIT_S

_Key = tuple[str, str]


class GapDetector:
    """The executions of one account that were read and may still be pushed. `pushed(symbol, exec_id)` tells."""

    def __init__(self, pushed: Callable[[str, str], bool], wait_s: float = WAIT_S) -> None:
        self._pushed = pushed
        self._wait_s = wait_s
        self._waiting: dict[_Key, float] = {}

    @property
    def waits(self) -> bool:
        """True while something was found whose push may still come."""
        return bool(self._waiting)

    def found(self, rows: Iterable[Execution], now_s: float) -> None:
        """These were read and not known. Only fills count: whether funding and settlements are pushed is not promised."""
        for row in rows:
            if row.changes_size and row.order_id:
                self._waiting.setdefault((row.symbol, row.exec_id), now_s)

    def lost(self, now_s: float) -> list[str]:
        """The symbols of those that were not pushed in time, one for each; they are forgotten with it."""
        due = [key for key, since_s in self._waiting.items() if now_s - since_s >= self._wait_s]
        for key in due:
            del self._waiting[key]
        return [symbol for symbol, exec_id in due if not self._pushed(symbol, exec_id)]

    def forget(self) -> None:
        """A gap is known: what was not pushed in it needs no other explanation."""
        self._waiting.clear()
