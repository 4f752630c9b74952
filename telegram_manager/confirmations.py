"""Confirmation buttons: single use, for one person in one place and one action, for a minute."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from telegram_manager.chat_ref import ChatRef

LIFE_MS = 60_000
_MOST = 500


class Pressed(StrEnum):
    """What a press on a confirmation button means."""

    YES = "yes"
    NO = "no"
    USED = "used"
    EXPIRED = "expired"
    OTHERS = "others"


@dataclass(frozen=True, slots=True)
class Pending:
    """An action that waits for its confirmation."""

    person: int
    place: ChatRef
    command: str
    words: tuple[str, ...]
    attempt: str
    expires_ms: int


class Confirmations:
    """The actions that wait. A token is unguessable, and gone once it was pressed by the right person."""

    def __init__(self, token: Callable[[], str] = lambda: secrets.token_urlsafe(12)) -> None:
        self._token = token
        self._pending: dict[str, Pending] = {}

    def ask(self, person: int, place: ChatRef, command: str, words: tuple[str, ...], attempt: str, now_ms: int) -> str:
        """The token of a new question."""
        self._pending = {key: value for key, value in self._pending.items() if value.expires_ms + LIFE_MS > now_ms}
        while len(self._pending) >= _MOST:
            self._pending.pop(next(iter(self._pending)))
        token = self._token()
        self._pending[token] = Pending(person, place, command, words, attempt, now_ms + LIFE_MS)
        return token

    def shown(self, token: str, now_ms: int) -> None:
        """The question has reached the person: the minute begins now, however long it waited for Telegram."""
        pending = self._pending.get(token)
        if pending is not None:
            self._pending[token] = replace(pending, expires_ms=now_ms + LIFE_MS)

    def press(
        self, token: str, answer: str, person: int, place: ChatRef, now_ms: int
    ) -> tuple[Pressed, Pending | None]:
        """What pressing means; the action comes with it once, and only for the person and place that were asked."""
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
        """The action behind a token, left as it is."""
        return self._pending.get(token)
