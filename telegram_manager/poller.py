"""Long polling: reads updates from a saved offset, through every network fault and every malformed update."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
from telegram import Bot
from telegram.error import Conflict, Forbidden, InvalidToken, RetryAfter, TelegramError

from alpha.clock import SYSTEM_CLOCK, Backoff, Clock
from alpha.logs import logger
from telegram_manager.bot_client import UpdatesRequest, decode_update, fetch_updates
from telegram_manager.dispatcher import UpdateDispatcher
from telegram_manager.incoming_update import IncomingUpdate, Unreadable, read_update
from telegram_manager.state_store import StateStore

log = logger(__name__)
POLL_S = 25
BACKOFF = Backoff(1.0, 30.0)
#: The pause after a batch that does not advance the offset: polling would otherwise spin.
STUCK_PAUSE_S = 1.0
REFUSED = "Telegram refuses C2_TELEGRAM_BOT_TOKEN. Ask @BotFather for the right one."


class Offset(msgspec.Struct):
    """The update offset of one bot. Telegram may start a new, lower id sequence (after a week without updates)."""

    next: int = 0
    sequence: int = 0


def offset_name(bot_id: int) -> str:
    """The key under which a bot's offset is saved: each bot has its own id sequence."""
    return f"update_offset:{bot_id}"


class Poller:
    """Reads updates until cancelled. `fault` is the current fault, `heard_ms` when Telegram last answered (monotonic).

    `refused` is called repeatedly while Telegram rejects the token.
    """

    def __init__(
        self,
        bot: Bot,
        desk: UpdateDispatcher,
        memory: StateStore,
        poll_s: int = POLL_S,
        *,
        refused: Callable[[str], Awaitable[None]] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._bot = bot
        self._desk = desk
        self._memory = memory
        self._poll_s = poll_s
        self._refused = refused
        self._clock = clock
        self.fault = ""
        self.heard_ms: int | None = None

    async def run(self, offset: Offset) -> None:
        """Poll until cancelled. No answer from Telegram and no update ends it."""
        request = UpdatesRequest(connection_pool_size=2, connect_timeout=5.0)
        failures = 0
        try:
            await request.initialize()
            while True:
                try:
                    updates = await fetch_updates(self._bot, request, offset.next, self._poll_s)
                    received_ms = self._clock.wall_ms()
                    self.heard_ms, self.fault, failures = self._clock.monotonic_ms(), "", 0
                    if updates and not await self._take(updates, offset, received_ms):
                        await self._clock.sleep(STUCK_PAUSE_S)
                except TelegramError as fault:
                    failures += 1
                    self.fault = _sentence(fault)
                    log.warning("telegram_not_heard", fault=self.fault, failures=failures)
                    if isinstance(fault, InvalidToken | Forbidden) and self._refused is not None:
                        await self._refused(self.fault)
                    await self._clock.sleep(_pause_s(fault, failures, self._clock.random()))
                except Exception as fault:
                    failures += 1
                    self.fault = f"The poller failed ({type(fault).__name__}); the log has its trace."
                    log.exception("unforeseen_fault", name="poller", failures=failures)
                    await self._clock.sleep(_pause_s(TelegramError(""), failures, self._clock.random()))
        finally:
            await request.shutdown()

    async def _take(self, updates: list[object], offset: Offset, received_ms: int) -> bool:
        """Dispatch a batch and advance the offset past it; False if the offset did not advance."""
        numbers: list[int] = []
        read: list[IncomingUpdate] = []
        bad: list[tuple[object, Unreadable]] = []
        for update in updates:
            raw: object = None
            try:
                raw = decode_update(update) if isinstance(update, str) else update
                seen = read_update(raw, self._bot.id, self._bot.username)
                read.append(seen)
                number: int | None = seen.update_id
            except Unreadable as fault:
                bad.append((raw, fault))
                number = fault.number
            if number is not None:
                numbers.append(number)
        behind = max(numbers, default=-1) + 1
        if 0 < behind < offset.next:
            offset.sequence += 1
            log.warning("update_ids_begin_anew", before=offset.next, now=behind)
        await self._desk.take_batch(read, bad, offset.sequence, received_ms)
        moved = 0 < behind != offset.next
        if moved:
            offset.next = behind
            await self._memory.save(offset_name(self._bot.id), offset)
        return moved


def _sentence(fault: TelegramError) -> str:
    if isinstance(fault, InvalidToken | Forbidden):
        return REFUSED
    if isinstance(fault, Conflict):
        return "Another process polls with the same token. End it: one token has one command centre."
    return f"Telegram does not answer ({type(fault).__name__}: {fault.message})."


def _pause_s(fault: TelegramError, failures: int, draw: float) -> float:
    if isinstance(fault, RetryAfter):
        after = fault.retry_after
        return after.total_seconds() if isinstance(after, timedelta) else float(after)
    if isinstance(fault, InvalidToken | Forbidden):
        # the operator must fix it: retry slowly but never give up, since alerts and watch continue in this process
        return BACKOFF.most_s
    return BACKOFF.pause_s(failures, draw)
