"""Executions, orders and positions as Bybit sends them: one description of each, for REST and for the streams.

A row is decoded into a struct with Bybit's names, then checked and converted. `read_*` decodes the data of a frame at
once, for rows that are as they should be; `parse_*` takes one row and says what is wrong with it. No float stands
between: an amount is read from its digits. Pure: no I/O, no clock.
"""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

import msgspec

from alpha.bybit.documented import note_row
from alpha.bybit.errors import UnreadableRow
from alpha.bybit.fields import LONGEST_NUMBER, YEAR_3000_MS, decimal_of
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position

_ZERO = Decimal(0)
#: An amount: digits in a string. An integer is accepted, a float never.
_Number = str | int | None
#: A whole number, sent as a number or a string.
_Whole = int | str | None
_Text = str | None
_Flag = bool | str | None

T = TypeVar("T")
R = TypeVar("R")


class ExecutionRow(msgspec.Struct, rename="camel", gc=False):
    """A row of `execution/list` or of the `execution` stream."""

    symbol: _Text = None
    exec_id: _Text = None
    exec_type: _Text = None
    exec_price: _Number = None
    exec_qty: _Number = None
    exec_value: _Number = None
    exec_fee: _Number = None
    exec_time: _Whole = None
    is_maker: _Flag = None
    seq: _Whole = None
    category: _Text = None
    side: _Text = None
    order_id: _Text = None
    order_link_id: _Text = None
    fee_currency: _Text = None
    closed_size: _Number = None
    exec_pnl: _Number = None
    leaves_qty: _Number = None
    create_type: _Text = None
    order_type: _Text = None
    stop_order_type: _Text = None
    order_price: _Number = None
    order_qty: _Number = None
    fee_rate: _Number = None
    mark_price: _Number = None
    extra_fees: Any = None


class OrderRow(msgspec.Struct, rename="camel", gc=False):
    """A row of `order/realtime`, `order/history` or of the `order` stream."""

    symbol: _Text = None
    order_id: _Text = None
    side: _Text = None
    order_status: _Text = None
    qty: _Number = None
    created_time: _Whole = None
    updated_time: _Whole = None
    category: _Text = None
    order_link_id: _Text = None
    parent_order_link_id: _Text = None
    position_idx: _Whole = None
    order_type: _Text = None
    time_in_force: _Text = None
    price: _Number = None
    avg_price: _Number = None
    leaves_qty: _Number = None
    cum_exec_qty: _Number = None
    cum_exec_value: _Number = None
    cum_exec_fee: _Number = None
    cum_fee_detail: Any = None
    reduce_only: _Flag = None
    close_on_trigger: _Flag = None
    create_type: _Text = None
    cancel_type: _Text = None
    reject_reason: _Text = None
    stop_order_type: _Text = None
    trigger_price: _Number = None
    trigger_direction: _Whole = None
    trigger_by: _Text = None
    take_profit: _Number = None
    stop_loss: _Number = None
    tpsl_mode: _Text = None


class PositionRow(msgspec.Struct, rename="camel", gc=False):
    """A row of `position/list` (entry price in `avgPrice`) or of the `position` stream (in `entryPrice`)."""

    symbol: _Text = None
    size: _Number = None
    seq: _Whole = None
    category: _Text = None
    position_idx: _Whole = None
    side: _Text = None
    entry_price: _Number = None
    avg_price: _Number = None
    position_value: _Number = None
    leverage: _Number = None
    mark_price: _Number = None
    liq_price: _Number = None
    break_even_price: _Number = None
    take_profit: _Number = None
    stop_loss: _Number = None
    trailing_stop: _Number = None
    tpsl_mode: _Text = None
    unrealised_pnl: _Number = None
    cur_realised_pnl: _Number = None
    cum_realised_pnl: _Number = None
    initial_margin: _Number = msgspec.field(default=None, name="positionIM")
    maintenance_margin: _Number = msgspec.field(default=None, name="positionMM")
    position_status: _Text = None
    adl_rank_indicator: _Whole = None
    is_reduce_only: _Flag = None
    open_time: _Whole = None
    created_time: _Whole = None
    updated_time: _Whole = None
    session_avg_price: _Number = None


# --- one conversion of each: a ValueError concerns the field that was read last, a _Fault the one that it names -----------


class _Fault(ValueError):
    """What is wrong with a field that is checked together with others."""

    def __init__(self, field: str, what: str) -> None:
        super().__init__(what)
        self.field = field


def _execution(row: ExecutionRow, category: str) -> Execution:
    extra = row.extra_fees
    return Execution(
        category=row.category or category,
        symbol=row.symbol or _missing(),
        order_id=row.order_id or "",
        order_link_id=row.order_link_id or "",
        side=row.side or "",
        exec_id=row.exec_id or _missing(),
        exec_type=row.exec_type or _missing(),
        price=_number(row.exec_price),
        qty=_number(row.exec_qty),
        value=_number(row.exec_value),
        fee=_number(row.exec_fee),
        fee_currency=row.fee_currency or "",
        fee_rate=_optional(row.fee_rate),
        extra_fees="" if not extra else extra if isinstance(extra, str) else json.dumps(extra, sort_keys=True),
        is_maker=_flag(row.is_maker),
        closed_size=_optional(row.closed_size),
        exec_pnl=_optional(row.exec_pnl),
        order_price=_optional(row.order_price),
        order_qty=_optional(row.order_qty),
        leaves_qty=_optional(row.leaves_qty),
        create_type=row.create_type or "",
        order_type=_known(row.order_type),
        stop_order_type=_known(row.stop_order_type),
        mark_price=_optional(row.mark_price),
        exec_time_ms=_ms(row.exec_time),
        seq=_whole(row.seq),
    )


def _order(row: OrderRow, category: str) -> Order:
    return Order(
        category=row.category or category,
        symbol=row.symbol or _missing(),
        order_id=row.order_id or _missing(),
        order_link_id=row.order_link_id or "",
        parent_order_link_id=row.parent_order_link_id or "",
        side=row.side or _missing(),
        position_idx=_whole(row.position_idx) or 0,
        order_type=row.order_type or "",
        status=row.order_status or _missing(),
        time_in_force=row.time_in_force or "",
        price=_optional(row.price) or None,
        qty=_number(row.qty),
        avg_price=_optional(row.avg_price) or None,
        leaves_qty=_optional(row.leaves_qty) or _ZERO,
        cum_exec_qty=_optional(row.cum_exec_qty) or _ZERO,
        cum_exec_value=_optional(row.cum_exec_value) or _ZERO,
        cum_exec_fee=_sum(fees) if (fees := row.cum_fee_detail) and type(fees) is dict else _optional(row.cum_exec_fee),
        reduce_only=_flag_or_false(row.reduce_only),
        close_on_trigger=_flag_or_false(row.close_on_trigger),
        create_type=row.create_type or "",
        cancel_type=_known(row.cancel_type),
        reject_reason="" if (why := row.reject_reason or "") == "EC_NoError" else why,
        stop_order_type=_known(row.stop_order_type),
        trigger_price=_optional(row.trigger_price) or None,
        trigger_direction=_whole(row.trigger_direction) or 0,
        trigger_by=row.trigger_by or "",
        take_profit=_optional(row.take_profit) or None,
        stop_loss=_optional(row.stop_loss) or None,
        tpsl_mode=row.tpsl_mode or "",
        created_ms=_ms(row.created_time),
        updated_ms=_ms(row.updated_time),
    )


def _position(row: PositionRow, category: str) -> Position:
    size, side = _number(row.size), row.side or ""
    if size < 0:
        raise _Fault("size", "is negative")
    if size and side not in {"Buy", "Sell"}:
        raise _Fault("side", f"is {side!r} for a size of {size}")
    entry = _optional(row.entry_price) or _optional(row.avg_price)
    if size and not entry:
        raise _Fault("entryPrice", "(avgPrice over REST) is missing for an open position")
    return Position(
        category=row.category or category,
        symbol=row.symbol or _missing(),
        position_idx=_whole(row.position_idx) or 0,
        side=side if size else "",
        size=size,
        entry_price=entry or _ZERO,
        value=_optional(row.position_value) or _ZERO,
        leverage=_optional(row.leverage) or None,
        mark_price=_optional(row.mark_price) or None,
        liq_price=_optional(row.liq_price) or None,
        break_even_price=_optional(row.break_even_price) or None,
        take_profit=_optional(row.take_profit) or None,
        stop_loss=_optional(row.stop_loss) or None,
        trailing_stop=_optional(row.trailing_stop) or None,
        tpsl_mode=row.tpsl_mode or "",
        unrealised_pnl=_or_zero(row.unrealised_pnl),
        cur_realised_pnl=_or_zero(row.cur_realised_pnl),
        cum_realised_pnl=_or_zero(row.cum_realised_pnl),
        initial_margin=_optional(row.initial_margin),
        maintenance_margin=_optional(row.maintenance_margin),
        status=row.position_status or "",
        adl_rank=_whole(row.adl_rank_indicator) or 0,
        is_reduce_only=_flag_or_false(row.is_reduce_only),
        open_ms=_ms_or_none(row.open_time),
        created_ms=_ms_or_none(row.created_time),
        updated_ms=_ms_or_none(row.updated_time),
        seq=-1 if (seq := _whole(row.seq)) is None else seq,
        session_price=_optional(row.session_avg_price) or None,
    )


# --- single values -------------------------------------------------------------------------------------------------------


def _missing() -> NoReturn:
    raise ValueError("is missing")


@lru_cache(maxsize=8_192)
def _optional(value: _Number) -> Decimal | None:
    """An amount; None when absent or empty. Kept, because most texts come again and again."""
    if value is None or value == "":
        return None
    number = decimal_of(value if type(value) is str else str(value))
    if number is None:
        raise ValueError(f"is not a decimal number, or is out of range: {value!r:.80}")
    return number


def _number(value: _Number) -> Decimal:
    number = _optional(value)
    if number is None:
        _missing()
    return number


def _or_zero(value: _Number) -> Decimal:
    return _ZERO if (number := _optional(value)) is None else number


def _whole(value: _Whole) -> int | None:
    if type(value) is int:
        return value
    if value is None or value == "":
        return None
    try:
        if type(value) is str and len(value) <= LONGEST_NUMBER:
            return int(value)
    except ValueError:
        pass
    raise ValueError(f"is not an integer: {value!r:.80}")


def _ms_or_none(value: _Whole) -> int | None:
    """A time in milliseconds; None when absent, "" or "0"."""
    number = _whole(value)
    if not number:
        return None
    if not 0 < number < YEAR_3000_MS:
        raise ValueError(f"is not a time in milliseconds: {number!r}")
    return number


def _ms(value: _Whole) -> int:
    number = _ms_or_none(value)
    if number is None:
        _missing()
    return number


def _flag(value: _Flag) -> bool:
    if type(value) is bool:
        return value
    raise ValueError("is missing" if value is None else f"is not a boolean: {value!r:.80}")


def _flag_or_false(value: _Flag) -> bool:
    return False if value is None or value == "" else _flag(value)


def _known(text: _Text) -> str:
    """The value of an enum, with Bybit's two notations for "none" ("" and UNKNOWN) as one."""
    return "" if text is None or text == "UNKNOWN" else text


def _sum(fees: dict[str, Any]) -> Decimal:
    """The fees of an order by coin, added up."""
    for fee in fees.values():
        if type(fee) is not str and type(fee) is not int:
            raise ValueError(f"has a fee that is not a decimal string: {fee!r:.80}")
    return sum(map(_number, fees.values()), start=_ZERO)


# --- the two ways in -----------------------------------------------------------------------------------------------------

_executions = msgspec.json.Decoder(list[ExecutionRow])
_orders = msgspec.json.Decoder(list[OrderRow])
_positions = msgspec.json.Decoder(list[PositionRow])
_UNREADABLE = (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError)


def read_executions(data: msgspec.Raw) -> list[Execution] | None:
    """The executions of a frame's data; None when any of its rows cannot be read: `parse_execution` says what it is."""
    try:
        return [_execution(row, "linear") for row in _executions.decode(data)]
    except _UNREADABLE:
        return None


def read_orders(data: msgspec.Raw) -> list[Order] | None:
    """The orders of a frame's data; None when any of its rows cannot be read."""
    try:
        return [_order(row, "linear") for row in _orders.decode(data)]
    except _UNREADABLE:
        return None


def read_positions(data: msgspec.Raw) -> list[Position] | None:
    """The positions of a frame's data; None when any of its rows cannot be read."""
    try:
        return [_position(row, "linear") for row in _positions.decode(data)]
    except _UNREADABLE:
        return None


def parse_execution(row: object, category: str = "linear") -> Execution:
    """One decoded row. `category` is that of the request, used when the row has none. Raises UnreadableRow."""
    return _parsed("execution", row, ExecutionRow, _execution, category)


def parse_order(row: object, category: str = "linear") -> Order:
    """One decoded row, as `parse_execution`."""
    return _parsed("order", row, OrderRow, _order, category)


def parse_position(row: object, category: str = "linear") -> Position:
    """One decoded row, as `parse_execution`."""
    return _parsed("position", row, PositionRow, _position, category)


def _parsed(kind: str, row: object, wire: type[T], convert: Callable[[T, str], R], category: str) -> R:
    if not isinstance(row, Mapping):
        raise UnreadableRow(kind, "whole", "is not an object", row)
    note_row(kind, row)
    try:
        sent = msgspec.convert(row, wire)
    except (msgspec.ValidationError, RecursionError) as fault:
        name = str(fault).rpartition("$.")[2].rstrip("`") if "$." in str(fault) else "whole"
        raise UnreadableRow(kind, name, f"has a value of a wrong type: {row.get(name)!r:.80}", row) from None
    try:
        return convert(sent, category)
    except _Fault as fault:
        raise UnreadableRow(kind, fault.field, str(fault), row) from None
    except (ValueError, ArithmeticError, TypeError, RecursionError):
        raise _explained(kind, row, sent, convert, category) from None


class _Watched:
    """A row that remembers which of its fields was read last."""

    __slots__ = ("_last", "_row")

    def __init__(self, row: object) -> None:
        self._row = row
        self._last = ""

    def __getattr__(self, name: str) -> Any:
        self._last = name
        return getattr(self._row, name)


def _explained(
    kind: str, row: object, sent: Any, convert: Callable[[Any, str], object], category: str
) -> UnreadableRow:
    """The conversion once more, watched: the field that was read last is the one that cannot be read."""
    watched, what = _Watched(sent), "cannot be read"
    try:
        convert(watched, category)
    except (ValueError, ArithmeticError, TypeError, RecursionError) as fault:
        what = str(fault)
    names = dict(zip(sent.__struct_fields__, sent.__struct_encode_fields__, strict=True))
    return UnreadableRow(kind, names.get(watched._last, "whole"), what, row)
