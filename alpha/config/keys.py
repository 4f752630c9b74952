"""The API keys of each bot."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from alpha.config.loader import DEFAULT, EnvFile, Settings, load
from alpha.config.regions import RegionName
from alpha.errors import Misconfigured
from alpha.registry import Bot


def _ascii(secret: SecretStr) -> SecretStr:
    """Accept printable ASCII only: keys go into HTTP headers, so anything else is a typing or paste error."""
    for place, character in enumerate(secret.get_secret_value(), start=1):
        if not "!" <= character <= "~":
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise ValueError(f"holds {name} at position {place}, which cannot be part of a key. Copy the key again")
    return secret


#: An exchange API key or secret.
KeyText = Annotated[SecretStr, AfterValidator(_ascii)]


#: The form of a Telegram bot token as @BotFather issues it.
TELEGRAM_TOKEN = re.compile(r"\d+:[A-Za-z0-9_-]+")


class BotKeys(Settings):
    """The exchange keys of one bot; the variables start with its prefix."""

    bybit_api_key: KeyText = Field(description="the API key of this bot's account")
    bybit_api_secret: KeyText = Field(description="the API secret of this bot's account")
    bybit_demo: bool | None = Field(None, description="true or false when this bot differs from BYBIT_DEMO")
    bybit_region: RegionName | None = Field(
        None, description="the site of its account where it differs from BYBIT_REGION"
    )


class ReadingKeys(Settings):
    """The second, read-only exchange key of one bot, for services that only read; variables start with its prefix."""

    bybit_read_api_key: KeyText | None = Field(
        None, description="a second API key of this bot's account that only reads, for the listener and the trade sync"
    )
    bybit_read_api_secret: KeyText | None = Field(None, description="the API secret of the key that only reads")


def load_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> BotKeys:
    """The trading key of `bot`; raises Misconfigured naming the missing variable."""
    return load(BotKeys, prefix=f"{bot.prefix}_", env_file=env_file)


def has_reading_key(bot: Bot, *, env_file: EnvFile = DEFAULT) -> bool:
    """True when a separate key is set for services that only read, whatever its permissions."""
    return load(ReadingKeys, prefix=f"{bot.prefix}_", env_file=env_file).bybit_read_api_key is not None


def load_reading_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> BotKeys:
    """The key of `bot` for services that only read: its read-only key, or the trading key if there is none.

    Misconfigured when there is neither, or a key without its secret.
    """
    reading = load(ReadingKeys, prefix=f"{bot.prefix}_", env_file=env_file)
    key, secret = reading.bybit_read_api_key, reading.bybit_read_api_secret
    if key is None and secret is None:
        try:
            return load_keys(bot, env_file=env_file)
        except Misconfigured:
            if _is_begun(bot, env_file):
                raise
            raise Misconfigured(
                f"{bot.id} has no key to read with. Set {bot.read_key_variable} and {bot.read_secret_variable}: "
                "a key of its account made with Read-Only."
            ) from None
    if key is None or secret is None:
        missing = bot.read_key_variable if key is None else bot.read_secret_variable
        raise Misconfigured(f"{missing} is not set: a key and its secret belong together. Set both.")
    return load(BotKeys, prefix=f"{bot.prefix}_", env_file=env_file, bybit_api_key=key, bybit_api_secret=secret)


def load_guarding_keys(bot: Bot, *, env_file: EnvFile = DEFAULT) -> tuple[BotKeys, bool]:
    """The guard's key for `bot`, and whether it is the trading key; without one, the read-only key observes.

    Misconfigured when there is neither, or a key without its secret.
    """
    try:
        return load_keys(bot, env_file=env_file), True
    except Misconfigured:
        if _is_begun(bot, env_file):
            raise
        return load_reading_keys(bot, env_file=env_file), False


def read_only_advice(bot: Bot) -> str:
    """The advice for when a service that only reads holds a key that may trade."""
    return (
        f"Make a second key of this account with Read-Only, then: alpha key {bot.container} --read-only. "
        "Until then whoever gets into the listener or the trade sync can trade."
    )


class _GivenKeys(Settings):
    bybit_api_key: SecretStr | None = None
    bybit_api_secret: SecretStr | None = None


def _is_begun(bot: Bot, env_file: EnvFile) -> bool:
    """True when part of the trading key is set: a missing part is then a mistake, not a choice."""
    given = load(_GivenKeys, prefix=f"{bot.prefix}_", env_file=env_file)
    return given.bybit_api_key is not None or given.bybit_api_secret is not None
