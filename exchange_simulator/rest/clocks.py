"""Which clock a client signs with, and whether a timestamp fits it.

At speed 1, in step clock and on live prices a timestamp must fit Bybit's window of the wall clock or of business time.
At any other speed business time runs away from a client that measured it once, as published clients do: there each key
is bound to the offset that it measured (server time less wall clock), and held to exactly Bybit's window of that clock.
"""

from collections import deque
from collections.abc import Callable

from exchange_simulator.engine.model import Refused
from exchange_simulator.rest.args import digits

DEFAULT_WINDOW_MS = 5_000
AHEAD_MS = 1_000
LOGIN_AHEAD_MS = 3_600_000  # an `expires` lies at most that far ahead of a clock other than the wall clock
CLOCKS_PER_KEY = 8  # several clients may share a key, each with its own measurement
MEASUREMENTS = 1_000


class Clocks:
    """The clocks of all keys. `wall` gives UTC milliseconds, `speed` the free clock's speed (None: no free clock)."""

    def __init__(
        self,
        business: Callable[[], int],
        wall: Callable[[], int],
        speed: Callable[[], float | None],
        skew: Callable[[], int],
    ) -> None:
        self._business = business
        self._wall = wall
        self._speed = speed
        self._skew = skew
        self._first = self._offset()
        self._measured: deque[int] = deque(maxlen=MEASUREMENTS)
        self._bound: dict[str, list[int]] = {}

    def _offset(self) -> int:
        return self._business() - self._wall()

    def show(self) -> None:
        """Server time was asked for: from now on a client may sign with what it has measured."""
        if self._binds():
            self._measured.append(self._offset())

    def _binds(self) -> bool:
        return self._speed() not in (None, 1.0)

    def check(self, api_key: str, stamp: str, window: str) -> int | None:
        """Raises `Refused` 10002 for a timestamp outside the window of every clock the key may sign with.

        The message names the clock that came nearest. Returns the offset to `bind` the key to once its signature is proven;
        None when it needs no new one.
        """
        window_ms = digits(window) or DEFAULT_WINDOW_MS
        sent_ms = digits(stamp)
        wall = self._wall() + self._skew()
        if sent_ms is None:
            raise _refused(stamp, wall, window_ms)
        clocks = [wall, self._business() + self._skew(), *self._own(api_key, wall)]
        if any(now - window_ms <= sent_ms < now + AHEAD_MS for now in clocks):
            return None
        offset = self._shown(api_key, sent_ms - wall, window_ms) if self._binds() else None
        if offset is None:
            raise _refused(stamp, min(clocks, key=lambda now: abs(now - sent_ms)), window_ms)
        return offset

    def bind(self, api_key: str, offset: int | None) -> None:
        """From now on the key may sign with this clock as well."""
        if offset is not None:
            known = self._bound.setdefault(api_key, [])
            known.append(offset)
            del known[:-CLOCKS_PER_KEY]

    def in_future(self, api_key: str, expires_ms: int) -> bool:
        """Whether the `expires` of a stream login lies ahead of a clock that the key may sign with."""
        wall = self._wall()
        if expires_ms > wall:
            return True
        clocks = [self._business(), *self._own(api_key, wall), *(wall + offset for offset in self._measured)]
        return any(now < expires_ms <= now + LOGIN_AHEAD_MS for now in clocks)

    def _own(self, api_key: str, wall: int) -> list[int]:
        return [wall + offset for offset in self._bound.get(api_key, ())] if self._binds() else []

    def _shown(self, api_key: str, offset: int, window_ms: int) -> int | None:
        """The clock that a request shows: one that was measured, or the key's first one if that time was ever the
        exchange's.
        """
        measured = next((m for m in reversed(self._measured) if m - window_ms <= offset < m + AHEAD_MS), None)
        if measured is not None or api_key in self._bound:
            return measured
        low, high = sorted((self._first, self._offset()))
        return offset if low - window_ms <= offset < high + AHEAD_MS else None


def _refused(stamp: str, now: int, window_ms: int) -> Refused:
    return Refused(
        10002,
        "invalid request, please check your server timestamp or recv_window param. "
        f"req_timestamp[{stamp}],server_timestamp[{now}],recv_window[{window_ms}]",
    )
