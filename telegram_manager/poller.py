"""Long polling: updates in order, from a remembered offset on, through every fault of the network."""

import asyncio
from datetime import timedelta

from telegram import Bot, Update
from telegram.error import Conflict, Forbidden, InvalidToken, RetryAfter, TelegramError

from alpha.clock import monotonic_ms
from alpha.errors import Misconfigured
from alpha.logs import logger
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.incoming_update import read_update
from telegram_manager.state_store import StateStore

log = logger(__name__)
POLL_S = 25
MOST_BACKOFF_S = 30.0
OFFSET = "update_offset"


class Poller:
    """Reads updates until stopped. `fault` says what is wrong now, `heard_ms` when Telegram last answered (monotonic)."""

    def __init__(self, bot: Bot, desk: UpdateDispatcher, memory: StateStore, poll_s: int = POLL_S) -> None:
        self._bot = bot
        self._desk = desk
        self._memory = memory
        self._poll_s = poll_s
        self.fault = ""
        self.heard_ms: int | None = None

    async def run(self, offset: int) -> None:
        """Poll for ever. Misconfigured when Telegram refuses the token."""
        failures = 0
        while True:
            try:
                updates = await self._bot.get_updates(
                    offset=offset or None,
                    timeout=self._poll_s,
                    read_timeout=self._poll_s + 10,
                    allowed_updates=Update.ALL_TYPES,
                )
            except (InvalidToken, Forbidden):
                raise Misconfigured(
                    "Telegram refuses C2_TELEGRAM_BOT_TOKEN. Ask @BotFather for the right one."
                ) from None
            except TelegramError as fault:
                failures += 1
                self.fault = _sentence(fault)
                log.warning("telegram_not_heard", fault=self.fault, failures=failures)
                await asyncio.sleep(_pause_s(fault, failures))
                continue
            failures = 0
            self.fault = ""
            self.heard_ms = monotonic_ms()
            for update in updates:
                await self._desk.take(read_update(update))
                offset = max(offset, update.update_id + 1)
            if updates:
                await self._memory.save(OFFSET, offset)


def _sentence(fault: TelegramError) -> str:
    if isinstance(fault, Conflict):
        return "Another process polls with the same token. End it: one token has one command centre."
    return f"Telegram does not answer ({type(fault).__name__}: {fault.message})."


def _pause_s(fault: TelegramError, failures: int) -> float:
    if isinstance(fault, RetryAfter):
        after = fault.retry_after
        return after.total_seconds() if isinstance(after, timedelta) else float(after)
    return min(MOST_BACKOFF_S, 0.5 * 2.0 ** min(failures, 6))
