"""May a bot's live state be trusted? `synced`: audited within the last 30 s (longer with many accounts) and no known gap; else `stale` or `down`.

What is judged here is judged by a clock that never steps; wall-clock times are only shown. Readers judge in their turn, by
the counter `beat` and the age of the audit that is written beside it (`alpha.live_state.freshness`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from alpha.bybit.request_plan import LEAST_VALID_S
from alpha.clock import SYSTEM_CLOCK, Clock
from alpha.live_state.read import DataState
from websocket_listener import serialize
from websocket_listener.redis_writer import Change


class Moment(NamedTuple):
    """One moment by both clocks, in milliseconds: `steady` to judge by, `wall` to show."""

    steady: int
    wall: int


@dataclass(slots=True)
class Gap:
    """Something that is known to be missing: since when (steady clock), and what."""

    since_ms: int
    what: str


@dataclass(slots=True)
class BotStatus:
    """The status of one bot. Times are wall-clock milliseconds; 0 is never."""

    put: Callable[[Change], None]
    clock: Clock = SYSTEM_CLOCK
    #: So long after an audit the live state counts as compared with the exchange, in seconds.
    valid_s: float = LEAST_VALID_S
    connected: bool = False
    connected_at_ms: int = 0
    last_message_ms: int = 0
    last_fill_ms: int = 0
    #: Messages of this bot that could not be read since the start, and those of them that were only counted.
    unread: int = 0
    unread_lost: int = 0
    #: Whose account is listened to: environment and userID, "" before that is known.
    account: str = ""
    #: Why this bot cannot be listened to at all (its key), or "".
    refused: str = ""
    gaps: dict[str, Gap] = field(default_factory=dict)
    _synced: Moment | None = None
    _beat: int = 0
    _said: DataState | None = None
    _written: str = ""

    def now(self) -> Moment:
        """This moment."""
        return Moment(self.clock.boottime_ms(), self.clock.wall_ms())

    def state(self) -> DataState:
        """What is true now."""
        if not self.connected or self.refused:
            return DataState.DOWN
        age_ms = self._audit_age_ms()
        if self.gaps or age_ms is None or age_ms > self.valid_s * 1000:
            return DataState.STALE
        return DataState.SYNCED

    def gap(self, kind: str, what: str) -> None:
        """From now on something is known to be missing; only an audit that starts later closes it."""
        known = self.gaps.get(kind)
        if known is not None and known.what == what:
            # a storm of one trouble changes nothing that is shown
            known.since_ms = self.clock.boottime_ms()
            return
        self.gaps[kind] = Gap(self.clock.boottime_ms(), what)
        self.say()

    def audited(self, began: Moment) -> None:
        """An audit that began then has found everything and put it right."""
        self._synced = began
        self.gaps = {kind: gap for kind, gap in self.gaps.items() if gap.since_ms >= began.steady}
        self.say()

    def up(self) -> None:
        """The private stream is live: what happened before is not known until an audit."""
        self.connected, self.connected_at_ms = True, self.clock.wall_ms()
        self.gap("connection", "reconnected")

    def down(self) -> None:
        """The private stream has ended."""
        self.connected = False
        self.say()

    def beat(self) -> None:
        """Once a second: advance the counter, so that readers see that the status is still maintained."""
        self._beat += 1
        self.say()

    def fields(self) -> dict[str, str]:
        """The hash of the status."""
        return {
            "state": self.state(),
            "account": self.account,
            "connected_at": serialize.text(self.connected_at_ms or None),
            "synced_at": serialize.text(None if self._synced is None else self._synced.wall),
            "last_message_at": serialize.text(self.last_message_ms or None),
            "last_fill_at": serialize.text(self.last_fill_ms or None),
            "why": self.why(),
            "unread": str(self.unread),
            "unread_lost": str(self.unread_lost),
            "beat": str(self._beat),
            "valid_ms": str(round(self.valid_s * 1000)),
            "audit_age_ms": serialize.text(self._audit_age_ms()),
        }

    def why(self) -> str:
        """Why it is not synced; "" if it is."""
        if self.refused:
            return self.refused
        if not self.connected:
            return "The private stream is not connected."
        if self.gaps:
            return "; ".join(gap.what for gap in self.gaps.values())
        return "" if self.state() is DataState.SYNCED else f"No audit in the last {self.valid_s:.0f} s."

    def say(self) -> None:
        """Write the hash when it changed, and an event when the state changed."""
        fields = self.fields()
        flat = [part for pair in fields.items() for part in pair]
        text = "\n".join(flat)
        if text != self._written:
            self._written = text
            self.put(("STATUS", *flat))
        state = self.state()
        if state is not self._said:
            self._said = state
            self.put(("EVENT", "status", str(self.clock.wall_ms()), serialize.json_text(fields)))

    def anew(self) -> list[Change]:
        """The changes that write the status whole, after Redis was emptied."""
        fields = self.fields()
        self._said = self.state()
        return [("STATUS", *(part for pair in fields.items() for part in pair))]

    def _audit_age_ms(self) -> int | None:
        return None if self._synced is None else max(0, self.clock.boottime_ms() - self._synced.steady)
