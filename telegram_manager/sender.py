"""Sends to Telegram: texts, pages with buttons, pictures, files; all through the outbox."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions
from telegram.constants import ParseMode
from telegram.error import BadRequest, ChatMigrated, TelegramError

from alpha.errors import AlphaError
from alpha.logs import logger
from telegram_manager.chat_ref import ChatRef
from telegram_manager.layout import as_plain, fitting
from telegram_manager.outbox import ANSWER_LIFE_S, Outbox

log = logger(__name__)
T = TypeVar("T")
Buttons = Sequence[Sequence[tuple[str, str]]]
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


def keyboard(rows: Buttons) -> InlineKeyboardMarkup | None:
    """Build a keyboard from (text, data) buttons. A button whose data exceeds Telegram's 64 bytes is dropped."""
    kept = [
        [
            InlineKeyboardButton(text, callback_data=data)
            for text, data in row
            if len(data.encode("utf-8", "replace")) <= 64
        ]
        for row in rows
    ]
    return InlineKeyboardMarkup([row for row in kept if row]) if any(kept) else None


class TelegramSender:
    """Sends and edits. Every text is Telegram's HTML from `layout`; one that is too long is cut rather than lost.

    `on_moved(old, new)` is called when a group has become a supergroup.
    """

    def __init__(self, bot: Bot, outbox: Outbox) -> None:
        self._bot = bot
        self._outbox = outbox
        self._moved: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.on_moved: Callable[[int, int], Awaitable[None]] | None = None

    def moved(self, old: int, new: int) -> None:
        """Redirect messages for chat `old` to `new`."""
        self._moved[old] = new

    async def _to(self, chat: int, send: Callable[[int], Awaitable[T]]) -> T:
        """Send to a chat, or to its current id if it moved."""
        now = self._moved.get(chat, chat)
        try:
            return await send(now)
        except ChatMigrated as fault:
            self.moved(chat, fault.new_chat_id)
            if self.on_moved is not None:
                task = asyncio.create_task(self._tell_moved(now, fault.new_chat_id))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return await send(fault.new_chat_id)

    async def _tell_moved(self, old: int, new: int) -> None:
        try:
            if self.on_moved is not None:
                await self.on_moved(old, new)
        except AlphaError as fault:
            log.warning("move_not_told", old=old, new=new, fault=str(fault))

    async def say(
        self,
        place: ChatRef,
        html: str,
        buttons: Buttons = (),
        *,
        urgent: bool = False,
        silent: bool = False,
        life_s: float | None = ANSWER_LIFE_S,
    ) -> int:
        """Send a text; return its message id. Rejected if refused, Retry after `life_s` (None waits indefinitely)."""
        markup, shown = keyboard(buttons), fitting(html)

        async def send(chat: int, text: str = shown, mode: str | None = ParseMode.HTML) -> int:
            message = await self._bot.send_message(
                chat,
                text,
                parse_mode=mode,
                message_thread_id=place.topic,
                reply_markup=markup,
                disable_notification=silent,
                link_preview_options=_NO_PREVIEW,
            )
            return message.message_id

        async def send_readable() -> int:
            try:
                return await self._to(place.chat, send)
            except BadRequest as fault:
                if "can't parse" not in fault.message.lower():
                    raise
                # markup that Telegram rejects is sent as plain text rather than not at all
                log.error("markup_refused", fault=fault.message)
                return await self._to(place.chat, lambda chat: send(chat, as_plain(shown), None))

        return await self._outbox.send(place.chat, send_readable, urgent=urgent, life_s=life_s)

    async def edit(
        self, place: ChatRef, message_id: int, html: str, buttons: Buttons = (), *, urgent: bool = False
    ) -> None:
        """Replace the text of a message; an unchanged text is left as it is."""
        markup, shown = keyboard(buttons), fitting(html)

        async def send(chat: int) -> None:
            try:
                await self._bot.edit_message_text(
                    shown,
                    chat_id=chat,
                    message_id=message_id,
                    parse_mode=ParseMode.HTML,
                    reply_markup=markup,
                    link_preview_options=_NO_PREVIEW,
                )
            except BadRequest as fault:
                if "not modified" not in fault.message.lower():
                    raise

        await self._outbox.send(place.chat, lambda: self._to(place.chat, send), urgent=urgent)

    async def photo(
        self,
        place: ChatRef,
        png: bytes,
        caption: str,
        *,
        silent: bool = False,
        life_s: float | None = ANSWER_LIFE_S,
    ) -> None:
        """Send a picture, after the text that precedes it."""

        async def send(chat: int) -> Any:
            return await self._bot.send_photo(
                chat,
                io.BytesIO(png),
                caption=caption[:1000],
                message_thread_id=place.topic,
                filename="chart.png",
                disable_notification=silent,
            )

        # it belongs to the text before it, which has been sent: the one-second gap per chat does not apply
        await self._outbox.send(place.chat, lambda: self._to(place.chat, send), urgent=True, life_s=life_s)

    async def file(self, place: ChatRef, name: str, content: bytes, caption: str = "") -> None:
        """Send a file."""

        async def send(chat: int) -> Any:
            return await self._bot.send_document(
                chat, io.BytesIO(content), filename=name, caption=caption[:1000], message_thread_id=place.topic
            )

        await self._outbox.send(place.chat, lambda: self._to(place.chat, send), life_s=120.0)

    async def delete(self, place: ChatRef, message_id: int) -> None:
        """Delete a message, if Telegram allows it."""

        async def send(chat: int) -> Any:
            return await self._bot.delete_message(chat, message_id)

        try:
            await self._outbox.send(place.chat, lambda: self._to(place.chat, send), urgent=True)
        except AlphaError as fault:
            log.warning("message_not_deleted", fault=str(fault))

    async def answer_button(self, button_id: str, text: str = "") -> None:
        """Acknowledge a button press, with a short text at most.

        Never fails: it is a courtesy, and the press is handled regardless.
        """
        try:
            await self._bot.answer_callback_query(button_id, text[:200] or None)
        except TelegramError as fault:
            log.info("button_not_answered", fault=fault.message)
