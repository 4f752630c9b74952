"""A channel for each strategy: its entries, exits with result, pauses and the result of each day."""

import asyncio
from functools import partial
from html import escape
from pathlib import Path

from telegram import Bot as TelegramBot

from alpha.config.loader import load
from alpha.errors import Misconfigured, Rejected
from alpha.logs import logger
from alpha.registry import Bot, Registry
from telegram_manager.layout import MOST
from telegram_manager.outbox import Outbox
from telegram_manager.settings import ChannelKeys
from telegram_manager.wiring import make_bot

log = logger(__name__)


class Channels:
    """The channels of the settings. One that is refused is reported in the log and left alone."""

    def __init__(self, registry: Registry, api_url: str, default_token: str | None, env_file: Path | None) -> None:
        self._api_url = api_url
        self._default_token = default_token
        self._bots: dict[str, TelegramBot] = {}
        self._outboxes: dict[str, Outbox] = {}
        self._places: dict[str, tuple[int | str, str]] = {}
        for bot in registry.bots:
            keys = load(ChannelKeys, prefix=f"{bot.prefix}_", env_file=env_file)
            if keys.telegram_channel_id is None:
                continue
            token = keys.telegram_bot_token.get_secret_value() if keys.telegram_bot_token else default_token
            if token is None:
                raise Misconfigured(
                    f"{bot.prefix}_TELEGRAM_CHANNEL_ID is set, but {bot.prefix}_TELEGRAM_BOT_TOKEN is not. "
                    "Set it, or empty the channel."
                )
            self._places[bot.id] = (_channel(keys.telegram_channel_id, bot), token)

    async def open(self) -> None:
        """Make the clients, one a token; Telegram is not asked yet."""
        for _, token in self._places.values():
            if token not in self._bots:
                self._bots[token] = make_bot(token, self._api_url)
                self._outboxes[token] = Outbox()

    async def close(self) -> None:
        """Let go of Telegram."""
        await asyncio.gather(*(outbox.close() for outbox in self._outboxes.values()))
        # a client that was never initialised has its connections all the same
        await asyncio.gather(*(bot.request.shutdown() for bot in self._bots.values()))

    async def tell(self, bot: Bot, lines: list[str]) -> None:
        """Post lines of Telegram's HTML into a bot's channel, as few messages as possible; nothing without a channel."""
        if bot.id not in self._places:
            return
        chat, token = self._places[bot.id]
        for text in _joined(lines):
            try:
                await self._outboxes[token].send(_number(chat), partial(self._post, token, chat, text), life_s=None)
            except Rejected as fault:
                log.warning("channel_refused", bot=bot.id, fault=str(fault))

    async def _post(self, token: str, chat: int | str, text: str) -> None:
        await self._bots[token].send_message(chat, text, parse_mode="HTML")


def _joined(lines: list[str]) -> list[str]:
    messages: list[str] = []
    for line in lines:
        if messages and len(messages[-1]) + 1 + len(line) <= MOST:
            messages[-1] += f"\n{line}"
        else:
            messages.append(line if len(line) <= MOST else escape(line[: MOST // 5]))
    return messages


def _channel(text: str, bot: Bot) -> int | str:
    if text.startswith("@") and len(text) > 4:
        return text
    try:
        return int(text)
    except ValueError:
        raise Misconfigured(
            f"{bot.prefix}_TELEGRAM_CHANNEL_ID is {text!r}. It is the channel's number (-100...) or its @name."
        ) from None


def _number(chat: int | str) -> int:
    """A negative number for the pace of a channel, whatever it is called."""
    return chat if isinstance(chat, int) else -(abs(hash(chat)) % 10**9) - 1
