"""What is said on Telegram: texts, pages with buttons, pictures, files; all through the outbox."""

import io
from collections.abc import Sequence
from typing import Any

from telegram import Bot, InlineKeyboardButton, InlineKeyboardMarkup, LinkPreviewOptions
from telegram.constants import ParseMode
from telegram.error import BadRequest

from alpha.errors import AlphaError
from alpha.logs import logger
from telegram_manager.chat_ref import ChatRef
from telegram_manager.outbox import ANSWER_LIFE_S, Outbox

log = logger(__name__)
Buttons = Sequence[Sequence[tuple[str, str]]]
_NO_PREVIEW = LinkPreviewOptions(is_disabled=True)


def keyboard(rows: Buttons) -> InlineKeyboardMarkup | None:
    """Buttons of (text, data). Data longer than Telegram's 64 bytes is left out."""
    kept = [
        [InlineKeyboardButton(text, callback_data=data) for text, data in row if len(data.encode()) <= 64]
        for row in rows
    ]
    return InlineKeyboardMarkup([row for row in kept if row]) if any(kept) else None


class TelegramSender:
    """Sends and edits. Every text is Telegram's HTML, made by `layout`."""

    def __init__(self, bot: Bot, outbox: Outbox) -> None:
        self._bot = bot
        self._outbox = outbox

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
        """Send a text; the id of its message. Rejected when refused, Retry after `life_s` (None waits for ever)."""
        markup = keyboard(buttons)

        async def send() -> int:
            message = await self._bot.send_message(
                place.chat,
                html,
                parse_mode=ParseMode.HTML,
                message_thread_id=place.topic,
                reply_markup=markup,
                disable_notification=silent,
                link_preview_options=_NO_PREVIEW,
            )
            return message.message_id

        return await self._outbox.send(place.chat, send, urgent=urgent, life_s=life_s)

    async def edit(
        self, place: ChatRef, message_id: int, html: str, buttons: Buttons = (), *, urgent: bool = False
    ) -> None:
        """Put another text into a message; one that is the same already is left."""
        markup = keyboard(buttons)

        async def send() -> None:
            try:
                await self._bot.edit_message_text(
                    html,
                    chat_id=place.chat,
                    message_id=message_id,
                    parse_mode=ParseMode.HTML,
                    reply_markup=markup,
                    link_preview_options=_NO_PREVIEW,
                )
            except BadRequest as fault:
                if "not modified" not in fault.message.lower():
                    raise

        await self._outbox.send(place.chat, send, urgent=urgent)

    async def photo(
        self,
        place: ChatRef,
        png: bytes,
        caption: str,
        *,
        silent: bool = False,
        life_s: float | None = ANSWER_LIFE_S,
    ) -> None:
        """Send a picture, after what was said before it."""

        async def send() -> Any:
            return await self._bot.send_photo(
                place.chat,
                io.BytesIO(png),
                caption=caption[:1000],
                message_thread_id=place.topic,
                filename="chart.png",
                disable_notification=silent,
            )

        # it belongs to the text before it, which was sent by now: the chat's own second need not pass
        await self._outbox.send(place.chat, send, urgent=True, life_s=life_s)

    async def file(self, place: ChatRef, name: str, content: bytes, caption: str = "") -> None:
        """Send a file."""

        async def send() -> Any:
            return await self._bot.send_document(
                place.chat, io.BytesIO(content), filename=name, caption=caption[:1000], message_thread_id=place.topic
            )

        await self._outbox.send(place.chat, send, life_s=120.0)

    async def delete(self, place: ChatRef, message_id: int) -> None:
        """Take a message away, where Telegram lets us."""

        async def send() -> Any:
            return await self._bot.delete_message(place.chat, message_id)

        try:
            await self._outbox.send(place.chat, send, urgent=True)
        except AlphaError as fault:
            log.warning("message_not_deleted", fault=str(fault))

    async def answer_button(self, button_id: str, text: str = "") -> None:
        """Stop the clock on a button that was pressed, with a few words at most. A press that is too old is left."""
        try:
            await self._bot.answer_callback_query(button_id, text[:200] or None)
        except BadRequest as fault:
            log.info("button_too_old", fault=fault.message)
