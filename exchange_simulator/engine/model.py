"""The engine's records: orders, positions, executions, closed P&L, ledger lines, and `Refused`.

Prices, quantities and money are `Decimal`; times are UTC milliseconds. Positions carry a signed size: long is positive.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import msgspec

ZERO = Decimal(0)
MONEY_STEP = Decimal("1e-12")  # shares of a sum are truncated to this; the last share gets the remainder

BUY = "Buy"
SELL = "Sell"
OPEN_STATES = frozenset({"New", "PartiallyFilled", "Untriggered", "Triggered"})


class Refused(Exception):
    """The exchange refuses a request. `code` is Bybit's retCode, the message its retMsg, `result` the result object."""

    result: Mapping[str, object] = {}

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Rules:
    """Settings of the exchange's operator."""

    taker_fee: Decimal = Decimal("0.00055")
    maker_fee: Decimal = Decimal("0.0002")
    spread_ticks: int = 0  # best ask less best bid
    slippage_bps: Decimal = ZERO  # added to every taker price, against the taker
    depth_usdt: Decimal = ZERO  # value resting at each book level; 0: unlimited
    mnt_price: Decimal = Decimal(1)  # USDT per MNT, where MNTUSDT is not traded
    mnt_share: Decimal = Decimal("0.9")  # share of a fee that is charged when paid in MNT
    market_band: Decimal = Decimal("0.05")  # fills of a market order stay within this fraction of the last price
    default_leverage: Decimal = Decimal(10)
    max_open_orders: int = 500
    max_conditional_orders: int = 10
    insurance_fund: Decimal = Decimal(1_000_000)
    through_ticks: int = (
        0  # how far the price must trade through a resting limit order before it fills; 1 in step clock
    )


class Order(msgspec.Struct):
    """One order from acceptance to its final state. `leaves` is the quantity still open."""

    order_id: str
    link_id: str
    uid: int
    symbol: str
    side: str
    order_type: str
    price: Decimal
    qty: Decimal
    time_in_force: str
    created_ms: int
    updated_ms: int
    serial: int  # time priority
    leaves: Decimal = ZERO
    status: str = "New"
    cum_qty: Decimal = ZERO
    cum_value: Decimal = ZERO
    cum_fee: Decimal = ZERO
    closed_pnl: Decimal = ZERO
    create_type: str = "CreateByUser"
    stop_order_type: str = ""
    cancel_type: str = "UNKNOWN"
    reject_reason: str = "EC_NoError"
    trigger_price: Decimal | None = None
    trigger_direction: int = 0
    trigger_by: str = ""
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    tp_trigger_by: str = ""
    sl_trigger_by: str = ""
    tpsl_mode: str = ""
    tp_order_type: str = "Market"
    sl_order_type: str = "Market"
    tp_limit_price: Decimal | None = None
    sl_limit_price: Decimal | None = None
    reduce_only: bool = False
    close_on_trigger: bool = False
    parent_link_id: str = ""
    partner_id: str = ""  # the other half of a partial TP/SL pair
    last_price_on_created: Decimal = ZERO
    smp_type: str = "None"
    slippage_type: str = "UNKNOWN"
    slippage: str = ""
    trail_distance: Decimal | None = None
    trail_extreme: Decimal | None = None  # None until the activation price is reached
    version: int = 0  # incremented when a level of the order moves, which invalidates older heap entries
    idx: int = 0  # positionIdx: 0 one-way, 1 the long leg, 2 the short leg of hedge mode
    coin: str = "USDT"  # settle coin
    mnt_fee: Decimal = ZERO  # charged in MNT, in addition to `cum_fee` in the settle coin

    @property
    def open(self) -> bool:
        return self.status in OPEN_STATES

    @property
    def waiting(self) -> bool:
        """True for a conditional order that has not triggered yet."""
        return self.status == "Untriggered"

    @property
    def sign(self) -> int:
        return 1 if self.side == BUY else -1

    @property
    def leg(self) -> str:
        return leg_of(self.symbol, self.idx)


class Position(msgspec.Struct):
    """One account's position in one symbol: the whole of it in one-way mode, one leg in hedge mode."""

    symbol: str
    leverage: Decimal
    size: Decimal = ZERO  # signed
    entry_value: Decimal = ZERO  # cost of the open size, always >= 0
    open_fee: Decimal = ZERO  # entry fees not yet attributed to a close
    funding: Decimal = ZERO  # funding received (+) or paid (-) and not yet attributed to a close
    cur_realised: Decimal = ZERO
    cum_realised: Decimal = ZERO
    created_ms: int = 0
    updated_ms: int = 0
    open_ms: int = 0
    seq: int = -1
    idx: int = 0  # positionIdx
    added: Decimal = ZERO  # isolated margin: added (> 0) beyond the initial margin, or lost to funding (< 0)
    opened_value: Decimal | None = None  # with session settlement: cost of the size when it was opened

    @property
    def leg(self) -> str:
        return leg_of(self.symbol, self.idx)

    @property
    def side(self) -> str:
        return BUY if self.size > 0 else SELL if self.size < 0 else ""

    @property
    def sign(self) -> int:
        return 1 if self.size > 0 else -1 if self.size < 0 else 0

    @property
    def average(self) -> Decimal:
        """The average entry price."""
        value = self.entry_value if self.opened_value is None else self.opened_value
        return value / abs(self.size) if self.size else ZERO

    @property
    def session_average(self) -> Decimal:
        """The price from which profit is measured: that of the last session settlement, where sessions are settled."""
        return self.entry_value / abs(self.size) if self.size else ZERO

    def unrealised(self, mark: Decimal) -> Decimal:
        return self.size * mark - self.entry_value * self.sign


class Execution(msgspec.Struct, array_like=True, frozen=True):
    """One row of `execution/list`; also funding, liquidation and settlement."""

    exec_id: str
    uid: int
    symbol: str
    order_id: str
    link_id: str
    side: str
    exec_type: str
    price: Decimal
    qty: Decimal
    value: Decimal
    fee: Decimal
    fee_rate: Decimal
    is_maker: bool
    order_price: Decimal
    order_qty: Decimal
    leaves: Decimal
    order_type: str
    create_type: str
    stop_order_type: str
    closed_size: Decimal
    pnl: Decimal
    mark: Decimal
    index: Decimal
    time_ms: int
    seq: int
    coin: str = "USDT"  # of the fee


class ClosedPnl(msgspec.Struct, array_like=True, frozen=True):
    """P&L realised by one burst of closing fills. `pnl` = gross - open fee - close fee + funding while held."""

    uid: int
    symbol: str
    order_id: str
    side: str
    qty: Decimal
    order_price: Decimal
    order_type: str
    exec_type: str
    closed_size: Decimal
    entry_value: Decimal
    exit_value: Decimal
    pnl: Decimal
    fills: int
    leverage: Decimal
    open_fee: Decimal
    close_fee: Decimal
    created_ms: int
    updated_ms: int


class LedgerLine(msgspec.Struct, array_like=True, frozen=True):
    """One row of `transaction-log`: `change` = cash_flow + funding - fee."""

    line_id: str
    uid: int
    symbol: str
    side: str
    kind: str  # TRADE SETTLEMENT LIQUIDATION ADL TRANSFER_IN TRANSFER_OUT
    qty: Decimal
    size: Decimal
    price: Decimal
    funding: Decimal
    fee: Decimal
    cash_flow: Decimal
    change: Decimal
    balance: Decimal
    fee_rate: Decimal
    trade_id: str
    order_id: str
    link_id: str
    time_ms: int
    coin: str = "USDT"


class SessionSettled(msgspec.Struct, array_like=True, frozen=True):
    """One row of `asset/settlement-record`: the profit of a session, realised at the mark price."""

    uid: int
    symbol: str
    side: str
    size: Decimal
    session_average: Decimal
    mark: Decimal
    pnl: Decimal
    time_ms: int


class Liquidated(msgspec.Struct, frozen=True):
    """A position taken over, as published on `allLiquidation`."""

    symbol: str
    side: str  # of the position
    qty: Decimal
    price: Decimal
    time_ms: int


class PositionView(msgspec.Struct, frozen=True):
    """A position at the time a push was due, with the derived fields of its row."""

    uid: int
    position: Position
    mark: Decimal
    liq_price: Decimal | None
    initial_margin: Decimal
    maintenance_margin: Decimal
    take_profit: Decimal
    stop_loss: Decimal
    trailing_stop: Decimal
    adl_rank: int
    taker_fee: Decimal
    risk_id: int
    risk_limit: Decimal
    status: str = "Normal"
    bust_price: Decimal | None = None


class CoinView(msgspec.Struct, frozen=True):
    """An account's balance in one coin."""

    coin: str
    balance: Decimal
    unrealised: Decimal
    position_im: Decimal
    position_mm: Decimal
    order_im: Decimal
    cum_realised: Decimal


class WalletView(msgspec.Struct, frozen=True):
    """An account's wallet at the time a push was due."""

    uid: int
    margin_mode: str
    coins: tuple[CoinView, ...]


def leg_of(symbol: str, idx: int) -> str:
    """Key of a position within its account: the symbol, followed by the leg in hedge mode."""
    return f"{symbol}#{idx}" if idx else symbol


Event = Order | PositionView | WalletView | Execution | ClosedPnl | LedgerLine | Liquidated | SessionSettled
