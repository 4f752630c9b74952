"""The outbox: sends in order per chat, within Telegram's rate limits, and retries while Telegram is unavailable.

Urgent messages (confirmations, control commands) go before others of the same chat.
"""

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, NetworkError, RetryAfter, TelegramError

from alpha.clock import SYSTEM_CLOCK, Backoff, Clock, is_set_within
from alpha.errors import Rejected, Retry
from alpha.logs import logger
from telegram_manager.rate_limit import RateLimit

log = logger(__name__)
T = TypeVar("T")
#: The longest pause between two attempts.
BACKOFF = Backoff(1.0, 30.0)
#: An answer to a person is useless after this.
ANSWER_LIFE_S = 120.0
#: Messages that may wait for one chat; more are refused, so that a flood cannot grow the queue without bound.
MOST_WAITING = 300


#: How the library prefixes an error that is not a network error: the request itself could not be made.
_BROKEN = "Unknown error in HTTP implementation"
#: A broken connection may cause this once or twice; a message that always fails this way is refused.
ODD_TRIES = 5


@dataclass(order=True)
class _Message:
    rank: int
    number: int
    send: Callable[[], Awaitable[Any]] = field(compare=False)
    done: "asyncio.Future[Any]" = field(compare=False)
    give_up_ms: int | None = field(compare=False)
    odd: int = field(default=0, compare=False)


class Outbox:
    """The outgoing queue to Telegram."""

    def __init__(self, clock: Clock = SYSTEM_CLOCK, pace: RateLimit | None = None) -> None:
        self._clock = clock
        self._pace = pace or RateLimit()
        self._letters: dict[int, list[_Message]] = {}
        self._workers: dict[int, asyncio.Task[None]] = {}
        self._woken: dict[int, asyncio.Event] = {}
        self._numbers = itertools.count()

    async def send(
        self,
        chat: int,
        send: Callable[[], Awaitable[T]],
        *,
        urgent: bool = False,
        life_s: float | None = ANSWER_LIFE_S,
    ) -> T:
        """Send when it is this message's turn; return Telegram's answer.

        Raises Rejected if Telegram refuses it permanently, Retry after `life_s` (None waits indefinitely).
        """
        waiting = self._letters.setdefault(chat, [])
        if len(waiting) >= MOST_WAITING and not urgent and life_s is not None:
            raise Retry("Too many messages wait for this chat already. Ask again in a minute.")
        give_up = None if life_s is None else self._clock.monotonic_ms() + int(life_s * 1000)
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        letter = _Message(0 if urgent else 1, next(self._numbers), send, done, give_up)
        heapq.heappush(waiting, letter)
        self._woken.setdefault(chat, asyncio.Event()).set()
        if chat not in self._workers or self._workers[chat].done():
            self._workers[chat] = asyncio.create_task(self._work(chat), name=f"outbox {chat}")
        return await done

    async def close(self) -> None:
        """Stop; waiting messages are dropped."""
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        for letters in self._letters.values():
            for letter in letters:
                letter.done.cancel()

    async def _work(self, chat: int) -> None:
        letters = self._letters[chat]
        failures = 0
        while letters:
            wait_ms = self._pace.wait_ms(chat, self._clock.monotonic_ms(), urgent=letters[0].rank == 0)
            if wait_ms:
                await self._sleep(chat, wait_ms / 1000)
                continue
            letter = heapq.heappop(letters)
            if letter.done.done():
                continue
            if letter.give_up_ms is not None and self._clock.monotonic_ms() >= letter.give_up_ms:
                letter.done.set_exception(Retry("Telegram did not take the message in time."))
                continue
            self._pace.sent(chat, self._clock.monotonic_ms())
            pause_s = await self._deliver(chat, letter, failures)
            if pause_s is None:
                failures = 0
                continue
            failures += 1
            heapq.heappush(letters, letter)
            await asyncio.sleep(pause_s)

    async def _deliver(self, chat: int, letter: _Message, failures: int) -> float | None:
        """Try once. None if the message is settled, otherwise the seconds to wait before the next attempt."""
        try:
            result = await letter.send()
        except RetryAfter as fault:
            after = fault.retry_after
            seconds = after.total_seconds() if isinstance(after, timedelta) else float(after)
            self._pace.hold(chat, seconds, self._clock.monotonic_ms())
            return 0.0
        except InvalidToken as fault:
            if letter.give_up_ms is None:
                # messages without a deadline wait for the operator, who alone can fix the token
                return BACKOFF.most_s
            _refuse(letter, fault)
            return None
        except (BadRequest, Forbidden, ChatMigrated) as fault:
            _refuse(letter, fault)
            return None
        except NetworkError as fault:
            if fault.message.startswith(_BROKEN):
                letter.odd += 1
                if letter.odd >= ODD_TRIES:
                    log.error("message_cannot_be_sent", fault=fault.message[:200])
                    _refuse(letter, fault)
                    return None
            return BACKOFF.pause_s(failures + 1, self._clock.random())
        except TelegramError as fault:
            log.warning("telegram_fault", fault=fault.message)
            return BACKOFF.pause_s(failures + 2, self._clock.random())
        except Exception as fault:  # noqa: BLE001 - a message that cannot be built must not block the ones behind it
            if not letter.done.done():
                letter.done.set_exception(fault)
            return None
        if not letter.done.done():
            letter.done.set_result(result)
        return None

    async def _sleep(self, chat: int, seconds: float) -> None:
        """Sleep, but wake when a message arrives that may go first."""
        woken = self._woken[chat]
        woken.clear()
        await is_set_within(woken, seconds)


def _refuse(letter: _Message, fault: TelegramError) -> None:
    """Fail a message that Telegram will not accept, now or later."""
    if not letter.done.done():
        letter.done.set_exception(Rejected(f"Telegram refused the message: {fault.message[:300].rstrip('.')}."))
