"""Per-strategy channels: entries, exits with their result, pauses, and the result of each day."""

import asyncio
from functools import partial
from pathlib import Path

from telegram import Bot as TelegramBot
from telegram.error import ChatMigrated

from alpha.alerts import Alert, Alerts, Level
from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.errors import Misconfigured, Rejected
from alpha.logs import logger
from alpha.registry import Bot, Registry
from telegram_manager.bot_client import make_bot
from telegram_manager.layout import MOST, fitting
from telegram_manager.outbox import Outbox
from telegram_manager.settings import ChannelKeys

log = logger(__name__)


class Channels:
    """The channels in the settings. A post that Telegram refuses raises an alert."""

    def __init__(
        self, registry: Registry, api_url: str, default_token: str | None, env_file: Path | None, alerts: Alerts
    ) -> None:
        self._api_url = api_url
        self._default_token = default_token
        self._alerts = alerts
        self._moved: dict[int | str, int] = {}
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
        """Create the clients, one per token, without contacting Telegram."""
        for _, token in self._places.values():
            if token not in self._bots:
                self._bots[token] = make_bot(token, self._api_url)
                self._outboxes[token] = Outbox()

    async def close(self) -> None:
        """Close the connections to Telegram."""
        await asyncio.gather(*(outbox.close() for outbox in self._outboxes.values()))
        # a client that was never initialised still holds connections
        await asyncio.gather(*(bot.request.shutdown() for bot in self._bots.values()))

    async def tell(self, bot: Bot, lines: list[str]) -> None:
        """Post lines of Telegram's HTML to a bot's channel, in as few messages as possible; no-op without a channel."""
        if bot.id not in self._places:
            return
        chat, token = self._places[bot.id]
        for text in _joined(lines):
            try:
                await self._outboxes[token].send(
                    _number(chat), partial(self._post, token, chat, text, bot), life_s=None
                )
            except Rejected as fault:
                log.warning("channel_refused", bot=bot.id, fault=str(fault))
                variable = f"{bot.prefix}_TELEGRAM_CHANNEL_ID"
                alert = Alert(
                    Level.WARNING,
                    f"channel-refused:{bot.id}",
                    f"A post for the channel of {bot.id} ({chat}) was refused and is lost. {fault}",
                    f"Make the bot an admin of the channel that may post, or correct {variable}.",
                    bot.id,
                )
                await self._alerts.raise_alert(alert, wall_ms())

    async def _post(self, token: str, chat: int | str, text: str, bot: Bot) -> None:
        to, post = self._moved.get(chat, chat), fitting(text)
        try:
            await self._bots[token].send_message(to, post, parse_mode="HTML")
        except ChatMigrated as fault:
            # a group that has become a supergroup: use the new id for this run; the setting must be updated
            self._moved[chat] = fault.new_chat_id
            await self._bots[token].send_message(fault.new_chat_id, post, parse_mode="HTML")
            variable = f"{bot.prefix}_TELEGRAM_CHANNEL_ID"
            alert = Alert(
                Level.WARNING,
                f"channel-moved:{bot.id}",
                f"The group {chat} of {bot.id} has become a supergroup with the id {fault.new_chat_id}. Posts go there now.",
                f"Set {variable}={fault.new_chat_id}.",
                bot.id,
            )
            await self._alerts.raise_alert(alert, wall_ms())


def _joined(lines: list[str]) -> list[str]:
    messages: list[str] = []
    for line in lines:
        if messages and len(messages[-1]) + 1 + len(line) <= MOST:
            messages[-1] += f"\n{line}"
        else:
            messages.append(line)
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
    """A negative number that identifies a channel to the rate limiter, whatever its name."""
    return chat if isinstance(chat, int) else -(abs(hash(chat)) % 10**9) - 1
