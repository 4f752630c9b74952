"""The texts that go to Redis: fields of the hashes and the JSON of events. Amounts as the exchange wrote them. Pure."""

from decimal import Decimal

import msgspec

from alpha.bybit.models import Kline, WalletCoin
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position
from alpha.model.side import SELL

_encode = msgspec.json.Encoder().encode


def text(value: Decimal | int | None) -> str:
    """A number as plain text, trailing zeros kept; "" for none."""
    if value is None:
        return ""
    plain = str(value)
    return format(value, "f") if "E" in plain else plain


def json_text(fields: object) -> str:
    """The JSON of an event or an order."""
    return _encode(fields).decode()


def unrealised(position: Position, mark: Decimal | None) -> Decimal:
    """(mark - entry) x size x direction, in the settle coin; what the exchange last said while no mark is known.

    A contract in USDC realises its profit at each session: there the price of the last settlement stands for the entry.
    """
    if not position.size:
        return Decimal(0)
    if mark is None:
        return position.unrealised_pnl
    gain = (mark - (position.session_price or position.entry_price)) * position.size
    return -gain if position.side == SELL else gain


def position_fields(position: Position, mark: Decimal | None, opened_ms: int | None) -> dict[str, str]:
    """The hash of a position."""
    return {
        "side": position.side,
        "size": text(position.size),
        "entry_price": text(position.entry_price),
        "mark_price": text(mark if mark is not None else position.mark_price),
        "unrealised_pnl": text(unrealised(position, mark)),
        "leverage": text(position.leverage),
        "liq_price": text(position.liq_price),
        "margin": text(position.initial_margin),
        "adl_rank": text(position.adl_rank),
        "stop_loss": text(position.stop_loss),
        "take_profit": text(position.take_profit),
        "trailing_stop": text(position.trailing_stop),
        "opened_at": text(opened_ms),
        "updated_at": text(position.updated_ms),
        "seq": text(position.seq),
    }


def wallet_fields(coin: WalletCoin, available: Decimal | None, updated_ms: int) -> dict[str, str]:
    """The hash of one settle coin of a wallet."""
    return {
        "coin": coin.coin,
        "equity": text(coin.equity),
        "wallet_balance": text(coin.wallet_balance),
        "available": text(available),
        "unrealised_pnl": text(coin.unrealised_pnl),
        "updated_at": text(updated_ms),
    }


def fill_event(execution: Execution, reason: str, leg: str) -> str:
    """The data of a `fill` event."""
    return json_text(
        {
            "exec_id": execution.exec_id,
            "order_id": execution.order_id,
            "order_link_id": execution.order_link_id,
            "category": execution.category,
            "symbol": execution.symbol,
            "leg": leg,
            "side": execution.side,
            "exec_type": execution.exec_type,
            "reason": reason,
            "price": text(execution.price),
            "qty": text(execution.qty),
            "value": text(execution.value),
            "fee": text(execution.fee),
            "fee_currency": execution.fee_currency,
            "closed_size": None if execution.closed_size is None else text(execution.closed_size),
            "exec_pnl": None if execution.exec_pnl is None else text(execution.exec_pnl),
            "leaves_qty": None if execution.leaves_qty is None else text(execution.leaves_qty),
            "is_maker": execution.is_maker,
            "exec_time": execution.exec_time_ms,
            "seq": execution.seq,
        }
    )


def order_json(order: Order) -> str:
    """An order with Bybit's own field names, as stored in `orders:<bot>` and in an `order` event."""
    return json_text(
        {
            "orderId": order.order_id,
            "orderLinkId": order.order_link_id,
            "parentOrderLinkId": order.parent_order_link_id,
            "category": order.category,
            "symbol": order.symbol,
            "side": order.side,
            "positionIdx": order.position_idx,
            "orderType": order.order_type,
            "orderStatus": order.status,
            "timeInForce": order.time_in_force,
            "price": text(order.price),
            "qty": text(order.qty),
            "avgPrice": text(order.avg_price),
            "leavesQty": text(order.leaves_qty),
            "cumExecQty": text(order.cum_exec_qty),
            "cumExecValue": text(order.cum_exec_value),
            "reduceOnly": order.reduce_only,
            "closeOnTrigger": order.close_on_trigger,
            "createType": order.create_type,
            "cancelType": order.cancel_type,
            "rejectReason": order.reject_reason,
            "stopOrderType": order.stop_order_type,
            "triggerPrice": text(order.trigger_price),
            "triggerDirection": order.trigger_direction,
            "triggerBy": order.trigger_by,
            "takeProfit": text(order.take_profit),
            "stopLoss": text(order.stop_loss),
            "tpslMode": order.tpsl_mode,
            "createdTime": text(order.created_ms),
            "updatedTime": text(order.updated_ms),
        }
    )


def candle_event(candle: Kline, end_ms: int) -> str:
    """The data of a `candle` event; `end_ms` is exclusive."""
    return json_text(
        {
            "symbol": candle.symbol,
            "interval": candle.interval,
            "start_ms": candle.start_ms,
            "end_ms": end_ms,
            "open": text(candle.open),
            "high": text(candle.high),
            "low": text(candle.low),
            "close": text(candle.close),
            "volume": text(candle.volume),
            "turnover": text(candle.turnover),
        }
    )
