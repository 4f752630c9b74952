"""The rows of Bybit V5 as used in this repository: frozen, Decimal for money, milliseconds UTC for time.

REST and the streams name some fields differently; here each has one name. Enum values stay strings, so that an
unknown value is kept unchanged.
"""

from decimal import Decimal

from msgspec import Struct


class WalletCoin(Struct, frozen=True, gc=False):
    """One coin of the wallet. `equity` includes unrealised P&L."""

    coin: str
    equity: Decimal
    wallet_balance: Decimal
    unrealised_pnl: Decimal
    cum_realised_pnl: Decimal
    position_im: Decimal
    order_im: Decimal
    locked: Decimal
    bonus: Decimal
    usd_value: Decimal | None

    @property
    def available(self) -> Decimal:
        """The amount available for margin, from the coin's own figures (the rule for isolated margin)."""
        return self.wallet_balance - self.position_im - self.order_im - self.locked - self.bonus


class Wallet(Struct, frozen=True, gc=False):
    """One unified account; totals are in USD, and None where the margin mode has none."""

    account_type: str
    total_equity: Decimal | None
    total_wallet_balance: Decimal | None
    total_available: Decimal | None
    total_initial_margin: Decimal | None
    total_maintenance_margin: Decimal | None
    coins: tuple[WalletCoin, ...]

    def coin(self, name: str) -> WalletCoin | None:
        """The row of one coin; None when absent (a stream row carries only what changed)."""
        return next((coin for coin in self.coins if coin.coin == name), None)

    @property
    def usdt(self) -> WalletCoin | None:
        """The USDT row: equity, balance and margin of everything the bots trade."""
        return self.coin("USDT")


class Kline(Struct, frozen=True, gc=False):
    """One candle; `closed` means that it will not change any more."""

    symbol: str
    interval: str
    start_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    turnover: Decimal
    closed: bool


class PublicTrade(Struct, frozen=True, gc=False):
    """One trade of the market; `side` is the taker's."""

    trade_id: str
    symbol: str
    side: str
    price: Decimal
    size: Decimal
    time_ms: int
    seq: int
    is_block: bool
    is_rpi: bool


class Ticker(Struct, frozen=True, gc=False):
    """The current market of one symbol."""

    symbol: str
    last: Decimal
    mark: Decimal | None
    index: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    funding_rate: Decimal | None
    next_funding_ms: int | None
    open_interest: Decimal | None
    turnover_24h: Decimal | None
    volume_24h: Decimal | None
    change_24h: Decimal | None
    delivery_ms: int | None

    @property
    def reference_price(self) -> Decimal:
        """The price that caps and filters are checked against: the mark price, or the last price without one."""
        return self.last if self.mark is None else self.mark


class ClosedPnl(Struct, frozen=True, gc=False):
    """One closed position as Bybit records it. `closing_side` is the side of the closing order: Sell closed a long.

    It is "" on the settlement of a session, which closes nothing.
    """

    symbol: str
    order_id: str
    closing_side: str
    qty: Decimal
    order_price: Decimal
    order_type: str
    exec_type: str
    closed_size: Decimal
    entry_value: Decimal
    entry_price: Decimal
    exit_value: Decimal
    exit_price: Decimal
    closed_pnl: Decimal
    fill_count: int
    leverage: Decimal | None
    open_fee: Decimal | None
    close_fee: Decimal | None
    created_ms: int
    updated_ms: int


class TransactionLogRow(Struct, frozen=True, gc=False):
    """One row of the account's ledger: change = cash_flow + funding - fee. Positive `funding` was received."""

    id: str
    symbol: str
    category: str
    side: str
    time_ms: int
    type: str
    sub_type: str
    qty: Decimal
    size: Decimal
    currency: str
    trade_price: Decimal | None
    funding: Decimal
    fee: Decimal
    cash_flow: Decimal
    change: Decimal
    cash_balance: Decimal
    trade_id: str
    order_id: str
    order_link_id: str


class ApiKeyInfo(Struct, frozen=True):
    """A key's identity and permissions. `wallet_known` is False when Bybit did not list the wallet permissions."""

    user_id: str
    key: str
    read_only: bool
    is_master: bool
    permissions: dict[str, tuple[str, ...]]
    wallet_known: bool
    ips: tuple[str, ...]
    expires_at: str
    deadline_days: int | None
    vip_level: str

    @property
    def can_withdraw(self) -> bool:
        """True when the key can withdraw, or when that cannot be ruled out."""
        return not self.wallet_known or "Withdraw" in self.permissions.get("Wallet", ())

    @property
    def can_transfer(self) -> bool:
        """True when the key can move money between accounts."""
        wallet = self.permissions.get("Wallet", ())
        return any(right in wallet for right in ("AccountTransfer", "SubMemberTransfer", "SubMemberTransferList"))

    @property
    def can_trade(self) -> bool:
        """True when the key may send linear orders and set positions."""
        contract = self.permissions.get("ContractTrade", ())
        derivatives = self.permissions.get("Derivatives", ())
        return not self.read_only and ("Order" in contract or "DerivativesTrade" in derivatives)

    @property
    def ip_bound(self) -> bool:
        """True when the key is restricted to listed IP addresses."""
        return bool(self.ips) and "*" not in self.ips


class AccountInfo(Struct, frozen=True, gc=False):
    """The mode of the unified account."""

    unified_margin_status: int
    margin_mode: str
    #: Disconnect protection: the exchange cancels the account's orders when its connection is lost.
    dcp: bool = False


class FeeRate(Struct, frozen=True, gc=False):
    """The fee rates of one symbol, as fractions of the notional."""

    symbol: str
    taker: Decimal
    maker: Decimal


class FundingRate(Struct, frozen=True, gc=False):
    """One past funding: the fraction of the notional that longs paid to shorts."""

    symbol: str
    rate: Decimal
    time_ms: int


class OpenInterest(Struct, frozen=True, gc=False):
    """Open interest of a symbol at a time, in base coin."""

    amount: Decimal
    time_ms: int


class SystemStatus(Struct, frozen=True, gc=False):
    """One announced maintenance or incident."""

    id: str
    title: str
    state: str
    begin_ms: int | None
    end_ms: int | None


class ServerTime(Struct, frozen=True, gc=False):
    """The exchange's clock: what `market/time` reported."""

    time_ms: int


class PlacedOrder(Struct, frozen=True, gc=False):
    """The exchange's receipt for an order: accepted, not filled."""

    order_id: str
    order_link_id: str
