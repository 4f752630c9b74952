"""Determines which clock a client signs with, and whether a timestamp is valid for it.

At speed 1, with the step clock and on live prices a timestamp must fall into Bybit's window around the wall clock or
business time. At any other speed business time drifts away from a client that measured it once, as published clients
do: each key is then bound to the offset it measured (server time minus wall clock) and held to Bybit's exact window
around that clock.
"""

from collections import deque
from collections.abc import Callable

from exchange_simulator.engine.model import Refused
from exchange_simulator.rest.args import digits

DEFAULT_WINDOW_MS = 5_000
AHEAD_MS = 1_000
LOGIN_AHEAD_MS = 3_600_000  # maximum lead of `expires` over a clock other than the wall clock
CLOCKS_PER_KEY = 8  # several clients may share a key, each with its own measured offset
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
        """Records a server time request: from now on a client may sign with the offset it measured."""
        if self._binds():
            self._measured.append(self._offset())

    def _binds(self) -> bool:
        return self._speed() not in (None, 1.0)

    def check(self, api_key: str, stamp: str, window: str) -> int | None:
        """Raises `Refused` 10002 for a timestamp outside the window of every clock the key may sign with.

        The message names the closest clock. Returns the offset to `bind` the key to once its signature is verified, or
        None when no new binding is needed.
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
        """Lets the key sign with this clock as well from now on."""
        if offset is not None:
            known = self._bound.setdefault(api_key, [])
            known.append(offset)
            del known[:-CLOCKS_PER_KEY]

    def in_future(self, api_key: str, expires_ms: int) -> bool:
        """Whether the `expires` of a stream login is in the future of a clock the key may sign with."""
        wall = self._wall()
        if expires_ms > wall:
            return True
        clocks = [self._business(), *self._own(api_key, wall), *(wall + offset for offset in self._measured)]
        return any(now < expires_ms <= now + LOGIN_AHEAD_MS for now in clocks)

    def _own(self, api_key: str, wall: int) -> list[int]:
        return [wall + offset for offset in self._bound.get(api_key, ())] if self._binds() else []

    def _shown(self, api_key: str, offset: int, window_ms: int) -> int | None:
        """The clock a request implies: a measured one, or the key's first one if it was ever the exchange's time."""
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
