"""The engine's state, and the events it leaves behind for whoever stores and pushes them."""

from collections.abc import Callable, Mapping
from copy import copy
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from exchange_simulator.engine.account import Account, maintenance_margin, order_margin, tier_of
from exchange_simulator.engine.book import Book
from exchange_simulator.engine.ids import IdSource
from exchange_simulator.engine.model import (
    ZERO,
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
IndexPrice = Callable[[str, int, Decimal], Decimal]


def last_as_index(symbol: str, time_ms: int, last: Decimal) -> Decimal:
    """An index that equals the last price."""
    return last


def everybody(_uid: int) -> bool:
    """Every account is heard."""
    return True


def nothing_rejected(_order: Order) -> str:
    """Every accepted order meets the book."""
    return ""


class Engine:
    """Everything the exchange knows about accounts and prices at `now_ms`.

    Other modules of this package change it; each change appends to `events`, which the owner takes with `drain`.
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
        #: Whether anybody hears the pushes of an account: what nobody hears is not worked out.
        self.heard: Callable[[int], bool] = everybody
        self.due: list[Order] = []  # conditional orders whose price was already met when they were placed
        self.strained: dict[int, Account] = {}  # accounts that traded away from the mark, to be looked at afterwards
        self.closing_only: set[str] = set()  # symbols that take reduce-only orders alone
        #: Why an accepted order is rejected before it meets the book; "" for an order that is not.
        self.rejects: Callable[[Order], str] = nothing_rejected

    def drain(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    # --- accounts -----------------------------------------------------------------------------------------------

    def open_account(self, uid: int, deposit: Decimal) -> Account:
        """A new account with its first deposit."""
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

    def transfer(self, account: Account, amount: Decimal) -> None:
        """Money in (> 0) or out (< 0) of an account from outside."""
        if amount < 0 and -amount > self.available(account):
            raise Refused(110004, "Insufficient wallet balance")
        self._book_transfer(account, amount)
        self.tell_wallet(account)

    def cover(self, account: Account) -> None:
        """The insurance fund makes up for a balance below zero once no position is left."""
        if account.wallet < 0 and not account.held():
            amount = -account.wallet
            self.insurance -= amount
            self._book_transfer(account, amount)

    def _book_transfer(self, account: Account, amount: Decimal) -> None:
        account.wallet += amount
        account.totals.deposits += amount
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
                balance=account.wallet,
                fee_rate=ZERO,
                trade_id="",
                order_id="",
                link_id="",
                time_ms=self.now_ms,
            )
        )

    # --- margin -------------------------------------------------------------------------------------------------

    def unrealised(self, account: Account) -> Decimal:
        return sum((p.unrealised(self.books[p.symbol].mark) for p in account.positions.values() if p.size), ZERO)

    def equity(self, account: Account) -> Decimal:
        return account.wallet + self.unrealised(account)

    def value(self, position: Position) -> Decimal:
        """What a position is worth at the mark."""
        return abs(position.size) * self.books[position.symbol].mark

    def position_margin(self, position: Position, taker_fee: Decimal) -> Decimal:
        """Initial margin of a position: value at the mark / leverage + the fee of closing it."""
        value = abs(position.size) * self.books[position.symbol].mark
        return value / position.leverage + value * taker_fee

    def position_maintenance(self, position: Position, taker_fee: Decimal) -> Decimal:
        """Maintenance margin of a position, the fee of closing it included."""
        value = abs(position.size) * self.books[position.symbol].mark
        return maintenance_margin(self.instruments[position.symbol], value) + value * taker_fee

    def initial_margin(self, account: Account) -> Decimal:
        return sum((self.position_margin(p, account.taker_fee) for p in account.held()), ZERO)

    def maintenance(self, account: Account) -> Decimal:
        return sum((self.position_maintenance(p, account.taker_fee) for p in account.held()), ZERO)

    def orders_margin(self, account: Account) -> Decimal:
        return sum((order_margin(account, symbol) for symbol in account.resting), ZERO)

    def available(self, account: Account) -> Decimal:
        """What new orders can use; never below zero."""
        return max(self.equity(account) - self.initial_margin(account) - self.orders_margin(account), ZERO)

    def liquidation_price(self, account: Account, position: Position) -> Decimal | None:
        """The price of this symbol at which the account's equity meets its maintenance margin, others unchanged.

        None when no price above zero does it. Unrounded.
        """
        if not position.size:
            return None
        instrument = self.instruments[position.symbol]
        mark = self.books[position.symbol].mark
        size = abs(position.size)
        value = size * mark
        tier = None
        for tier in instrument.risk_tiers:
            if value <= tier.limit_value:
                break
        rate, deduction = (tier.maintenance_margin, tier.mm_deduction) if tier else (ZERO, ZERO)
        rate += account.taker_fee
        others = self.maintenance(account) - self.position_maintenance(position, account.taker_fee)
        equity = self.equity(account)
        if position.size > 0:
            price = (others - deduction - equity + value) / (size * (1 - rate))
        else:
            price = (equity + value + deduction - others) / (size * (1 + rate))
        return price if price > 0 else None

    def safe_between(self, account: Account, symbol: str) -> tuple[int, int]:
        """Ticks between which no move of `symbol` can liquidate the account, as long as every other held symbol stays
        between its own as well. Equal bounds when there are none.

        With equity E, position value V and maintenance margin M (at the rates of half as much again), prices may move by
        any share f with E - f V > (1 + f) M.
        """
        if not account.safe:
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

    def price_by(self, symbol: str, trigger_by: str) -> Decimal:
        """The present price that a trigger looks at: `LastPrice` (also ""), `MarkPrice` or `IndexPrice`."""
        if trigger_by == "IndexPrice":
            return self.index_of(symbol)
        book = self.books[symbol]
        return book.mark if trigger_by == "MarkPrice" else book.last

    def index_of(self, symbol: str) -> Decimal:
        """The index price now."""
        return self.index_price(symbol, self.now_ms, self.books[symbol].last)

    def stop_of(self, account: Account, symbol: str, kind: str) -> Order | None:
        """The position-wide stop of a kind (`TakeProfit`, `StopLoss`, `TrailingStop`)."""
        for order in account.by_symbol.get(symbol, {}).values():
            if order.stop_order_type == kind and order.status == "Untriggered":
                return order
        return None

    def end_order(
        self, account: Account, order: Order, status: str, cancel_type: str = "UNKNOWN", reason: str = "EC_NoError"
    ) -> None:
        """Ends an open order in a final state and tells so."""
        account.count(order, -1)
        self.books[order.symbol].forget(order)
        order.status = status
        order.cancel_type = cancel_type
        order.reject_reason = reason
        order.leaves = ZERO
        order.updated_ms = self.now_ms
        account.drop(order)
        self.tell_order(order)

    # --- telling ------------------------------------------------------------------------------------------------

    def tell_order(self, order: Order) -> None:
        if order.create_type != "CreateBySettle":  # a settlement leaves an execution, but no order
            self.events.append(copy(order))

    def tell_position(self, account: Account, symbol: str) -> None:
        if self.heard(account.uid):
            self.events.append(self.position_view(account, account.position(symbol)))

    def tell_wallet(self, account: Account) -> None:
        account.updated_ms = self.now_ms
        if self.heard(account.uid):
            self.events.append(self.wallet_view(account))

    def position_view(self, account: Account, position: Position) -> PositionView:
        """The position as a row shows it now."""
        book = self.books[position.symbol]
        prices = {"TakeProfit": ZERO, "StopLoss": ZERO, "TrailingStop": ZERO}
        for order in account.by_symbol.get(position.symbol, {}).values():
            if order.status == "Untriggered" and order.stop_order_type in prices:
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
            initial_margin=self.position_margin(position, account.taker_fee),
            maintenance_margin=self.position_maintenance(position, account.taker_fee),
            take_profit=prices["TakeProfit"],
            stop_loss=prices["StopLoss"],
            trailing_stop=prices["TrailingStop"],
            adl_rank=self.adl_rank(position),
            taker_fee=account.taker_fee,
            risk_id=tier.id,
            risk_limit=tier.limit_value,
        )

    def adl_rank(self, position: Position) -> int:
        """0 flat, 1 to 5 with growing leveraged profit: 5 is deleveraged next."""
        if not position.size or not position.entry_value:
            return 0
        gain = position.unrealised(self.books[position.symbol].mark) / position.entry_value * position.leverage
        return 1 + sum(gain > bound for bound in (Decimal("0.1"), Decimal("0.5"), Decimal(1), Decimal(2)))

    def wallet_view(self, account: Account) -> WalletView:
        return WalletView(
            uid=account.uid,
            wallet=account.wallet,
            unrealised=self.unrealised(account),
            position_im=self.initial_margin(account),
            position_mm=self.maintenance(account),
            order_im=self.orders_margin(account),
            cum_realised=account.wallet - account.totals.deposits,
            margin_mode=account.margin_mode,
        )
