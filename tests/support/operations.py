"""A complete system: real PostgreSQL with generated history, real Redis with live state, supervised processes."""

import asyncio
import itertools
import random
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from alpha.clock import wall_ms
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.model.timestamp import ms_of
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.migrate import ROLES, migrate, register_bots, set_passwords
from alpha.registry import Registry
from bot_control import BotControlSettings, open_control
from demo.api import SupervisorApi
from demo.postgres import EmbeddedPostgres
from demo.processes import Spec, Supervisor
from demo.redis import EmbeddedRedis
from operations.analytics import TripRow
from operations.context import History, Operations
from tests.support.fill_generator import START, as_fill, streams
from tests.support.fixtures import COPY

ROOT = Path(__file__).resolve().parents[2]
FILLS = 6_000
#: The exchange's time: the fourth month of the generated history, when all bots have traded.
DAYS = 91
NOW = START + timedelta(days=DAYS, hours=12)
TEMPLATE = "house_template"
PASSWORDS = {role: f"password-of-{role}" for role in ROLES}
_numbers = itertools.count(1)


async def run_sql(settings: DatabaseSettings, *statements: str) -> None:
    """Run statements, each in its own transaction."""
    connection = await connect(settings, "tests")
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def fill_history(connection: Connection, registry: Registry, fills: int) -> None:
    """Insert accounts, generated fills and two equity snapshots per day."""
    accounts = {}
    for number, bot in enumerate(registry.bots):
        accounts[bot.id] = await connection.fetchval(
            "SELECT trading.register_account('simulated', $1, $2)", str(1000 + number), bot.id
        )
    for bot_id, symbol, raw in streams(7, fills):
        rows = [as_fill(row, accounts[bot_id], bot_id, symbol) for row in raw]
        await insert_fills(connection, [row for row in rows if row.exec_time < NOW])
    for number, account in enumerate(accounts.values()):
        snapshots = []
        draw, equity = random.Random(number), Decimal(10_000)
        for half_days in range(2 * DAYS + 1):
            equity += Decimal(draw.randrange(-9_000, 9_800)) / 100
            snapshots.append((account, START + timedelta(hours=12 * half_days), equity, equity, Decimal(0)))
        await connection.executemany(
            "INSERT INTO trading.equity_snapshots (account_id, taken_at, equity, wallet_balance, unrealised_pnl) "
            "VALUES ($1, $2, $3, $4, $5)",
            snapshots,
        )


async def write_live_state(links: RedisClients, registry: Registry) -> None:
    """Write a BTC short with a stop, an ETH long without one, an order and wallets; everything synced and fresh."""
    moment, wall = str(ms_of(NOW)), str(wall_ms())
    held = {
        "shortseller_001": ("BTCUSDT", "Sell", "0.5", "95000", "94000", "500", "96000", "92000"),
        "lxalgo_001": ("ETHUSDT", "Buy", "2", "3300", "3290.5", "-19", "", ""),
    }
    for bot in registry.bots:
        redis = links.of(bot)
        await redis.hset(
            keys.status(bot.id),
            mapping={
                "state": "synced",
                "connected_at": wall,
                "synced_at": wall,
                "last_message_at": wall,
                "last_fill_at": wall,
            },
        )
        await redis.hset(
            keys.wallet(bot.id),
            mapping={"equity": "12345.678", "wallet_balance": "12000", "available": "9000", "unrealised_pnl": "345.678",
                     "updated_at": moment},
        )  # fmt: skip
        if bot.id not in held:
            continue
        symbol, side, size, entry, mark, pnl, stop, target = held[bot.id]
        await redis.sadd(keys.positions(bot.id), symbol)
        await redis.hset(
            keys.position(bot.id, symbol),
            mapping={"side": side, "size": size, "entry_price": entry, "mark_price": mark, "unrealised_pnl": pnl,
                     "leverage": "10", "liq_price": "", "stop_loss": stop, "take_profit": target, "trailing_stop": "",
                     "opened_at": moment, "updated_at": moment, "seq": "5"},
        )  # fmt: skip
    await links.of(registry.bots[0]).hset(
        keys.orders("shortseller_001"),
        "order-1",
        '{"orderId":"order-1","symbol":"BTCUSDT","side":"Buy","orderType":"Market","stopOrderType":"StopLoss","qty":"0.5",'
        f'"cumExecQty":"0","price":"","triggerPrice":"96000","reduceOnly":true,"orderLinkId":"","createdTime":"{moment}"}}',
    )


@pytest.fixture(scope="session")
def house_template(postgres_server: EmbeddedPostgres, registry: Registry) -> str:
    """The name of a migrated template database with history."""

    async def make() -> None:
        # once per server, which tests of several folders share
        owner = await connect(postgres_server.settings(), "tests")
        exists = await owner.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", TEMPLATE)
        await owner.close()
        if exists:
            return
        await run_sql(postgres_server.settings(), f"CREATE DATABASE {TEMPLATE}")
        settings = postgres_server.settings().model_copy(update={"postgres_db": TEMPLATE})
        connection = await connect(settings, "tests")
        await migrate(connection)
        await register_bots(connection, registry)
        await set_passwords(connection, PASSWORDS)
        await fill_history(connection, registry, FILLS)
        await connection.close()

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture
def house_database(postgres_server: EmbeddedPostgres, house_template: str) -> Iterator[DatabaseSettings]:
    """Connection settings of the owner for a private copy of the history."""
    name = f"house_{next(_numbers)}"
    owner = postgres_server.settings()
    asyncio.run(
        run_sql(
            owner,
            f"CREATE DATABASE {name} TEMPLATE {house_template} {COPY}",
            f"GRANT CONNECT ON DATABASE {name} TO {', '.join(ROLES)}",
        )
    )
    yield owner.model_copy(update={"postgres_db": name})
    asyncio.run(run_sql(owner, f"DROP DATABASE {name} WITH (FORCE)"))


async def move_a_stop(owner: DatabaseSettings, trip: TripRow) -> None:
    """Give a trade a stop that waited at 90, at 95.5 a minute later, and at 100 (break even) after two."""
    connection = await connect(owner, "move_a_stop")
    try:
        for minutes, trigger, reason, status in (
            (0, "90", "stop_loss", "Untriggered"),
            (1, "95.5", "stop_loss", "Untriggered"),
            (2, "100", "break_even", "Untriggered"),
            (3, "100", "break_even", "Deactivated"),
        ):
            await connection.execute(
                "INSERT INTO trading.orders (account_id, order_id, bot_id, category, symbol, side, order_type, status, "
                "reason, qty, cum_exec_qty, trigger_price, stop_order_type, reduce_only, close_on_trigger, created_at, "
                "updated_at, received_at) SELECT account_id, 'a-stop', bot_id, 'linear', $2, 'Sell', 'Market', $4, $5, 1, 0, "
                "$6, 'StopLoss', true, true, $3, $7, $7 FROM trading.accounts WHERE bot_id = $1 "
                "ON CONFLICT (account_id, order_id) DO UPDATE SET trigger_price = excluded.trigger_price, "
                "reason = excluded.reason, status = excluded.status, updated_at = excluded.updated_at",
                trip.bot,
                trip.symbol,
                trip.opened_at,
                status,
                reason,
                Decimal(trigger),
                trip.opened_at + timedelta(minutes=minutes),
            )
    finally:
        await connection.close()


def as_role(settings: DatabaseSettings, role: str) -> DatabaseSettings:
    """Connection settings for the same database with a service's role."""
    return load(
        DatabaseSettings,
        env_file=None,
        postgres_host=settings.postgres_host,
        postgres_port=settings.postgres_port,
        postgres_db=settings.postgres_db,
        postgres_user=role,
        postgres_password=PASSWORDS[role],
    )


@pytest.fixture
async def supervisor(redis_server: EmbeddedRedis, registry: Registry, tmp_path: Path) -> AsyncIterator[Supervisor]:
    """The demo's supervisor with stand-in bots and a stand-in guard, each its own process; none is running yet."""
    keeper = Supervisor(tmp_path / "logs", ROOT)
    environment = {**redis_server.environment(), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.support.stand_in"]
    for bot in registry.bots:
        keeper.add(Spec(bot.container, "bot", [*command, "bot", bot.id, str(bot.redis_db)], environment), wanted=False)
    keeper.add(Spec("risk_guard", "service", [*command, "guard", "guard", "15"], environment), wanted=False)
    yield keeper
    await keeper.close([])


@pytest.fixture
async def platform(
    house_database: DatabaseSettings,
    redis_links: RedisClients,
    registry: Registry,
    supervisor: Supervisor,
    tmp_path: Path,
) -> AsyncIterator[Operations]:
    """Operations over all of this, with the command centre's role."""
    await write_live_state(redis_links, registry)
    socket = tmp_path / "supervisor.sock"
    api = SupervisorApi(supervisor, socket)
    await api.open()
    history = History(as_role(house_database, "alpha_c2"), "tests")
    control = open_control(load(BotControlSettings, env_file=None, bot_control_url=f"supervisor://{socket}"), registry)
    yield Operations(registry, redis_links, history, control, UTC)
    await history.close()
    await control.close()
    await api.close()


def today() -> datetime:
    """The UTC day of the exchange's time."""
    return NOW.replace(hour=0, minute=0, second=0, microsecond=0)
