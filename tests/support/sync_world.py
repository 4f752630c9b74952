"""Test environment of the sync: a simulated exchange with a history, and its fills in PostgreSQL."""

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeVar

from alpha.alerts import Alert
from alpha.bybit.client import Gateway
from alpha.bybit.decode import parse_closed_pnl
from alpha.bybit.hosts import simulated_hosts
from alpha.bybit.models import ClosedPnl
from alpha.bybit.rate_limiter import RateLimiter
from alpha.bybit.rows import parse_execution
from alpha.bybit.session import Credentials
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.model.execution import Execution
from alpha.model.leg import BOTH, hedge_leg
from alpha.model.reason import Reason, reason_of_exchange
from alpha.model.timestamp import at
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import Fill, insert_fills
from exchange_simulator.app import App
from exchange_simulator.engine import orders
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ClosedPnl as SimulatedClosedPnl
from exchange_simulator.engine.model import Execution as SimulatedExecution
from exchange_simulator.engine.model import Refused, Rules
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import Key, parse_account
from exchange_simulator.market import GeneratedMarket
from exchange_simulator.render import closed_row, execution_row
from trade_sync_service.account import AccountSync
from trade_sync_service.domain.coverage import Interval
from trade_sync_service.io.store import AccountStore

T = TypeVar("T")
MINUTE_MS = 60_000
DAY_MS = 86_400_000
START_MS = 1_735_689_600_000  # 2025-01-01
SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
BOTS = ("shortseller_001", "lxalgo_001", "momentum_001")


class SilentProgress:
    """Counts windows and rows."""

    def __init__(self) -> None:
        self.windows: list[Interval] = []
        self.rows = 0

    def plan(self, bot: str, windows: int) -> None:
        """Nothing to show."""

    def window(self, bot: str, window: Interval, rows: int) -> None:
        """Count."""
        self.windows.append(window)
        self.rows += rows


@dataclass(slots=True)
class World:
    """A listening exchange whose time only moves when a test advances it."""

    exchange: Exchange
    app: App
    keys: dict[str, Key]
    throttle: RateLimiter
    alerts: list[Alert] = field(default_factory=list)

    @property
    def symbols(self) -> tuple[str, ...]:
        """What is traded here."""
        return tuple(self.exchange.market.instruments)

    @property
    def url(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.app.port}"

    def account(self, bot: str) -> Account:
        """The bot's account on the exchange."""
        return self.exchange.account(self.keys[bot])

    def gateway(self, bot: str, *, url: str | None = None) -> Gateway:
        """A gateway with the bot's key."""
        key = self.keys[bot]
        address = url or self.url
        return Gateway(
            simulated_hosts(address, address.replace("http", "ws")),
            Credentials(key.api_key, key.secret),
            self.throttle,
            account=bot,
        )

    async def alert(self, alert: Alert) -> None:
        """Record an alert."""
        self.alerts.append(alert)

    def sync(self, gateway: Gateway, store: AccountStore, *, windows_at_once: int = 6) -> AccountSync:
        """One account's sync."""
        return AccountSync(gateway, store, SilentProgress(), self.alert, windows_at_once=windows_at_once)

    # -- history ------------------------------------------------------------------------------------------------

    def move(self, ms: int) -> None:
        """Advance business time."""
        self.exchange.timeline.advance(self.exchange.now_ms + ms)
        self.exchange.commit()

    def order(self, bot: str, symbol: str, side: str, qty: str | Decimal, **more: object) -> str:
        """Place a market order, filled at once; returns its id."""
        new = orders.NewOrder(symbol, side, "Market", Decimal(qty), **more)  # type: ignore[arg-type]
        placed = orders.create(self.exchange.engine, self.account(bot), new)
        self.exchange.commit()
        return placed.order_id

    def price(self, symbol: str) -> Decimal:
        """The last price."""
        return self.exchange.engine.books[symbol].last

    def trade(self, seed: int, days: float, per_day: float, bots: Iterable[str] = BOTS) -> None:
        """Generate a seeded history: long and short entries, with or without stops, partial exits,
        reversals, funding.
        """
        rng = random.Random(seed)
        names = tuple(bots)
        count = max(1, round(days * per_day * len(names)))
        pause = days * DAY_MS / count
        due = 0.0
        for _ in range(count):
            due += pause
            self.move(round(due))
            due -= round(due)
            bot, symbol = rng.choice(names), rng.choice(self.symbols)
            try:
                self._act(rng, bot, symbol)
            except Refused:
                continue  # insufficient balance: part of a realistic history

    def _act(self, rng: random.Random, bot: str, symbol: str) -> None:
        price = self.price(symbol)
        step = self.exchange.market.instruments[symbol].qty_step
        hedged = symbol in self.account(bot).hedged
        idx = rng.choice((1, 2)) if hedged else 0
        size = self.account(bot).position(symbol, idx).size
        qty = max(step, (Decimal(rng.randrange(200, 3_000)) / price / step).to_integral_value() * step)
        if not size:
            side = ("Buy", "Sell")[idx - 1] if hedged else rng.choice(("Buy", "Sell"))
            stop = price * (Decimal("0.99") if side == "Buy" else Decimal("1.01"))
            tick = self.exchange.market.instruments[symbol].tick_size
            level = (stop / tick).to_integral_value() * tick if rng.random() < 0.4 else None
            self.order(bot, symbol, side, qty, stop_loss=level, idx=idx)
            return
        closing = "Sell" if size > 0 else "Buy"
        held = abs(size)
        kind = rng.random()
        if kind < 0.6:
            self.order(bot, symbol, closing, held, reduce_only=True, idx=idx)
        elif kind < 0.8:
            part = max(step, (held / 2 / step).to_integral_value() * step)
            self.order(bot, symbol, closing, min(part, held), reduce_only=True, idx=idx)
        elif kind < 0.9 and not hedged:
            self.order(bot, symbol, closing, held + qty)
        else:
            self.order(bot, symbol, "Buy" if size > 0 else "Sell", qty, idx=idx)

    # -- the exchange's own ledger ------------------------------------------------------------------------------

    def executions(self, bot: str) -> list[Execution]:
        """Every execution of the bot's account."""
        uid = self.keys[bot].uid
        return [
            parse_execution(execution_row(row, stream=True))
            for _, row in self._all("executions", uid, SimulatedExecution)
        ]

    def closed(self, bot: str) -> list[ClosedPnl]:
        """Every closed-P&L row of the bot's account."""
        uid = self.keys[bot].uid
        return [parse_closed_pnl(closed_row(row)) for _, row in self._all("closed_pnl", uid, SimulatedClosedPnl)]

    def _all(self, table: str, uid: int, kind: type[T]) -> list[tuple[int, T]]:
        found: list[tuple[int, T]] = []
        while page := self.exchange.storage.after(table, uid, found[-1][0] if found else 0, 10_000, kind):
            found += page
        return found


KEYS = {bot: f"key{number}:secret{number}:100000" for number, bot in enumerate(BOTS)}


def make_exchange(
    seed: int = 7, rules: Rules | None = None, *, options: str = "", symbols: tuple[str, ...] = SYMBOLS
) -> Exchange:
    """An exchange that starts on 2025-01-01 with 100,000 USDT per bot and a step clock.

    `options` are those of the accounts (`hedge`, `usdc=50000`, `mnt=1000`), in the syntax of `--account`.
    """
    market = GeneratedMarket(seed, symbols)
    keys = [parse_account(f"{text}:{options}" if options else text) for text in KEYS.values()]
    return Exchange(market, keys, Setup(rules or Rules(), seed=seed, start_ms=START_MS, step_clock=True))


def at_rest(exchange: Exchange) -> World:
    """A world that does not listen, for generating history."""
    keys = {bot: exchange.keys[text.partition(":")[0]] for bot, text in KEYS.items()}
    return World(exchange, App(exchange), keys, RateLimiter(None))


@asynccontextmanager
async def world(
    exchange: Exchange | None = None, *, throttle: RateLimiter | None = None, limits_factor: int = 20
) -> AsyncIterator[World]:
    """A running world with Bybit's rate limits times a factor. An exchange passed in is not closed at the end."""
    running = at_rest(exchange or make_exchange())
    running.throttle = throttle or RateLimiter(None, ip_per_second=60 * 6 * limits_factor)
    running.app.rest.limits.factor = limits_factor
    await running.app.start("127.0.0.1", 0)
    try:
        yield running
    finally:
        if exchange is None:
            await running.app.stop()
        else:
            assert running.app._runner is not None
            await running.app._runner.cleanup()


def fill_of(execution: Execution, account_id: int, bot: str, *, hedged: bool = False) -> Fill:
    """The row the listener would store."""
    leg = hedge_leg(execution.side, execution.closed_size, funding=execution.exec_type == "Funding")
    reason = reason_of_exchange(execution.exec_type, execution.create_type, execution.stop_order_type)
    return Fill(
        account_id=account_id,
        bot_id=bot,
        category=execution.category,
        symbol=execution.symbol,
        exec_id=execution.exec_id,
        order_id=execution.order_id,
        order_link_id=execution.order_link_id or None,
        side=execution.side,
        exec_type=execution.exec_type,
        reason=(reason or Reason.MANUAL).value,
        price=execution.price,
        qty=execution.qty,
        value=execution.value,
        fee=execution.fee,
        fee_currency=execution.fee_currency or None,
        closed_size=execution.closed_size,
        exec_pnl=execution.exec_pnl,
        extra_fees=execution.extra_fees or None,
        is_maker=execution.is_maker,
        seq=execution.seq or 0,
        exec_time=at(execution.exec_time_ms),
        received_at=datetime.now(UTC),
        leg=leg if hedged and leg is not None else BOTH,
    )


async def store_fills(owner: Connection, world: World, bot: str) -> int:
    """Insert the exchange's executions of one bot into trading.fills; returns the account id."""
    account: int = await owner.fetchval(
        "SELECT trading.register_account('simulated', $1, $2)", str(world.keys[bot].uid), bot
    )
    hedged = world.account(bot).hedged
    fills = [fill_of(row, account, bot, hedged=row.symbol in hedged) for row in world.executions(bot)]
    for start in range(0, len(fills), 1_000):
        await insert_fills(owner, fills[start : start + 1_000])
    return account


def as_sync(owner: DatabaseSettings, password: str) -> DatabaseSettings:
    """Connection settings of the sync service's role for the same database."""
    return load(
        DatabaseSettings,
        env_file=None,
        postgres_host=owner.postgres_host,
        postgres_port=str(owner.postgres_port),
        postgres_db=owner.postgres_db,
        postgres_user="alpha_sync",
        postgres_password=password,
    )


async def open_store(settings: DatabaseSettings, world: World, bot: str) -> AccountStore:
    """The store of one bot's account."""
    return await AccountStore.open(settings, bot, "simulated", str(world.keys[bot].uid))


async def owner_of(settings: DatabaseSettings) -> Connection:
    """The owner's connection."""
    return await connect(settings, "tests")
