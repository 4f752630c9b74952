"""The engine's state, and the events it emits for storage and pushes."""

from collections.abc import Callable, Mapping
from copy import copy
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from exchange_simulator.engine.account import MNT, Account, maintenance_margin, order_margin, tier_of
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.ids import IdSource
from exchange_simulator.engine.model import (
    ZERO,
    CoinView,
    Event,
    LedgerLine,
    Order,
    Position,
    PositionView,
    Refused,
    Rules,
    WalletView,
)
from exchange_simulator.market.model import Instrument

SAFE_SHARE = Decimal("0.5")
MNT_STEP = Decimal("1e-8")
IndexPrice = Callable[[str, int, Decimal], Decimal]


def last_as_index(symbol: str, time_ms: int, last: Decimal) -> Decimal:
    """Default index: the last price."""
    return last


def everybody(_uid: int) -> bool:
    """Default: every account has subscribers."""
    return True


def nothing_rejected(_order: Order) -> str:
    """Default: no accepted order is rejected."""
    return ""


class Engine:
    """Accounts and prices of the exchange at `now_ms`.

    Other modules of this package change it; each change appends to `events`, which the owner
    collects with `drain`.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        rules: Rules,
        seed: int,
        index_price: IndexPrice = last_as_index,
    ) -> None:
        self.instruments = instruments
        self.rules = rules
        self.ids = IdSource(seed)
        self.index_price = index_price
        self.now_ms = 0
        self.serial = 0
        self.accounts: dict[int, Account] = {}
        self.books: dict[str, Book] = {symbol: Book(instrument, rules) for symbol, instrument in instruments.items()}
        self.insurance = rules.insurance_fund
        self.events: list[Event] = []
        #: Whether the pushes of an account have subscribers; without any they are not computed.
        self.has_subscribers: Callable[[int], bool] = everybody
        self.due: list[Order] = []  # conditional orders whose trigger price was already met when they were placed
        self.margin_check_queue: dict[int, Account] = {}  # traded away from the mark price: margin to be checked
        self.closing_only: set[str] = set()  # symbols that accept only reduce-only orders
        #: Why an accepted order is rejected before matching; "" when it is not.
        self.rejects: Callable[[Order], str] = nothing_rejected

    def drain(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    # --- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, uid: int, deposit: Decimal) -> Account:
        """Opens an account with its first deposit."""
        account = Account(
            uid=uid,
            taker_fee=self.rules.taker_fee,
            maker_fee=self.rules.maker_fee,
            default_leverage=self.rules.default_leverage,
            updated_ms=self.now_ms,
        )
        self.accounts[uid] = account
        if deposit:
            self.transfer(account, deposit)
        return account

    def transfer(self, account: Account, amount: Decimal, coin: str = "USDT") -> None:
        """Transfers money into (> 0) or out of (< 0) an account."""
        if amount < 0 and -amount > self.available(account, coin):
            raise Refused(110004, "Insufficient wallet balance")
        self._book_transfer(account, amount, coin)
        self.tell_wallet(account)

    def cover(self, account: Account) -> None:
        """Covers a negative balance from the insurance fund once no position is left: of the whole account, or of
        each coin in isolated margin.
        """
        for coin, balance in list(account.balances.items()):
            if balance >= 0:
                continue
            total = balance if account.isolated else account.wallet
            held = any(not account.isolated or self.coin_of(p.symbol) == coin for p in account.held())
            if total < 0 and not held:
                amount = -max(balance, total)
                self.insurance -= amount
                self._book_transfer(account, amount, coin)

    def coin_of(self, symbol: str) -> str:
        """The settle coin of a symbol."""
        return self.instruments[symbol].settle_coin

    def in_mnt(self, account: Account, fee: Decimal) -> Decimal:
        """A fee in MNT; 0 when it is not charged in MNT: disabled, insufficient balance, or a rebate."""
        if not account.mnt_fees or fee <= 0:
            return ZERO
        book = self.books.get("MNTUSDT")
        price = book.last if book is not None and book.last else self.rules.mnt_price
        amount = (fee * self.rules.mnt_share / price).quantize(MNT_STEP, rounding=ROUND_CEILING)
        return amount if amount <= account.balances.get(MNT, ZERO) else ZERO

    def _book_transfer(self, account: Account, amount: Decimal, coin: str) -> None:
        account.pay(coin, amount).deposits += amount
        account.safe.clear()
        self.events.append(
            LedgerLine(
                line_id=self.ids.new(f"{account.uid}/ledger"),
                uid=account.uid,
                symbol="",
                side="None",
                kind="TRANSFER_IN" if amount > 0 else "TRANSFER_OUT",
                qty=ZERO,
                size=ZERO,
                price=ZERO,
                funding=ZERO,
                fee=ZERO,
                cash_flow=amount,
                change=amount,
                balance=account.balances[coin],
                fee_rate=ZERO,
                trade_id="",
                order_id="",
                link_id="",
                time_ms=self.now_ms,
                coin=coin,
            )
        )

    # --- margin -------------------------------------------------------------------------------------------------

    def unrealised(self, account: Account) -> Decimal:
        return sum((p.unrealised(self.books[p.symbol].mark) for p in account.positions.values() if p.size), ZERO)

    def equity(self, account: Account) -> Decimal:
        return account.wallet + self.unrealised(account)

    def value(self, position: Position) -> Decimal:
        """Value of a position at the mark price."""
        return abs(position.size) * self.books[position.symbol].mark

    def position_margin(self, account: Account, position: Position) -> Decimal:
        """Initial margin of a position: value at the mark price / leverage + closing fee. Isolated: its own margin."""
        if account.isolated:
            return self.isolated_margin(account, position)
        taker_fee = account.taker_fee
        value = abs(position.size) * self.books[position.symbol].mark
        return value / position.leverage + value * taker_fee

    def isolated_margin(self, account: Account, position: Position) -> Decimal:
        """Maximum loss of an isolated position: value at entry / leverage + closing fee + added margin."""
        value = position.entry_value
        return value / position.leverage + value * account.taker_fee + position.added

    def spare(self, account: Account, position: Position) -> Decimal:
        """Margin of an isolated position above its maintenance margin; liquidated at or below zero."""
        gain = position.unrealised(self.books[position.symbol].mark)
        return self.isolated_margin(account, position) + gain - self.position_maintenance(position, account.taker_fee)

    def position_maintenance(self, position: Position, taker_fee: Decimal) -> Decimal:
        """Maintenance margin of a position, closing fee included."""
        value = abs(position.size) * self.books[position.symbol].mark
        return maintenance_margin(self.instruments[position.symbol], value) + value * taker_fee

    def initial_margin(self, account: Account) -> Decimal:
        return sum((self.position_margin(account, p) for p in account.held()), ZERO)

    def maintenance(self, account: Account) -> Decimal:
        return sum((self.position_maintenance(p, account.taker_fee) for p in account.held()), ZERO)

    def orders_margin(self, account: Account) -> Decimal:
        return sum((order_margin(account, leg) for leg in account.resting), ZERO)

    def available(self, account: Account, coin: str = "USDT") -> Decimal:
        """Balance available to new orders in contracts of a settle coin; never below zero."""
        if account.isolated:
            return max(self.free(account, coin), ZERO)
        return max(self.equity(account) - self.initial_margin(account) - self.orders_margin(account), ZERO)

    def free(self, account: Account, coin: str) -> Decimal:
        """Isolated margin: the balance of a coin minus the margin of its positions and orders. Negative when fees or
        funding exceeded the balance.
        """
        used = sum((self.isolated_margin(account, p) for p in account.held() if self.coin_of(p.symbol) == coin), ZERO)
        orders = sum(
            (order_margin(account, leg) for leg in account.resting if self.coin_of(leg.partition("#")[0]) == coin), ZERO
        )
        return account.balances.get(coin, ZERO) - used - orders

    def charge_margin(self, account: Account, position: Position) -> None:
        """Isolated margin: costs of a position beyond the free balance are deducted from its own margin."""
        if account.isolated and position.size:
            missing = self.free(account, self.coin_of(position.symbol))
            if missing < 0:
                position.added += missing

    def liquidation_price(self, account: Account, position: Position) -> Decimal | None:
        """The price of this symbol at which the account's equity equals its maintenance margin, other prices unchanged.

        None when there is no such price above zero. Unrounded.
        """
        if not position.size:
            return None
        size = abs(position.size)
        value = size * self.books[position.symbol].mark
        rate, deduction = self._rates(account, position)
        if account.isolated:
            margin = self.isolated_margin(account, position)
            if position.size > 0:
                price = (position.entry_value - margin - deduction) / (size * (1 - rate))
            else:
                price = (position.entry_value + margin + deduction) / (size * (1 + rate))
            return price if price > 0 else None
        if position.symbol in account.hedged:
            return self._hedged_liquidation(account, position)
        others = self.maintenance(account) - self.position_maintenance(position, account.taker_fee)
        equity = self.equity(account)
        if position.size > 0:
            price = (others - deduction - equity + value) / (size * (1 - rate))
        else:
            price = (equity + value + deduction - others) / (size * (1 + rate))
        return price if price > 0 else None

    def _rates(self, account: Account, position: Position) -> tuple[Decimal, Decimal]:
        """Rate (closing fee included) and deduction of a position's maintenance margin."""
        tier = tier_of(self.instruments[position.symbol], self.value(position))
        return tier.maintenance_margin + account.taker_fee, tier.mm_deduction

    def _hedged_liquidation(self, account: Account, position: Position) -> Decimal | None:
        """Liquidation price with both legs; shown only on the leg that loses on the way there.

        Equity E, mark m, net size n, legs of size s with rate r and deduction d, maintenance margin of other symbols M:
        E + n (p - m) = M + sum(s r) p - sum(d).
        """
        mark = self.books[position.symbol].mark
        others, net, slope, deduction = self.maintenance(account), ZERO, ZERO, ZERO
        for leg in account.legs(position.symbol):
            if leg.size:
                rate, less = self._rates(account, leg)
                others -= self.position_maintenance(leg, account.taker_fee)
                net += leg.size
                slope += abs(leg.size) * rate
                deduction += less
        if net == slope or (net > slope) != (position.size > 0):
            return None
        price = (others - deduction - self.equity(account) + net * mark) / (net - slope)
        return price if price > 0 else None

    def safe_between(self, account: Account, symbol: str) -> tuple[int, int]:
        """Ticks between which no move of `symbol` can liquidate the account, provided every other held symbol stays
        within its own bounds. Equal bounds when there are none.

        With equity E, position value V and maintenance margin M (at the rates of the tier for 1.5 times the value),
        prices may move by any fraction f with E - f V > (1 + f) M.
        """
        if not account.safe and account.isolated:
            self._isolated_bounds(account)
        elif not account.safe:
            value = margin = ZERO
            held = account.held()
            for position in held:
                worth = abs(position.size) * self.books[position.symbol].mark
                tier = tier_of(self.instruments[position.symbol], worth * (1 + SAFE_SHARE))
                value += worth
                margin += worth * (tier.maintenance_margin + account.taker_fee)
            share = min((self.equity(account) - margin) / (value + margin), SAFE_SHARE) if value else SAFE_SHARE
            for position in held:
                ticks = self.books[position.symbol].mark / self.instruments[position.symbol].tick_size
                bounds = (int(ticks * (1 - share)) + 1, int(ticks * (1 + share))) if share > 0 else (0, 0)
                account.safe[position.symbol] = bounds
        return account.safe[symbol]

    def _isolated_bounds(self, account: Account) -> None:
        """The same for isolated positions; of two legs of a symbol the nearer bound counts."""
        for position in account.held():
            worth, mark = self.value(position), self.books[position.symbol].mark
            tier = tier_of(self.instruments[position.symbol], worth * (1 + SAFE_SHARE))
            margin = worth * (tier.maintenance_margin + account.taker_fee)
            own = self.isolated_margin(account, position) + position.unrealised(mark)
            share = min((own - margin) / (worth + margin), SAFE_SHARE)
            ticks = mark / self.instruments[position.symbol].tick_size
            bounds = (int(ticks * (1 - share)) + 1, int(ticks * (1 + share))) if share > 0 else (0, 0)
            before = account.safe.get(position.symbol, bounds)
            account.safe[position.symbol] = (max(before[0], bounds[0]), min(before[1], bounds[1]))

    def price_by(self, symbol: str, trigger_by: str) -> Decimal:
        """The current reference price of a trigger: `LastPrice` (also ""), `MarkPrice` or `IndexPrice`."""
        if trigger_by == "IndexPrice":
            return self.index_of(symbol)
        book = self.books[symbol]
        return book.mark if trigger_by == "MarkPrice" else book.last

    def index_of(self, symbol: str) -> Decimal:
        """The current index price."""
        return self.index_price(symbol, self.now_ms, self.books[symbol].last)

    def stop_of(self, account: Account, position: Position, kind: str) -> Order | None:
        """The position-wide stop of a kind (`TakeProfit`, `StopLoss`, `TrailingStop`)."""
        for order in account.by_symbol.get(position.symbol, {}).values():
            if order.stop_order_type == kind and order.status == "Untriggered" and order.idx == position.idx:
                return order
        return None

    def end_order(
        self, account: Account, order: Order, status: str, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError"
    ) -> None:
        """Ends an open order in a final state and emits the event."""
        with account.recounted(order):
            self.books[order.symbol].forget(order)
            order.status = status
            order.cancel_type = cancel_type
            order.reject_reason = reason
            order.leaves = ZERO
            order.updated_ms = self.now_ms
        account.drop(order)
        self.tell_order(order)

    # --- events -------------------------------------------------------------------------------------------------

    def tell_order(self, order: Order) -> None:
        if order.create_type != "CreateBySettle":  # a settlement records an execution but no order
            self.events.append(copy(order))

    def tell_position(self, account: Account, symbol: str) -> None:
        if self.has_subscribers(account.uid):
            self.events.extend(self.position_view(account, position) for position in account.legs(symbol))

    def tell_wallet(self, account: Account) -> None:
        account.updated_ms = self.now_ms
        if self.has_subscribers(account.uid):
            self.events.append(self.wallet_view(account))

    def position_view(self, account: Account, position: Position) -> PositionView:
        """The position with the derived fields of its row, as of now."""
        book = self.books[position.symbol]
        prices = {"TakeProfit": ZERO, "StopLoss": ZERO, "TrailingStop": ZERO}
        for order in account.by_symbol.get(position.symbol, {}).values():
            if order.status == "Untriggered" and order.stop_order_type in prices and order.idx == position.idx:
                level = order.trail_distance if order.stop_order_type == "TrailingStop" else order.trigger_price
                prices[order.stop_order_type] = level or ZERO
        liq = self.liquidation_price(account, position)
        if liq is not None:
            rounding = ROUND_CEILING if position.size > 0 else ROUND_FLOOR
            tick = book.instrument.tick_size
            liq = (liq / tick).to_integral_value(rounding=rounding) * tick
        tier = tier_of(book.instrument, abs(position.size) * book.mark)
        return PositionView(
            uid=account.uid,
            position=copy(position),
            mark=book.mark,
            liq_price=liq,
            initial_margin=self.position_margin(account, position),
            maintenance_margin=self.position_maintenance(position, account.taker_fee),
            take_profit=prices["TakeProfit"],
            stop_loss=prices["StopLoss"],
            trailing_stop=prices["TrailingStop"],
            adl_rank=self.adl_rank(position),
            taker_fee=account.taker_fee,
            risk_id=tier.id,
            risk_limit=tier.limit_value,
            bust_price=self._bust_price(account, position),
        )

    def _bust_price(self, account: Account, position: Position) -> Decimal | None:
        """Bankruptcy price of an isolated position on a tick: its margin is used up, closing fee included."""
        if not account.isolated or not position.size:
            return None
        long, size, fee = position.size > 0, abs(position.size), account.taker_fee
        margin, tick = self.isolated_margin(account, position), self.instruments[position.symbol].tick_size
        price = (position.entry_value - margin) / (size * (1 - fee))
        if not long:
            price = (position.entry_value + margin) / (size * (1 + fee))
        return max((price / tick).to_integral_value(ROUND_CEILING if long else ROUND_FLOOR) * tick, tick)

    def adl_rank(self, position: Position) -> int:
        """ADL rank: 0 when flat, 1 to 5 with increasing leveraged profit; 5 is deleveraged first."""
        if not position.size or not position.entry_value:
            return 0
        gain = position.unrealised(self.books[position.symbol].mark) / position.entry_value * position.leverage
        return 1 + sum(gain > bound for bound in (Decimal("0.1"), Decimal("0.5"), Decimal(1), Decimal(2)))

    def wallet_view(self, account: Account) -> WalletView:
        """An account's money, coin by coin."""
        view = WalletView
        if len(account.balances) == 1:
            (coin,) = account.balances
            held, legs = account.held(), list(account.resting)
            return view(account.uid, account.margin_mode, (self._coin_view(account, coin, held, legs),))
        coins = []
        for coin in account.balances:
            held = [position for position in account.held() if self.coin_of(position.symbol) == coin]
            legs = [leg for leg in account.resting if self.coin_of(leg.partition("#")[0]) == coin]
            coins.append(self._coin_view(account, coin, held, legs))
        return view(account.uid, account.margin_mode, tuple(coins))

    def _coin_view(self, account: Account, coin: str, held: list[Position], legs: list[str]) -> CoinView:
        balance = account.balances[coin]
        return CoinView(
            coin=coin,
            balance=balance,
            unrealised=sum((p.unrealised(self.books[p.symbol].mark) for p in held), ZERO),
            position_im=sum((self.position_margin(account, p) for p in held), ZERO),
            position_mm=sum((self.position_maintenance(p, account.taker_fee) for p in held), ZERO),
            order_im=sum((order_margin(account, leg) for leg in legs), ZERO),
            cum_realised=balance - account.sums[coin].deposits,
        )
