"""`alpha alert`: try the ways that alerts take, and acknowledge the critical ones."""

import asyncio

import typer
from pydantic import Field, SecretStr

from alpha.config.loader import Settings, load
from alpha.config.services import DatabaseSettings
from alpha.errors import Misconfigured
from alpha.postgres.database import POSTGRES_ERRORS, connect, explained
from alpha.postgres.sql import queries
from telegram_manager.alert_delivery import FROM_TERMINAL

SQL = queries(__file__)

TEXT = "This is a test of Alpha's alerts. Nothing happened, and nothing is to be done."


class AlertWays(Settings):
    """Where alerts go."""

    alert_urls: SecretStr | None = Field(None, description="addresses of Apprise that get the alerts too")
    c2_telegram_bot_token: SecretStr | None = Field(None, description="the token that @BotFather gave")
    c2_telegram_admin_ids: str | None = Field(None, description="the Telegram ids of the admins")
    c2_telegram_api_url: str = Field("https://api.telegram.org", description="the address of the Bot API")


def register(app: typer.Typer) -> None:
    """Add the group `alert` to `app`."""
    group = typer.Typer(help="Try the ways that alerts take; acknowledge critical ones.", no_args_is_help=True)

    @group.command()
    def test() -> None:
        """Send a test message to every channel of ALERT_URLS and to the Telegram admins; 1 if one does not take it."""
        raise typer.Exit(asyncio.run(_test(load(AlertWays))))

    @group.command()
    def ack() -> None:
        """Acknowledge all critical alerts, as /ack does in Telegram: they repeat no more until they change or come anew."""
        asyncio.run(_acknowledge(load(DatabaseSettings)))
        typer.echo("Acknowledged: the command centre takes it within seconds.")

    app.add_typer(group, name="alert")


async def _test(ways: AlertWays) -> int:
    # Imported here: Apprise is heavy.
    from telegram_manager.other_channels import notifier, parse_urls, send

    failed = tried = 0
    try:
        addresses = parse_urls(ways.alert_urls.get_secret_value()) if ways.alert_urls is not None else []
    except ValueError as fault:
        raise Misconfigured(f"ALERT_URLS: {fault}.") from None
    for address in addresses:
        service = notifier(address.url)
        well = service is not None and await send(service, "info", "Alpha: test", TEXT)
        tried, failed = tried + 1, failed + (not well)
        takes = "everything" if address.level == "info" else f"{address.level} and above"
        outcome = "delivered" if well else "NOT delivered: it is not reached, or it refuses the message"
        typer.echo(f"{address.name}, {takes}: {outcome}.")
    for person, refusal in await _telegram(ways):
        tried, failed = tried + 1, failed + bool(refusal)
        typer.echo(f"Telegram, {person}: {f'NOT delivered: {refusal}' if refusal else 'delivered'}.")
    if not tried:
        typer.echo("Alerts go nowhere: neither ALERT_URLS nor C2_TELEGRAM_BOT_TOKEN is set.", err=True)
        return 2
    return 1 if failed else 0


async def _telegram(ways: AlertWays) -> list[tuple[str, str]]:
    """Each admin with why the message did not arrive; "" when it did."""
    import httpx

    if ways.c2_telegram_bot_token is None:
        return []
    url = f"{ways.c2_telegram_api_url}/bot{ways.c2_telegram_bot_token.get_secret_value()}/sendMessage"
    told = []
    async with httpx.AsyncClient(timeout=10) as client:
        for person in [part.strip() for part in (ways.c2_telegram_admin_ids or "").split(",") if part.strip()]:
            try:
                answer = (await client.post(url, json={"chat_id": person, "text": TEXT})).json()
                told.append((person, "" if answer.get("ok") else str(answer.get("description", "refused"))))
            except (httpx.HTTPError, ValueError) as fault:
                told.append((person, f"Telegram is not reached ({type(fault).__name__})"))
    return told


async def _acknowledge(settings: DatabaseSettings) -> None:
    connection = await connect(settings, "alert ack")
    try:
        await connection.execute(
            SQL["acknowledge"],
            FROM_TERMINAL,
        )
    except POSTGRES_ERRORS as fault:
        raise explained(fault, settings) from None
    finally:
        await connection.close()
