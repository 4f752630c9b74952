"""The year for programs for taxes: all movements sum to the wallet of the simulated exchange, and the statement adds up."""

import csv
from decimal import Decimal
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.model.timestamp import at
from alpha.postgres.database import Connection
from tests.history.roles import PASSWORDS
from tests.history.test_verify import alpha
from tests.support.sync_world import World, as_sync, make_exchange, open_store, store_fills, world

BOT = "shortseller_001"


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


async def traded(place: World, owner: Connection, sync_settings: DatabaseSettings) -> tuple[str, Decimal]:
    """Trade for ten days, sync, and note the wallet as the listener does; the account's file name and its balance."""
    place.trade(3, days=10, per_day=12, bots=[BOT])
    number = await store_fills(owner, place, BOT)
    store = await open_store(sync_settings, place, BOT)
    async with place.gateway(BOT) as gateway:
        await place.sync(gateway, store).run(history_days=60)
        wallet = next(coin for coin in (await gateway.wallet()).coins if coin.coin == "USDT")
    await store.close()
    await owner.execute(
        "INSERT INTO trading.equity_snapshots VALUES ($1, $2, $3, $3, NULL, 0)",
        number,
        at(place.exchange.now_ms),
        wallet.wallet_balance,
    )
    return f"simulated-{place.keys[BOT].uid}", wallet.wallet_balance


async def test_the_year_adds_up_in_every_format(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path
) -> None:
    exchange = make_exchange(5)
    async with world(exchange) as place:
        name, balance = await traded(place, owner, as_sync(history_settings, PASSWORDS["alpha_sync"]))
    exchange.close()
    year = "2025"
    for style in ("generic", "koinly", "cointracking"):
        done = alpha(
            history_settings, "export", "--bot", BOT, "--year", year, "--format", style, "--output", str(tmp_path)
        )
        assert done.returncode == 0, done.stderr
    statement = {row["line"]: row["USDT"] for row in read(tmp_path / f"statement-{name}.csv")}
    assert Decimal(statement["closing balance"]) == balance
    assert Decimal(statement["difference"]) == 0, statement
    assert statement["independent"] == "yes"
    generic = read(tmp_path / f"generic-{name}.csv")
    assert {row["type"] for row in generic} == {"pnl", "fee", "funding", "transfer"}
    total = sum((Decimal(row["amount"]) for row in generic), Decimal(0))
    assert total == balance, "the account begins empty: all that moved is what is there"
    koinly = read(tmp_path / f"koinly-{name}.csv")
    received = sum((Decimal(row["Received Amount"] or 0) for row in koinly), Decimal(0))
    sent = sum((Decimal(row["Sent Amount"] or 0) for row in koinly), Decimal(0))
    assert received - sent == balance
    assert {row["Label"] for row in koinly} == {"realized gain", "cost", "margin fee", ""}
    tracking = read(tmp_path / f"cointracking-{name}.csv")
    bought = sum((Decimal(row["Buy Amount"] or 0) for row in tracking), Decimal(0))
    assert bought - sum((Decimal(row["Sell Amount"] or 0) for row in tracking), Decimal(0)) == balance
    assert (tmp_path / f"generic-{name}.csv").stat().st_mode & 0o777 == 0o600

    # a movement that the record lacks is a difference, in its amount
    lost = await owner.fetchval(
        "DELETE FROM trading.completed_trades WHERE ctid = (SELECT ctid FROM trading.completed_trades WHERE gross > 1 LIMIT 1) "
        "RETURNING gross"
    )
    assert alpha(history_settings, "export", "--bot", BOT, "--year", year, "--format", "generic", "--output", str(tmp_path)).returncode == 0  # fmt: skip
    statement = {row["line"]: row["USDT"] for row in read(tmp_path / f"statement-{name}.csv")}
    assert Decimal(statement["difference"]) == lost


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--format", "turbo"), "There is no format 'turbo'. Name one of generic, koinly, cointracking."),
        (("--format", "koinly", "--bot", "nobody"), "There is no account of a bot 'nobody' in the record."),
    ],
)
async def test_wrong_words_are_one_sentence(
    history_settings: DatabaseSettings, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    bot = () if "--bot" in words else ("--bot", BOT)
    done = alpha(history_settings, "export", *bot, "--year", "2025", "--output", str(tmp_path), *words)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(said)
