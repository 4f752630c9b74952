"""Rate limits: a rolling window per UID and endpoint, and windows per IP. Measured in wall-clock time."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

IP_REQUESTS = 600
IP_WINDOW_S = 5.0
IP_BAN_S = 600.0
PUBLIC_STREAMS = 1_000  # open at once per IP and category
TRADE_FRAMES = 3_000  # per second and IP on the trade stream
CONNECTIONS = 500
CONNECTIONS_WINDOW_S = 300.0


@dataclass(frozen=True, slots=True)
class Standing:
    """A caller's rate limit status after a request. `reset_ms` is wall-clock time."""

    limit: int
    left: int
    reset_ms: int
    granted: int

    def headers(self) -> dict[str, str]:
        return {
            "X-Bapi-Limit": str(self.limit),
            "X-Bapi-Limit-Status": str(max(self.left, 0)),
            "X-Bapi-Limit-Reset-Timestamp": str(self.reset_ms),
        }


class Limits:
    """Counts requests. `clock` gives wall-clock seconds."""

    def __init__(self, enabled: bool, clock: Callable[[], float]) -> None:
        self.enabled = enabled
        self.factor = 1
        self._clock = clock
        self._calls: dict[tuple[int, str], deque[float]] = {}
        self._ips: dict[str, deque[float]] = {}
        self._banned: dict[str, float] = {}
        self._connections: dict[str, deque[float]] = {}
        self._frames: dict[str, deque[float]] = {}

    def visit(self, uid: int, path: str, most: int, window_s: float = 1.0, cost: int = 1) -> Standing:
        """Counts a call of an endpoint by a UID, or a batch of `cost` items, of which as many are allowed as remain."""
        now = self._clock()
        limit = most * self.factor
        if not self.enabled:
            return Standing(limit, limit - 1, int(now * 1000), granted=cost)
        calls = self._calls.setdefault((uid, path), deque())
        while calls and calls[0] <= now - window_s:
            calls.popleft()
        granted = min(cost, limit - len(calls))
        calls.extend([now] * granted)
        reset = now if granted == cost else calls[0] + window_s + 0.001
        return Standing(limit, limit - len(calls), int(reset * 1000), granted)

    def admit(self, ip: str) -> bool:
        """Counts a request of an IP; returns False when the IP is over the limit or still banned."""
        if not self.enabled:
            return True
        now = self._clock()
        banned = self._banned.get(ip)
        if banned is not None:
            if now < banned:
                return False
            del self._banned[ip]
        calls = self._ips.setdefault(ip, deque())
        while calls and calls[0] <= now - IP_WINDOW_S:
            calls.popleft()
        if len(calls) >= IP_REQUESTS * self.factor:
            self._banned[ip] = now + IP_BAN_S
            return False
        calls.append(now)
        return True

    def connect(self, ip: str, public: int = 0) -> bool:
        """Counts a new stream connection of an IP; returns False when it has made too many recently, or when its
        `public` open connections in the category have reached the maximum.
        """
        if not self.enabled:
            return True
        now = self._clock()
        if public >= PUBLIC_STREAMS * self.factor:
            return False
        made = self._connections.setdefault(ip, deque())
        while made and made[0] <= now - CONNECTIONS_WINDOW_S:
            made.popleft()
        if len(made) >= CONNECTIONS * self.factor:
            return False
        made.append(now)
        return True

    def frame(self, ip: str) -> bool:
        """Counts a request of an IP on the trade stream; returns False when it exceeds the limit for this second."""
        if not self.enabled:
            return True
        now = self._clock()
        sent = self._frames.setdefault(ip, deque())
        while sent and sent[0] <= now - 1.0:
            sent.popleft()
        if len(sent) >= TRADE_FRAMES * self.factor:
            return False
        sent.append(now)
        return True

    def pardon(self) -> None:
        """Lifts every ban and resets the counters."""
        self._banned.clear()
        self._ips.clear()
        self._connections.clear()
        self._frames.clear()
        self._calls.clear()
