"""Telegram's rate limits on sending: 30 messages per second overall, one per second per chat, 20 per minute per group.

Source: Bot API FAQ, "My bot is hitting limits". The limits here stay below each.
"""

from collections import deque

ALL_PER_SECOND = 25
CHAT_MS = 1_050
#: Messages to a group per minute: all, and those that are not urgent. The difference is reserved, so that a flood of
#: answers cannot delay a panic's confirmation.
GROUP_PER_MINUTE, GROUP_PATIENT_PER_MINUTE = 19, 12


class RateLimit:
    """Computes how long a message to a chat must wait. Times are monotonic milliseconds, given by the caller."""

    def __init__(self, chat_ms: int = CHAT_MS) -> None:
        self._chat_ms = chat_ms
        self._all: deque[int] = deque()
        self._chats: dict[int, deque[int]] = {}
        self._held_until_ms: dict[int, int] = {}

    def wait_ms(self, chat: int, now_ms: int, *, urgent: bool = False) -> int:
        """Milliseconds until a message may go to this chat; 0 for now. An urgent one skips the one-second gap."""
        while self._all and now_ms - self._all[0] >= 1_000:
            self._all.popleft()
        waits = [self._held_until_ms.get(chat, 0) - now_ms]
        if len(self._all) >= ALL_PER_SECOND:
            waits.append(1_000 - (now_ms - self._all[0]))
        sent = self._chats.get(chat)
        if sent and not urgent:
            waits.append(self._chat_ms - (now_ms - sent[-1]))
        most = GROUP_PER_MINUTE if urgent else GROUP_PATIENT_PER_MINUTE
        if sent and chat < 0 and len(sent) >= most:
            waits.append(60_000 - (now_ms - sent[-most]))
        return max(0, *waits)

    def sent(self, chat: int, now_ms: int) -> None:
        """Record that a message was sent."""
        self._all.append(now_ms)
        self._chats.setdefault(chat, deque(maxlen=GROUP_PER_MINUTE)).append(now_ms)
        if len(self._chats) > 10_000:
            self._chats.pop(next(iter(self._chats)))

    def hold(self, chat: int, seconds: float, now_ms: int) -> None:
        """Send nothing to this chat for `seconds`, as Telegram asked (`retry_after`).

        The hold is per chat: a flooded group must not delay anyone's private chat.
        """
        self._held_until_ms = {held: until for held, until in self._held_until_ms.items() if until > now_ms}
        self._held_until_ms[chat] = max(self._held_until_ms.get(chat, 0), now_ms + int(seconds * 1000))
