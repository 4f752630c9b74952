"""The states of one connection and the moves between them.

    CONNECTING -> LOGGING_IN -> SUBSCRIBING -> LIVE -> CLOSED      (private)
    CONNECTING ---------------> SUBSCRIBING -> LIVE -> CLOSED      (public: no login)

Every state may end in CLOSED; a closed connection is never used again, the next one is a new object.
"""

from enum import StrEnum


class StreamState(StrEnum):
    """Where a connection is. Only a LIVE one counts as connected: login and every subscription are confirmed."""

    CONNECTING = "connecting"
    LOGGING_IN = "logging_in"
    SUBSCRIBING = "subscribing"
    LIVE = "live"
    CLOSED = "closed"


MOVES: dict[StreamState, frozenset[StreamState]] = {
    StreamState.CONNECTING: frozenset({StreamState.LOGGING_IN, StreamState.SUBSCRIBING, StreamState.CLOSED}),
    StreamState.LOGGING_IN: frozenset({StreamState.SUBSCRIBING, StreamState.CLOSED}),
    StreamState.SUBSCRIBING: frozenset({StreamState.LIVE, StreamState.CLOSED}),
    StreamState.LIVE: frozenset({StreamState.CLOSED}),
    StreamState.CLOSED: frozenset(),
}


def move(old: StreamState, new: StreamState) -> StreamState:
    """`new`, when the table allows it; ValueError, naming both, when it does not."""
    if new not in MOVES[old]:
        raise ValueError(f"a connection cannot go from {old} to {new}")
    return new
