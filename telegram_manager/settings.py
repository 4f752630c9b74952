"""The settings of the command centre."""

import ipaddress
import re
import unicodedata
from datetime import time
from typing import Annotated, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BeforeValidator, Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode

from alpha.config.keys import TELEGRAM_TOKEN
from alpha.config.loader import Names, Settings, Url, comma_separated
from alpha.config.services import HealthSettings, LogSettings
from operations.access_code import is_hash
from operations.commands import Role
from operations.context import OperationsSettings
from operations.dashboard_access import DashboardAccess
from telegram_manager.audience import HOW, KINDS
from telegram_manager.chat_ref import ChatRef

_TIME = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
#: Telegram's numbers of people, separated by commas.
Ids = Annotated[tuple[int, ...], NoDecode, BeforeValidator(comma_separated)]


def _checked_token(value: SecretStr | None) -> SecretStr | None:
    """Validate a token as @BotFather issues it. A pasted token may hold an invisible character: the error names it."""
    if value is None:
        return None
    text = value.get_secret_value()
    for place, letter in enumerate(text, start=1):
        if not (letter.isascii() and (letter.isalnum() or letter in ":_-")):
            name = unicodedata.name(letter, "a control character")
            raise ValueError(
                f"it has the character U+{ord(letter):04X} ({name.lower()}) at place {place}, which no token has; "
                "copy it again from @BotFather"
            )
    if not TELEGRAM_TOKEN.fullmatch(text):
        raise ValueError("it is not a token (a token looks like 123456789:AA...)")
    return value


def clock_time(text: str) -> time:
    """Parse a time of day such as `22:30`; ValueError otherwise."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time of day (example: 22:30)")
    return time(int(match[1]), int(match[2]))


class CommandCentreSettings(OperationsSettings, DashboardAccess, LogSettings, HealthSettings):
    """Who may do what on Telegram, and how alerts reach people."""

    c2_telegram_bot_token: SecretStr | None = Field(
        None, description="the token of the command centre's bot, from @BotFather"
    )
    c2_telegram_admin_ids: Ids = Field((), description="the Telegram ids of the admins, separated by commas")
    c2_telegram_operator_ids: Ids = Field((), description="the Telegram ids of those who may steer the bots")
    c2_telegram_viewer_ids: Ids = Field((), description="the Telegram ids of those who may only look")
    c2_telegram_groups: Names = Field(
        (), description="groups in which commands are answered: -1001234567890, or -1001234567890:7 for one topic"
    )
    c2_telegram_access_code_hash: SecretStr | None = Field(
        None, description="the hash of the access code, made by 'alpha access-code'; none asks for no code"
    )
    c2_telegram_session_hours: int = Field(12, ge=1, le=720, description="how long an access code holds, in hours")
    c2_telegram_rate_per_minute: int = Field(
        40, ge=5, le=600, description="how many messages a minute a person may send"
    )
    c2_telegram_api_url: str = Field("https://api.telegram.org", description="the address of the Bot API")
    c2_alert_level: Literal["info", "warning", "critical"] = Field("info", description="the lowest level that is sent")
    c2_alert_fills: bool = Field(
        False, description="true to report entries and exits on every channel, to people as C2_NEWS=entries,exits does"
    )
    c2_news: str = Field(
        "",
        description="news that everybody gets until they choose with /notify: entries, exits, stops, funding, each with =quiet "
        "or not, separated by commas",
    )
    c2_alert_repeat_minutes: int = Field(10, ge=1, le=1440, description="how often a critical alert repeats until /ack")
    c2_alert_loss_usdt: int = Field(
        0, ge=0, description="a closed trade that lost more than this is an alert; 0 for none"
    )
    c2_alert_drawdown_pct: int = Field(
        10, ge=0, le=100, description="an account this far below its high is an alert; 0 for none"
    )
    c2_quiet_hours: str = Field("", description="hours in which only critical alerts are sent, for example 22:30-07:00")
    c2_daily_summary_at: str = Field(
        "", description="when the daily summary is sent, in ALPHA_TIMEZONE, for example 08:00"
    )
    alert_urls: SecretStr | None = Field(
        None,
        description="addresses of Apprise that get the alerts too, separated by blanks, each with LEVEL= before it or not",
    )
    c2_summaries: str = Field(
        "daily,weekly,monthly",
        description="which summaries come at that time: daily, weekly (Mondays), monthly (the first), separated by commas",
    )
    c2_digest_at: str = Field(
        "",
        description="when a quiet word comes whether all is well, in ALPHA_TIMEZONE, for example 20:00; never when empty",
    )
    c2_webhook_url: SecretStr | None = Field(None, description="an address that gets every alert as JSON")
    c2_heartbeat_url: SecretStr | None = Field(
        None, description="URL that is requested every minute while everything is healthy"
    )

    prometheus_url: Url | None = Field(
        None,
        description="the address of Prometheus, whose firing rules become alerts; none without the profile `metrics`",
    )

    @field_validator("c2_telegram_groups")
    @classmethod
    def _places(cls, groups: tuple[str, ...]) -> tuple[str, ...]:
        for group in groups:
            ChatRef.parse(group)
        return groups

    @field_validator("c2_quiet_hours")
    @classmethod
    def _quiet(cls, text: str) -> str:
        if text:
            begin, dash, end = text.partition("-")
            if not dash or clock_time(begin) == clock_time(end):
                raise ValueError(f"{text!r} is not a range of hours (example: 22:30-07:00)")
        return text

    @field_validator("c2_summaries")
    @classmethod
    def _summaries(cls, text: str) -> str:
        kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
        wrong = [kind for kind in kinds if kind not in ("daily", "weekly", "monthly")]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is not daily, weekly or monthly")
        return ",".join(kinds)

    @field_validator("c2_news")
    @classmethod
    def _news(cls, text: str) -> str:
        for name, how in _news_of(text).items():
            if name not in KINDS or name == "alerts" or how not in HOW:
                raise ValueError(f"{name}={how} is not news (example: entries,exits=quiet,funding=off)")
        return text

    @field_validator("c2_daily_summary_at", "c2_digest_at")
    @classmethod
    def _summary(cls, text: str) -> str:
        if text:
            clock_time(text)
        return text

    @field_validator("c2_telegram_api_url")
    @classmethod
    def _api(cls, url: str) -> str:
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is not a URL; leave it empty for Telegram itself")
        if parts.scheme == "http" and not _loopback(parts.hostname):
            raise ValueError(f"{url!r} would send the token in the clear; http is for this machine only, use https")
        return url.rstrip("/")

    @field_validator("c2_telegram_bot_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked_token(value)

    @field_validator("c2_webhook_url", "c2_heartbeat_url")
    @classmethod
    def _outgoing(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        try:
            parts = httpx.URL(value.get_secret_value())
        except httpx.InvalidURL as fault:
            raise ValueError(f"it is not a URL: {fault}") from None
        if parts.scheme not in ("http", "https") or not parts.host:
            raise ValueError("it is not a URL; it must begin with https://")
        return value

    @field_validator("alert_urls")
    @classmethod
    def _channels(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            from telegram_manager.other_channels import parse_urls  # Apprise is heavy, and only needed with addresses

            parse_urls(value.get_secret_value())
        return value

    @field_validator("c2_telegram_access_code_hash")
    @classmethod
    def _hash(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_hash(value.get_secret_value()):
            raise ValueError("it is not a hash; create one with 'alpha access-code'")
        return value

    @model_validator(mode="after")
    def _somebody(self) -> "CommandCentreSettings":
        if self.c2_telegram_bot_token is not None and not self.c2_telegram_admin_ids:
            raise ValueError(
                "C2_TELEGRAM_ADMIN_IDS is not set. It names who may use the bot: send /start to @userinfobot to learn "
                "your Telegram id, and put it into .env."
            )
        return self

    def roles(self) -> dict[int, Role]:
        """Telegram id -> role; the highest role if an id is named twice."""
        return {
            **dict.fromkeys(self.c2_telegram_viewer_ids, Role.VIEWER),
            **dict.fromkeys(self.c2_telegram_operator_ids, Role.OPERATOR),
            **dict.fromkeys(self.c2_telegram_admin_ids, Role.ADMIN),
        }

    def places(self) -> tuple[ChatRef, ...]:
        """The groups and topics in which commands are answered."""
        return tuple(ChatRef.parse(group) for group in self.c2_telegram_groups)

    def news(self) -> dict[str, str]:
        """Kind of news to how people get it who have not chosen."""
        fills = {"entries": "on", "exits": "on"} if self.c2_alert_fills else {}
        return {**fills, **_news_of(self.c2_news)}

    def quiet(self) -> tuple[time, time] | None:
        """Begin and end of the quiet hours, in the operator's zone."""
        if not self.c2_quiet_hours:
            return None
        begin, _, end = self.c2_quiet_hours.partition("-")
        return clock_time(begin), clock_time(end)


def _news_of(text: str) -> dict[str, str]:
    parts = (part.strip().lower().partition("=") for part in text.split(",") if part.strip())
    return {name.strip(): how.strip() or "on" for name, _, how in parts}


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ChannelKeys(Settings):
    """The channel of one strategy; its prefix starts the variable names, as in SHORTSELLER_TELEGRAM_CHANNEL_ID."""

    telegram_bot_token: SecretStr | None = Field(None, description="the token of the bot that writes to this channel")
    telegram_channel_id: str | None = Field(None, description="the channel's id (-100...) or @name")

    @field_validator("telegram_bot_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        return _checked_token(value)
