"""Checks the command centre's Telegram bot."""

from collections.abc import AsyncIterator

import httpx
from pydantic import Field, SecretStr

from alpha.config.loader import Settings
from alpha_cli.doctor.finding import Finding, fault, note, ok


class TelegramAccess(Settings):
    """What the doctor needs to know about Telegram."""

    c2_telegram_bot_token: SecretStr | None = Field(None, description="the token that @BotFather gave")
    c2_telegram_admin_ids: str | None = Field(None, description="the numbers of the people who may use it")
    c2_telegram_api_url: str = Field("https://api.telegram.org", description="the address of the Bot API")


async def check_telegram(settings: TelegramAccess) -> AsyncIterator[Finding]:
    """Check that the token is a bot's and that somebody is allowed to use it."""
    if settings.c2_telegram_bot_token is None:
        yield note("telegram", "C2_TELEGRAM_BOT_TOKEN is not set: Telegram commands and alerts are off.")
        return
    url = f"{settings.c2_telegram_api_url}/bot{settings.c2_telegram_bot_token.get_secret_value()}/getMe"
    try:
        async with httpx.AsyncClient(timeout=10) as client:
            answer = (await client.get(url)).json()
    except (httpx.HTTPError, ValueError):
        yield fault(
            "telegram", f"{settings.c2_telegram_api_url} does not answer.", "Check this host's way to the internet."
        )
        return
    if not answer.get("ok"):
        yield fault("telegram", "Telegram refuses C2_TELEGRAM_BOT_TOKEN.", "Copy the token from @BotFather again.")
        return
    yield ok("telegram", f"The bot is @{answer['result']['username']}.")
    if not settings.c2_telegram_admin_ids:
        yield fault("telegram", "C2_TELEGRAM_ADMIN_IDS is not set: no one can use the bot.", "Put your number into it.")
