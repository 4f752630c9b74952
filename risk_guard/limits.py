"""The guard's limits at live mark prices, per bot and overall: loss, drawdown, exposure, positions, order rate.

A breach writes a durable halt, which every gateway checks before every send, and closes everything where the limit
says so. References are durable and move with transfers. Exposure halts lift once the measure is back within its limit.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import msgspec

from alpha.alerts import Alert, Alerts, Level
from alpha.bybit.rate_limiter import Priority
from alpha.bybit.transfers import TransferWatch
from alpha.clock import SYSTEM_CLOCK, Clock, wall_ms
from alpha.errors import AlphaError
from alpha.live_state.read import LivePosition
from alpha.logs import logger
from alpha.model.coin import USDT, settle_coin
from alpha.model.money import ZERO
from alpha.model.timestamp import at
from alpha.strategy.risk_limits import DAY_MS, Breach, LimitState, RiskLimits, window_start
from alpha.strategy.risk_rules import Action, LossLimit, Until, Window
from risk_guard.account import GuardedAccount
from risk_guard.settings import GuardSettings
from risk_guard.store import GuardStore, Halt

log = logger(__name__)
STATE = "limits"
#: Share of equity. Limits are far wider; reading the ledger after every fill would exhaust the request budget.
_SMALL = Decimal("0.002")

CloseAll = Callable[[GuardedAccount, str, str], Awaitable[None]]


class LimitsState(msgspec.Struct):
    """What must survive a restart of the guard."""

    book: LimitState = msgspec.field(default_factory=LimitState)
    ledger_ms: int = 0
    halted: list[str] = msgspec.field(default_factory=list)
    transferred: Decimal = ZERO


class PortfolioMemory(msgspec.Struct):
    """What must survive a restart. `transferred` is the sum of all transfers its references have been moved by."""

    book: LimitState = msgspec.field(default_factory=LimitState)
    transferred: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Seen:
    """One settle coin of an account snapshot: amounts in `coin`, `now_ms` is the exchange's time.

    `others` are the account's other coins, each judged by itself: coins are never added.
    """

    now_ms: int
    equity: Decimal
    wallet_balance: Decimal
    positions: list[LivePosition]
    orders_last_minute: int
    coin: str = USDT
    others: tuple["Seen", ...] = ()

    @property
    def exposures(self) -> tuple[Decimal, Decimal]:
        """Gross and net exposure of the contracts of this coin, at mark prices."""
        rows = [row for row in self.positions if settle_coin(row.symbol) == self.coin]
        values = [row.signed_size * (row.mark_price or row.entry_price or ZERO) for row in rows]
        return sum(map(abs, values), ZERO), abs(sum(values, ZERO))


class BotLimits:
    """The limits of one account: of its USDT, and of each other settle coin by itself."""

    def __init__(
        self,
        account: GuardedAccount,
        settings: GuardSettings,
        store: GuardStore,
        alerts: Alerts,
        close_all: CloseAll,
        *,
        coin: str = USDT,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._coin = coin
        self._state = STATE if coin == USDT else f"{STATE}:{coin}"
        self._others: dict[str, BotLimits] = {}
        self._account = account
        self._settings = settings
        self._store = store
        self._alerts = alerts
        self._close_all = close_all
        self._memory: LimitsState | None = None
        self._book = RiskLimits(settings.bot_limits(), None, coin=coin)
        self._saved: object = None
        self._watch: TransferWatch | None = None
        self._clock = clock
        #: What was told and whose end was not, also by a guard before; and what the operator has lifted since.
        self._told: set[str] = set()
        self._lifted: set[str] = set()

    @property
    def transferred(self) -> dict[str, Decimal]:
        """The sum of all transfers of this account ever seen, per settle coin; deposits are positive."""
        found = {coin: limits.transferred[coin] for coin, limits in self._others.items()}
        found[self._coin] = ZERO if self._memory is None else self._memory.transferred
        return found

    @property
    def known(self) -> bool:
        """True once the saved references have been loaded."""
        return self._memory is not None

    def used(self, equity: Decimal) -> dict[str, Decimal]:
        """How much of each loss limit is in use at this equity; 1 where it is met."""
        return self._book.used(equity)

    async def load(self) -> None:
        """Load the saved references. Raises Retry while PostgreSQL is unavailable."""
        if self._memory is not None or self._account.id is None:
            return
        saved = await self._store.load(self._account.id, self._state)
        self._memory = LimitsState() if saved is None else msgspec.convert(saved, LimitsState, strict=False)
        self._book = RiskLimits(self._settings.bot_limits(), None, self._memory.book, coin=self._coin)
        self._told = self._in_force(self._memory)

    async def see(self, seen: Seen) -> None:
        """Check one snapshot, once the references are loaded. Raises Retry when the ledger cannot be read."""
        if self._memory is None:
            return
        await self._say_over(self._lifted)
        self._lifted = set()
        await self._by_measure(self._memory, seen)
        await self._look_at_transfers(self._memory, seen)
        for breach in self._book.see(seen.now_ms, seen.equity, ZERO):
            await self._breached(breach, seen.now_ms)
        await self._say_over(self._told - self._in_force(self._memory))
        self._told &= self._in_force(self._memory)
        await self._save(self._memory)
        others = {other.coin: other for other in seen.others}
        # a coin that was there and is gone was moved out: its ledger says so
        for coin in self._others.keys() - others.keys():
            others[coin] = Seen(seen.now_ms, ZERO, ZERO, [], 0, coin)
        for other in others.values():
            limits = self._of(other.coin)
            await limits.load()
            await limits.see(other)

    def _of(self, coin: str) -> "BotLimits":
        if coin not in self._others:
            self._others[coin] = BotLimits(
                self._account,
                self._settings,
                self._store,
                self._alerts,
                self._close_all,
                coin=coin,
                clock=self._clock,
            )
        return self._others[coin]

    def resume(self) -> None:
        """The operator lifted the halts: breaches that wait for the operator end and are measured anew."""
        for other in self._others.values():
            other.resume()
        self._book.resume()
        self._lifted |= self._told
        self._told = set()
        if self._memory is not None:
            self._memory.halted.clear()

    def _in_force(self, memory: LimitsState) -> set[str]:
        """The names of the limits that were met and whose consequence lasts."""
        return {*self._book.in_force, *memory.halted}

    async def _say_over(self, names: set[str]) -> None:
        bot = self._account.bot.id
        for name in sorted(names):
            await self._alerts.resolve(f"{self._by(name)}:{bot}", wall_ms(), bot=bot)

    async def _look_at_transfers(self, memory: LimitsState, seen: Seen) -> None:
        """Move references by transfers before checking equity. Raises Retry until the ledger explains the balance."""
        if self._watch is None:
            self._watch = TransferWatch(
                self._account.gateway, memory.ledger_ms, rank=Priority.RECONCILE, coin=self._coin, clock=self._clock
            )
        moved = await self._watch.see(seen.wallet_balance, seen.now_ms, small=seen.equity * _SMALL)
        memory.ledger_ms = self._watch.since_ms
        if moved:
            self._book.transfer(moved)
            memory.transferred += moved

    async def _breached(self, breach: Breach, now_ms: int) -> None:
        bot = self._account.bot.id
        limit = next(each for each in self._settings.bot_limits() if each.name == breach.name)
        by = self._by(breach.name)
        self._told.add(breach.name)
        if breach.action is Action.CLOSE_ALL:
            does = ("halted and everything closed", f"/resume {bot} lifts the halt and restarts the measurement.")
        else:
            does = ("halted: no entries", f"It ends with the {limit.window}; /resume {bot} lifts it now.")
        await self._tell(by, f"{bot}{self._named}: {breach.text}", does)
        if breach.action is Action.CLOSE_ALL:
            await self._close_all(self._account, f"the guard's limit {breach.name} was met", by)
        elif not self._account.observe:
            await self._store.halt(
                Halt(self._account.id, bot, None, "no_entries", breach.text, by, _end(limit, now_ms))
            )

    async def _by_measure(self, memory: LimitsState, seen: Seen) -> None:
        """Check the limits that end automatically when the measure is back within them."""
        gross, net = seen.exposures
        settings = self._settings
        measures = (
            ("gross_exposure", gross, seen.equity * settings.guard_max_gross, f"{self._coin} gross exposure", "GUARD_MAX_GROSS"),
            ("net_exposure", net, seen.equity * settings.guard_max_net, f"{self._coin} net exposure", "GUARD_MAX_NET"),
            ("positions", Decimal(len(seen.positions)), Decimal(settings.guard_max_positions), "positions", "GUARD_MAX_POSITIONS"),
            (
                "orders_per_minute",
                Decimal(seen.orders_last_minute),
                Decimal(settings.guard_max_orders_per_minute),
                "orders in a minute",
                "GUARD_MAX_ORDERS_PER_MINUTE",
            ),
        )  # fmt: skip
        bot = self._account.bot.id
        # positions and orders are the account's: counted with its first coin
        for name, value, most, unit, setting in measures if self._coin == USDT else measures[:2]:
            by = self._by(name)
            if value > most and name not in memory.halted:
                memory.halted.append(name)
                self._told.add(name)
                why = f"{bot}: {value:.0f} {unit}, the limit is {most:.0f} ({setting})."
                remedy = f"It ends by itself once they are back within; close some, or raise {setting}."
                await self._tell(by, why, ("halted: no entries", remedy))
                if not self._account.observe:
                    await self._store.halt(Halt(self._account.id, bot, None, "no_entries", why, by))
            elif value <= most and name in memory.halted and self._account.id is not None:
                if not self._account.observe:
                    await self._store.lift(bot, by, "guard")
                memory.halted.remove(name)
                log.info("limit_is_kept_again", bot=bot, limit=name, value=f"{value:.0f}")

    def _by(self, name: str) -> str:
        return f"guard:{name}" if self._coin == USDT else f"guard:{name}:{self._coin}"

    @property
    def _named(self) -> str:
        """The coin, where it is not the usual one."""
        return "" if self._coin == USDT else f" ({self._coin})"

    async def _tell(self, key: str, text: str, does: tuple[str, str]) -> None:
        """`does` is what the breach does to the bot, and what the operator can do about it."""
        bot, (done, remedy) = self._account.bot.id, does
        text += f" It would have been {done}; the guard only observes." if self._account.observe else f" It is {done}."
        alert = Alert(Level.CRITICAL, f"{key}:{bot}", text, remedy, bot, lasting=True)
        await self._alerts.raise_alert(alert, wall_ms())

    async def _save(self, memory: LimitsState) -> None:
        state = msgspec.to_builtins(memory)
        if self._account.id is None or state == self._saved:
            return
        try:
            await self._store.save(self._account.id, self._state, state)
        except AlphaError as fault:
            log.warning("limits_not_saved", bot=self._account.bot.id, fault=str(fault))
            return
        self._saved = state


class PortfolioLimits:
    """The limits of all accounts of one environment together: of their USDT, and of each other settle coin by itself.

    Their references are kept with the first account.
    """

    NAME = "portfolio"

    def __init__(
        self, settings: GuardSettings, store: GuardStore, alerts: Alerts, close_all: CloseAll, *, coin: str = USDT
    ) -> None:
        self._settings = settings
        self._store = store
        self._alerts = alerts
        self._close_all = close_all
        self._coin = coin
        self._name = self.NAME if coin == USDT else f"{self.NAME}:{coin}"
        self._book: RiskLimits | None = None
        self._memory = PortfolioMemory()
        self._home = 0
        self._saved: object = None
        #: Told, and their end was not: at first all, for a guard before may have told them.
        self._told = {limit.name for limit in settings.portfolio_limits()}
        self._resumed = False
        self._others: dict[str, PortfolioLimits] = {}

    async def see(
        self, accounts: Sequence[GuardedAccount], looks: Sequence[Seen], transferred: Mapping[str, Decimal]
    ) -> None:
        """Check one set of snapshots; `transferred` is the sum of all transfers ever seen, per coin. Raises Retry."""
        if any(account.id is None for account in accounts):
            return
        now_ms = max(look.now_ms for look in looks)
        equity: dict[str, Decimal] = {USDT: ZERO} | dict.fromkeys(self._others, ZERO)
        for look in looks:
            for one in (look, *look.others):
                equity[one.coin] = equity.get(one.coin, ZERO) + one.equity
        for coin, amount in equity.items():
            await self._of(coin)._judge(accounts, now_ms, amount, transferred.get(coin, ZERO))

    def _of(self, coin: str) -> "PortfolioLimits":
        if coin == self._coin:
            return self
        if coin not in self._others:
            self._others[coin] = PortfolioLimits(self._settings, self._store, self._alerts, self._close_all, coin=coin)
        return self._others[coin]

    async def _judge(
        self, accounts: Sequence[GuardedAccount], now_ms: int, equity: Decimal, transferred: Decimal
    ) -> None:
        if self._book is None:
            self._home = min(account.id for account in accounts if account.id is not None)
            saved = await self._store.load(self._home, self._name)
            self._memory = (
                PortfolioMemory(transferred=transferred)
                if saved is None
                else msgspec.convert(saved, PortfolioMemory, strict=False)
            )
            self._book = RiskLimits(self._settings.portfolio_limits(), None, self._memory.book, coin=self._coin)
        if transferred != self._memory.transferred:
            self._book.transfer(transferred - self._memory.transferred)
            self._memory.transferred = transferred
        for breach in self._book.see(now_ms, equity, ZERO):
            await self._breached(breach, accounts, now_ms)
        state_now = msgspec.to_builtins(self._memory)
        if state_now != self._saved:
            await self._store.save(self._home, self._name, state_now)
            self._saved = state_now
        await self._say_over(now_ms)

    async def _say_over(self, now_ms: int) -> None:
        """A limit of all bots is over when it no longer halts any: each is resumed by itself."""
        if self._book is None:
            return
        ended = self._told if self._resumed else self._told - self._book.in_force
        for name in sorted(ended):
            try:
                halted = await self._store.halts_by(self._by(name), at(now_ms))
            except AlphaError as fault:
                # a message that can wait: the coins after this one are judged without PostgreSQL, too
                log.warning("end_of_limit_not_told", limit=self._by(name), why=str(fault))
                return
            if not halted:
                await self._alerts.resolve(self._by(name), wall_ms())
                self._told.discard(name)
        self._resumed = False

    def resume(self) -> None:
        """The operator lifted the halts of a bot, or of all."""
        self._resumed = True
        for other in self._others.values():
            other.resume()
        if self._book is not None:
            self._book.resume()

    def _by(self, name: str) -> str:
        return f"guard:portfolio_{name}" if self._coin == USDT else f"guard:portfolio_{name}:{self._coin}"

    async def _breached(self, breach: Breach, accounts: Sequence[GuardedAccount], now_ms: int) -> None:
        by = self._by(breach.name)
        self._told.add(breach.name)
        limit = next(each for each in self._settings.portfolio_limits() if each.name == breach.name)
        closes = breach.action is Action.CLOSE_ALL
        does = "halted and everything closed" if closes else "halted: no entries"
        text = f"All bots together: {breach.text}"
        if all(account.observe for account in accounts):
            text += f" Every bot would have been {does}; the guard only observes."
        else:
            text += f" Every bot is {does}."
        remedy = (
            "/resume of each bot lifts it." if closes else f"It ends with the {limit.window}; /resume lifts it now."
        )
        await self._alerts.raise_alert(Alert(Level.CRITICAL, by, text, remedy, lasting=True), wall_ms())
        for account in accounts:
            if closes:
                await self._close_all(account, f"the guard's portfolio limit {breach.name} was met", by)
            elif not account.observe:
                halt = Halt(account.id, account.bot.id, None, "no_entries", breach.text, by, _end(limit, now_ms))
                await self._store.halt(halt)


def _end(limit: LossLimit, now_ms: int) -> datetime | None:
    """When a halt of this limit expires, in exchange time; None for one that waits for the operator."""
    if limit.until is not Until.WINDOW_END:
        return None
    start = window_start(limit.window, now_ms)
    days = {Window.DAY: 1, Window.WEEK: 7, Window.MONTH: 31}[limit.window]
    return at(window_start(limit.window, start + days * DAY_MS))
