"""A limit on events per key and minute, for requests and for failures to log in."""

from collections import OrderedDict

from alpha.clock import SYSTEM_CLOCK, Clock

_MOST_KNOWN = 1_000
_MINUTE_S = 60.0


class MinuteLimit:
    """Counts events per key within a minute. The oldest keys are forgotten when there are too many."""

    def __init__(self, most: int, clock: Clock = SYSTEM_CLOCK) -> None:
        self._most = most
        self._clock = clock
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def left_s(self, key: str, *, count: bool = True) -> float:
        """0.0 if the event is within the limit; otherwise the seconds until the next minute begins for this key."""
        now = self._clock.monotonic_s()
        since, seen = self._counts.get(key, (now, 0))
        if now - since >= _MINUTE_S:
            since, seen = now, 0
        if seen >= self._most:
            return max(1.0, since + _MINUTE_S - now)
        if count:
            self._counts[key] = (since, seen + 1)
            self._counts.move_to_end(key)
            if len(self._counts) > _MOST_KNOWN:
                self._counts.popitem(last=False)
        return 0.0
