"""The quick way to read pushed rows: one typed decoding for rows that are as Bybit usually sends them.

Anything unusual (taxes, a field of another type, a required one that is absent) is left to `alpha.bybit.decode`, which
knows all cases and says what is wrong with a row. Both ways give the same row; tests compare them. No float stands
between: an amount is read from its digits.
"""

from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache

import msgspec

from alpha.bybit.fields import decimal_of
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position

_ZERO = Decimal(0)
_YEAR_3000_MS = 32_503_680_000_000


class _Execution(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    exec_id: str
    exec_type: str
    exec_price: str
    exec_qty: str
    exec_value: str
    exec_fee: str
    exec_time: str
    is_maker: bool
    seq: int
    category: str = ""
    side: str = ""
    order_id: str = ""
    order_link_id: str = ""
    fee_currency: str = ""
    closed_size: str = ""
    exec_pnl: str = ""
    leaves_qty: str = ""
    create_type: str = ""
    order_type: str = ""
    stop_order_type: str = ""
    order_price: str = ""
    order_qty: str = ""
    fee_rate: str = ""
    mark_price: str = ""
    extra_fees: list[object] | str = ""


class _Order(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    order_id: str
    side: str
    order_status: str
    qty: str
    created_time: str
    updated_time: str
    category: str = ""
    order_link_id: str = ""
    parent_order_link_id: str = ""
    position_idx: int = 0
    order_type: str = ""
    time_in_force: str = ""
    price: str = ""
    avg_price: str = ""
    leaves_qty: str = ""
    cum_exec_qty: str = ""
    cum_exec_value: str = ""
    cum_exec_fee: str = ""
    cum_fee_detail: dict[str, str] = {}
    reduce_only: bool = False
    close_on_trigger: bool = False
    create_type: str = ""
    cancel_type: str = ""
    reject_reason: str = ""
    stop_order_type: str = ""
    trigger_price: str = ""
    trigger_direction: int = 0
    trigger_by: str = ""
    take_profit: str = ""
    stop_loss: str = ""
    tpsl_mode: str = ""


class _Position(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    size: str
    seq: int
    category: str = ""
    position_idx: int = 0
    side: str = ""
    entry_price: str = ""
    avg_price: str = ""
    position_value: str = ""
    leverage: str = ""
    mark_price: str = ""
    liq_price: str = ""
    break_even_price: str = ""
    take_profit: str = ""
    stop_loss: str = ""
    trailing_stop: str = ""
    tpsl_mode: str = ""
    unrealised_pnl: str = ""
    cur_realised_pnl: str = ""
    cum_realised_pnl: str = ""
    initial_margin: str = msgspec.field(default="", name="positionIM")
    maintenance_margin: str = msgspec.field(default="", name="positionMM")
    position_status: str = ""
    adl_rank_indicator: int = 0
    is_reduce_only: bool = False
    open_time: int = 0
    created_time: str = ""
    updated_time: str = ""
    session_avg_price: str = ""


_executions = msgspec.json.Decoder(list[_Execution])
_orders = msgspec.json.Decoder(list[_Order])
_positions = msgspec.json.Decoder(list[_Position])
#: Any of these says that a frame needs the careful way.
_UNUSUAL = (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError)


def read_executions(data: msgspec.Raw) -> list[Execution] | None:
    """The executions of a frame's data; None when any of its rows needs the careful way."""
    try:
        return [_execution(row) for row in _executions.decode(data)]
    except _UNUSUAL:
        return None


def read_orders(data: msgspec.Raw) -> list[Order] | None:
    """The orders of a frame's data; None when any of its rows needs the careful way."""
    try:
        return [_order(row) for row in _orders.decode(data)]
    except _UNUSUAL:
        return None


def read_positions(data: msgspec.Raw) -> list[Position] | None:
    """The positions of a frame's data; None when any of its rows needs the careful way."""
    try:
        return [_position(row) for row in _positions.decode(data)]
    except _UNUSUAL:
        return None


@lru_cache(maxsize=8_192)
def _optional(text: str) -> Decimal | None:
    """An amount; None for an empty text. ValueError for what is none. Kept, because most texts come again and again."""
    if not text:
        return None
    number = decimal_of(text)
    if number is None:
        raise ValueError(text)
    return number


def _required(text: str) -> Decimal:
    number = _optional(text)
    if number is None:
        raise ValueError("an amount is missing")
    return number


def _or_zero(text: str) -> Decimal:
    return _ZERO if (number := _optional(text)) is None else number


def _level(text: str) -> Decimal | None:
    """A price level; None for "", "0" and "0.00", with which Bybit says "unset"."""
    return _optional(text) or None


def _ms(value: str | int) -> int:
    number = int(value)
    if not 0 < number < _YEAR_3000_MS:
        raise ValueError("no time in milliseconds")
    return number


def _known(text: str) -> str:
    return "" if text == "UNKNOWN" else text


def _execution(row: _Execution) -> Execution:
    if row.extra_fees or not row.symbol or not row.exec_id or not row.exec_type:
        raise ValueError("not the usual row")
    return Execution(
        category=row.category or "linear",
        symbol=row.symbol,
        order_id=row.order_id,
        order_link_id=row.order_link_id,
        side=row.side,
        exec_id=row.exec_id,
        exec_type=row.exec_type,
        price=_required(row.exec_price),
        qty=_required(row.exec_qty),
        value=_required(row.exec_value),
        fee=_required(row.exec_fee),
        fee_currency=row.fee_currency,
        fee_rate=_optional(row.fee_rate),
        extra_fees="",
        is_maker=row.is_maker,
        closed_size=_optional(row.closed_size),
        exec_pnl=_optional(row.exec_pnl),
        order_price=_optional(row.order_price),
        order_qty=_optional(row.order_qty),
        leaves_qty=_optional(row.leaves_qty),
        create_type=row.create_type,
        order_type=_known(row.order_type),
        stop_order_type=_known(row.stop_order_type),
        mark_price=_optional(row.mark_price),
        exec_time_ms=_ms(row.exec_time),
        seq=row.seq,
    )


def _order(row: _Order) -> Order:
    if not row.symbol or not row.order_id or not row.side or not row.order_status:
        raise ValueError("not the usual row")
    fees = row.cum_fee_detail
    return Order(
        category=row.category or "linear",
        symbol=row.symbol,
        order_id=row.order_id,
        order_link_id=row.order_link_id,
        parent_order_link_id=row.parent_order_link_id,
        side=row.side,
        position_idx=row.position_idx,
        order_type=row.order_type,
        status=row.order_status,
        time_in_force=row.time_in_force,
        price=_level(row.price),
        qty=_required(row.qty),
        avg_price=_level(row.avg_price),
        leaves_qty=_or_zero(row.leaves_qty),
        cum_exec_qty=_or_zero(row.cum_exec_qty),
        cum_exec_value=_or_zero(row.cum_exec_value),
        cum_exec_fee=_sum(fees.values()) if fees else _optional(row.cum_exec_fee),
        reduce_only=row.reduce_only,
        close_on_trigger=row.close_on_trigger,
        create_type=row.create_type,
        cancel_type=_known(row.cancel_type),
        reject_reason="" if row.reject_reason == "EC_NoError" else row.reject_reason,
        stop_order_type=_known(row.stop_order_type),
        trigger_price=_level(row.trigger_price),
        trigger_direction=row.trigger_direction,
        trigger_by=row.trigger_by,
        take_profit=_level(row.take_profit),
        stop_loss=_level(row.stop_loss),
        tpsl_mode=row.tpsl_mode,
        created_ms=_ms(row.created_time),
        updated_ms=_ms(row.updated_time),
    )


def _sum(texts: Iterable[str]) -> Decimal:
    return sum(map(_required, texts), start=_ZERO)


def _position(row: _Position) -> Position:
    size, entry = _required(row.size), _level(row.entry_price) or _level(row.avg_price)
    if not row.symbol or size < 0 or (size and (entry is None or row.side not in {"Buy", "Sell"})):
        raise ValueError("not the usual row")
    return Position(
        category=row.category or "linear",
        symbol=row.symbol,
        position_idx=row.position_idx,
        side=row.side if size else "",
        size=size,
        entry_price=entry or _ZERO,
        value=_or_zero(row.position_value),
        leverage=_level(row.leverage),
        mark_price=_level(row.mark_price),
        liq_price=_level(row.liq_price),
        break_even_price=_level(row.break_even_price),
        take_profit=_level(row.take_profit),
        stop_loss=_level(row.stop_loss),
        trailing_stop=_level(row.trailing_stop),
        tpsl_mode=row.tpsl_mode,
        unrealised_pnl=_or_zero(row.unrealised_pnl),
        cur_realised_pnl=_or_zero(row.cur_realised_pnl),
        cum_realised_pnl=_or_zero(row.cum_realised_pnl),
        initial_margin=_optional(row.initial_margin),
        maintenance_margin=_optional(row.maintenance_margin),
        status=row.position_status,
        adl_rank=row.adl_rank_indicator,
        is_reduce_only=row.is_reduce_only,
        open_ms=_ms_or_none(row.open_time),
        created_ms=_ms_or_none(row.created_time),
        updated_ms=_ms_or_none(row.updated_time),
        seq=row.seq,
        session_price=_level(row.session_avg_price),
    )


def _ms_or_none(value: str | int) -> int | None:
    number = int(value or 0)
    return _ms(number) if number else None
