"""Confirmation buttons: single use, for one person in one place and one action, valid for a minute.

A place is a chat of Telegram or a session of the dashboard.
"""

import secrets
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from enum import StrEnum

LIFE_MS = 60_000
_MOST = 500


class Pressed(StrEnum):
    """The meaning of a press on a confirmation button."""

    YES = "yes"
    NO = "no"
    USED = "used"
    EXPIRED = "expired"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Pending:
    """An action waiting for its confirmation."""

    person: int
    place: Hashable
    command: str
    words: tuple[str, ...]
    attempt: str
    expires_ms: int


class Confirmations:
    """The pending actions. A token is unguessable, and removed once the right person has pressed it."""

    def __init__(self, token: Callable[[], str] = lambda: secrets.token_urlsafe(12)) -> None:
        self._token = token
        self._pending: dict[str, Pending] = {}

    def ask(self, person: int, place: Hashable, command: str, words: tuple[str, ...], attempt: str, now_ms: int) -> str:
        """Register a new confirmation and return its token."""
        self._pending = {key: value for key, value in self._pending.items() if value.expires_ms + LIFE_MS > now_ms}
        while len(self._pending) >= _MOST:
            self._pending.pop(next(iter(self._pending)))
        token = self._token()
        self._pending[token] = Pending(person, place, command, words, attempt, now_ms + LIFE_MS)
        return token

    def shown(self, token: str, now_ms: int) -> None:
        """The confirmation has reached the person: its minute begins now, however long Telegram delayed it."""
        pending = self._pending.get(token)
        if pending is not None:
            self._pending[token] = replace(pending, expires_ms=now_ms + LIFE_MS)

    def press(
        self, token: str, answer: str, person: int, place: Hashable, now_ms: int
    ) -> tuple[Pressed, Pending | None]:
        """Resolve a press; the action is returned once, and only to the person and place that were asked."""
        pending = self._pending.get(token)
        if pending is None:
            return Pressed.USED, None
        if pending.person != person or pending.place != place:
            return Pressed.OTHERS, None
        del self._pending[token]
        if now_ms >= pending.expires_ms:
            return Pressed.EXPIRED, pending
        return (Pressed.YES if answer == "yes" else Pressed.NO), pending

    def peek(self, token: str) -> Pending | None:
        """Return the action behind a token without consuming it."""
        return self._pending.get(token)
