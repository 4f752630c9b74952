"""May a bot's live state be trusted? `synced`: audited within the last 30 s and no known gap; else `stale` or `down`."""

from collections.abc import Callable
from dataclasses import dataclass, field

from alpha.live_state.read import DataState
from websocket_listener import serialize
from websocket_listener.redis_writer import Change

AUDIT_VALID_MS = 30_000


@dataclass(slots=True)
class Gap:
    """Something that is known to be missing: since when (wall clock), and what."""

    since_ms: int
    what: str


@dataclass(slots=True)
class BotStatus:
    """The status of one bot. Times are wall-clock milliseconds; 0 is never."""

    put: Callable[[Change], None]
    connected: bool = False
    connected_at_ms: int = 0
    synced_at_ms: int = 0
    last_message_ms: int = 0
    last_fill_ms: int = 0
    #: Whose account is listened to: environment and userID, "" before that is known.
    account: str = ""
    #: Why this bot cannot be listened to at all (its key), or "".
    refused: str = ""
    gaps: dict[str, Gap] = field(default_factory=dict)
    _said: DataState | None = None
    _written: str = ""

    def state(self, now_ms: int) -> DataState:
        """What is true now."""
        if not self.connected or self.refused:
            return DataState.DOWN
        if self.gaps or now_ms - self.synced_at_ms > AUDIT_VALID_MS:
            return DataState.STALE
        return DataState.SYNCED

    def gap(self, kind: str, what: str, now_ms: int) -> None:
        """From now on something is known to be missing; only an audit that starts later closes it."""
        self.gaps[kind] = Gap(now_ms, what)
        self.say(now_ms)

    def audited(self, began_ms: int, now_ms: int) -> None:
        """An audit that began then has found everything and put it right."""
        self.synced_at_ms = began_ms
        self.gaps = {kind: gap for kind, gap in self.gaps.items() if gap.since_ms >= began_ms}
        self.say(now_ms)

    def up(self, now_ms: int) -> None:
        """The private stream is live: what happened before is not known until an audit."""
        self.connected, self.connected_at_ms = True, now_ms
        self.gaps["connection"] = Gap(now_ms, "reconnected")
        self.say(now_ms)

    def down(self, now_ms: int) -> None:
        """The private stream has ended."""
        self.connected = False
        self.say(now_ms)

    def fields(self, now_ms: int) -> dict[str, str]:
        """The hash of the status."""
        return {
            "state": self.state(now_ms),
            "account": self.account,
            "connected_at": serialize.text(self.connected_at_ms or None),
            "synced_at": serialize.text(self.synced_at_ms or None),
            "last_message_at": serialize.text(self.last_message_ms or None),
            "last_fill_at": serialize.text(self.last_fill_ms or None),
            "why": self.why(now_ms),
        }

    def why(self, now_ms: int) -> str:
        """What keeps it from being synced, in words; "" when nothing does."""
        if self.refused:
            return self.refused
        if not self.connected:
            return "The private stream is not connected."
        if self.gaps:
            return "; ".join(gap.what for gap in self.gaps.values())
        return "" if self.state(now_ms) is DataState.SYNCED else "No audit in the last 30 s."

    def say(self, now_ms: int) -> None:
        """Write the hash when it changed, and an event when the state changed."""
        fields = self.fields(now_ms)
        flat = [part for pair in fields.items() for part in pair]
        text = "\n".join(flat)
        if text != self._written:
            self._written = text
            self.put(("STATUS", *flat))
        state = self.state(now_ms)
        if state is not self._said:
            self._said = state
            self.put(("EVENT", "status", str(now_ms), serialize.json_text(fields)))

    def anew(self, now_ms: int) -> list[Change]:
        """The changes that write the status whole, after Redis was emptied."""
        fields = self.fields(now_ms)
        self._said = self.state(now_ms)
        return [("STATUS", *(part for pair in fields.items() for part in pair))]
