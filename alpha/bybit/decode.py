"""Converts decoded Bybit messages into rows. Pure: no I/O, no clock; the same input gives the same row or error.

Every function but `closed_klines` takes one row as decoded from JSON and raises `UnreadableRow`, naming kind and field, when a required
field is missing or unreadable. Unknown fields are ignored. `category` is that of the request, used when the row
has none of its own (REST rows do not).
"""

import msgspec

from alpha.bybit.fields import Fields
from alpha.bybit.messages import UNREADABLE, Envelope
from alpha.bybit.models import (
    AccountInfo,
    ApiKeyInfo,
    ClosedPnl,
    FeeRate,
    FundingRate,
    Kline,
    OpenInterest,
    PlacedOrder,
    PublicTrade,
    ServerTime,
    SystemStatus,
    Ticker,
    TransactionLogRow,
    Wallet,
    WalletCoin,
)
from alpha.errors import Rejected
from alpha.model.execution import SETTLEMENTS
from alpha.model.instrument import Instrument
from alpha.model.interval import end_of

_NO_TYPE = "UNKNOWN"


def parse_wallet(row: object) -> Wallet:
    """Parse an account of `wallet-balance` or of the `wallet` stream."""
    f = Fields("wallet", row)
    return Wallet(
        account_type=f.text("accountType"),
        total_equity=f.number_or_none("totalEquity"),
        total_wallet_balance=f.number_or_none("totalWalletBalance"),
        total_available=f.number_or_none("totalAvailableBalance"),
        total_initial_margin=f.number_or_none("totalInitialMargin"),
        total_maintenance_margin=f.number_or_none("totalMaintenanceMargin"),
        coins=tuple(_wallet_coin(coin) for coin in f.rows("coin")),
    )


def _wallet_coin(row: object) -> WalletCoin:
    f = Fields("wallet coin", row)
    return WalletCoin(
        coin=f.text("coin"),
        equity=f.number("equity"),
        wallet_balance=f.number("walletBalance"),
        unrealised_pnl=f.number_or_zero("unrealisedPnl"),
        cum_realised_pnl=f.number_or_zero("cumRealisedPnl"),
        position_im=f.number_or_zero("totalPositionIM"),
        order_im=f.number_or_zero("totalOrderIM"),
        locked=f.number_or_zero("locked"),
        bonus=f.number_or_zero("bonus"),
        usd_value=f.number_or_none("usdValue"),
    )


def parse_instrument(row: object, category: str = "linear") -> Instrument:
    """Parse a row of `market/instruments-info` for linear or inverse contracts."""
    f = Fields("instrument", row)
    price, lot, leverage = f.child("priceFilter"), f.child("lotSizeFilter"), f.child("leverageFilter")
    instrument = Instrument(
        category=category,
        symbol=f.text("symbol"),
        base_coin=f.text("baseCoin"),
        quote_coin=f.text("quoteCoin"),
        settle_coin=f.any_text("settleCoin"),
        contract_type=f.any_text("contractType"),
        symbol_type=f.any_text("symbolType"),
        status=f.text("status"),
        launch_ms=f.ms_or_none("launchTime"),
        delivery_ms=f.ms_or_none("deliveryTime"),
        tick_size=price.number("tickSize"),
        min_price=price.number_or_zero("minPrice"),
        max_price=price.number("maxPrice"),
        qty_step=lot.number("qtyStep"),
        min_order_qty=lot.number("minOrderQty"),
        max_order_qty=lot.number("maxOrderQty"),
        max_market_qty=lot.number("maxMktOrderQty"),
        min_notional=lot.number_or_zero("minNotionalValue"),
        min_leverage=leverage.number("minLeverage"),
        max_leverage=leverage.number("maxLeverage"),
        leverage_step=leverage.number("leverageStep"),
        funding_interval_min=f.integer_or_none("fundingInterval"),
        market_region=f.any_text("marketRegion"),
    )
    for name, value in (("tickSize", instrument.tick_size), ("qtyStep", instrument.qty_step)):
        if value <= 0:
            f.fail(name, f"is {value}")
    return instrument


def parse_kline_rest(row: object, symbol: str, interval: str, now_ms: int) -> Kline:
    """Parse a row of `market/kline`: seven strings, no confirm flag. `now_ms` is business time and decides `closed`."""
    if not isinstance(row, list) or len(row) < 7:
        Fields("kline", {}).fail("row", f"is not a list of seven strings: {row!r:.200}")
    f = Fields("kline", dict(zip(_KLINE_COLUMNS, row, strict=False)))
    start_ms = f.ms("start")
    return _kline(f, symbol, interval, start_ms, closed=end_of(start_ms, interval) <= now_ms)


def parse_kline_stream(row: object, symbol: str) -> Kline:
    """Parse a row of the `kline.<interval>.<symbol>` stream; `confirm` marks a closed candle."""
    f = Fields("kline", row)
    return _kline(f, symbol, f.text("interval"), f.ms("start"), closed=f.flag("confirm"))


class _KlineHead(msgspec.Struct):
    confirm: bool = False


_kline_heads = msgspec.json.Decoder(list[_KlineHead])
_kline_rows = msgspec.json.Decoder(list[object])


def closed_klines(envelope: Envelope) -> list[Kline]:
    """The closed candles of a frame of `kline.<interval>.<symbol>`, which mostly has none. Rejected when unreadable."""
    try:
        if not any(head.confirm for head in _kline_heads.decode(envelope.data)):
            return []
        rows = _kline_rows.decode(envelope.data)
    except UNREADABLE as fault:
        raise Rejected(f"A candle cannot be read: {fault}.") from None
    symbol = envelope.topic.split(".", 2)[2]
    return [candle for candle in (parse_kline_stream(row, symbol) for row in rows) if candle.closed]


_KLINE_COLUMNS = ("start", "open", "high", "low", "close", "volume", "turnover")


def _kline(f: Fields, symbol: str, interval: str, start_ms: int, *, closed: bool) -> Kline:
    return Kline(
        symbol=symbol,
        interval=interval,
        start_ms=start_ms,
        open=f.number("open"),
        high=f.number("high"),
        low=f.number("low"),
        close=f.number("close"),
        volume=f.number("volume"),
        turnover=f.number("turnover"),
        closed=closed,
    )


def parse_public_trade(row: object) -> PublicTrade:
    """One row of `market/recent-trade`."""
    f = Fields("public trade", row)
    side = f.text("side")
    if side not in {"Buy", "Sell"}:
        f.fail("side", f"is {side!r}")
    return PublicTrade(
        trade_id=f.text("execId"),
        symbol=f.text("symbol"),
        side=side,
        price=f.number("price"),
        size=f.number("size"),
        time_ms=f.ms("time"),
        seq=int(f.number_or_zero("seq")),
        is_block=f.flag_or_false("isBlockTrade"),
        is_rpi=f.flag_or_false("isRPITrade"),
    )


def parse_ticker(row: object) -> Ticker:
    """Parse a row of `market/tickers`, or a snapshot of the `tickers` stream with its deltas merged."""
    f = Fields("ticker", row)
    return Ticker(
        symbol=f.text("symbol"),
        last=f.number("lastPrice"),
        mark=f.level_or_none("markPrice"),
        index=f.level_or_none("indexPrice"),
        bid=f.level_or_none("bid1Price"),
        ask=f.level_or_none("ask1Price"),
        funding_rate=f.number_or_none("fundingRate"),
        next_funding_ms=f.ms_or_none("nextFundingTime"),
        open_interest=f.number_or_none("openInterest"),
        turnover_24h=f.number_or_none("turnover24h"),
        volume_24h=f.number_or_none("volume24h"),
        change_24h=f.number_or_none("price24hPcnt"),
        delivery_ms=f.ms_or_iso("deliveryTime"),
    )


def parse_closed_pnl(row: object) -> ClosedPnl:
    """Parse a row of `position/closed-pnl`."""
    f = Fields("closed-pnl", row)
    side, exec_type = f.any_text("side"), f.any_text("execType")
    if side not in {"Buy", "Sell"} and not (side == "" and exec_type in SETTLEMENTS):
        f.fail("side", f"is {side!r}")
    return ClosedPnl(
        symbol=f.text("symbol"),
        order_id=f.text("orderId"),
        closing_side=side,
        qty=f.number("qty"),
        order_price=f.number_or_zero("orderPrice"),
        order_type=_known(f.any_text("orderType")),
        exec_type=exec_type,
        closed_size=f.number("closedSize"),
        entry_value=f.number("cumEntryValue"),
        entry_price=f.number("avgEntryPrice"),
        exit_value=f.number("cumExitValue"),
        exit_price=f.number("avgExitPrice"),
        closed_pnl=f.number("closedPnl"),
        fill_count=f.integer("fillCount"),
        leverage=f.level_or_none("leverage"),
        open_fee=f.number_or_none("openFee"),
        close_fee=f.number_or_none("closeFee"),
        created_ms=f.ms("createdTime"),
        updated_ms=f.ms("updatedTime"),
    )


def parse_transaction(row: object) -> TransactionLogRow:
    """Parse a row of `account/transaction-log`."""
    f = Fields("transaction-log", row)
    return TransactionLogRow(
        id=f.text("id"),
        symbol=f.any_text("symbol"),
        category=f.any_text("category"),
        side=f.any_text("side"),
        time_ms=f.ms("transactionTime"),
        type=f.text("type"),
        sub_type=f.any_text("transSubType"),
        qty=f.number_or_zero("qty"),
        size=f.number_or_zero("size"),
        currency=f.text("currency"),
        trade_price=f.level_or_none("tradePrice"),
        funding=f.number_or_zero("funding"),
        fee=f.number_or_zero("fee"),
        cash_flow=f.number_or_zero("cashFlow"),
        change=f.number("change"),
        cash_balance=f.number("cashBalance"),
        trade_id=f.any_text("tradeId"),
        order_id=f.any_text("orderId"),
        order_link_id=f.any_text("orderLinkId"),
    )


def parse_key_info(row: object) -> ApiKeyInfo:
    """Parse the result of `user/query-api`."""
    f = Fields("api-key", row)
    permissions = f.child("permissions").row
    user_id = f.raw("userID")
    if not isinstance(user_id, str | int) or isinstance(user_id, bool) or user_id in {"", 0}:
        f.fail("userID", "is missing")
    ips = f.raw("ips")
    return ApiKeyInfo(
        user_id=str(user_id),
        key=f.any_text("apiKey"),
        read_only=f.integer("readOnly") != 0,
        is_master=f.flag_or_false("isMaster"),
        permissions={
            group: tuple(right for right in rights if isinstance(right, str))
            for group, rights in permissions.items()
            if isinstance(group, str) and isinstance(rights, list)
        },
        wallet_known=isinstance(permissions.get("Wallet"), list),
        ips=tuple(ip for ip in ips if isinstance(ip, str)) if isinstance(ips, list) else (),
        expires_at=f.any_text("expiredAt"),
        deadline_days=f.integer_or_none("deadlineDay"),
        vip_level=f.any_text("vipLevel"),
    )


def parse_sub_members(row: object) -> int:
    """How many sub-accounts the result of `user/query-sub-members` lists."""
    f = Fields("sub-members", row)
    members = f.raw("subMembers")
    if not isinstance(members, list):
        f.fail("subMembers", "is not a list")
    return len(members)


def parse_account_info(row: object) -> AccountInfo:
    """Parse the result of `account/info`."""
    f = Fields("account-info", row)
    return AccountInfo(
        unified_margin_status=f.integer("unifiedMarginStatus"),
        margin_mode=f.text("marginMode"),
        dcp=f.any_text("dcpStatus").upper() == "ON",
    )


def parse_fees_in_mnt(row: object) -> bool:
    """Parse `fmsef` of `account/user-setting-config`: fees of contracts are paid in MNT."""
    return Fields("user-setting-config", row).flag_or_false("fmsef")


def parse_fee_rate(row: object) -> FeeRate:
    """Parse a row of `account/fee-rate`."""
    f = Fields("fee-rate", row)
    return FeeRate(symbol=f.text("symbol"), taker=f.number("takerFeeRate"), maker=f.number("makerFeeRate"))


def parse_funding_rate(row: object) -> FundingRate:
    """Parse a row of `market/funding/history`."""
    f = Fields("funding-history", row)
    return FundingRate(symbol=f.text("symbol"), rate=f.number("fundingRate"), time_ms=f.ms("fundingRateTimestamp"))


def parse_open_interest(row: object) -> OpenInterest:
    """Parse a row of `market/open-interest`."""
    f = Fields("open-interest", row)
    return OpenInterest(amount=f.number("openInterest"), time_ms=f.ms("timestamp"))


def parse_system_status(row: object) -> SystemStatus:
    """Parse a row of `system/status`."""
    f = Fields("system-status", row)
    return SystemStatus(
        id=f.text("id"),
        title=f.any_text("title"),
        state=f.text("state"),
        begin_ms=f.ms_or_none("begin"),
        end_ms=f.ms_or_none("end"),
    )


def parse_placed(row: object) -> PlacedOrder:
    """Parse the result of `order/create`, `order/amend` or `order/cancel`."""
    f = Fields("order receipt", row)
    return PlacedOrder(order_id=f.text("orderId"), order_link_id=f.any_text("orderLinkId"))


def _known(text: str) -> str:
    """The value of an enum, with Bybit's two notations for "none" ("" and UNKNOWN) unified."""
    return "" if text == _NO_TYPE else text


def parse_server_time(row: object) -> ServerTime:
    """Parse the result of `market/time`."""
    return ServerTime(time_ms=Fields("server-time", row).integer("timeNano") // 1_000_000)
