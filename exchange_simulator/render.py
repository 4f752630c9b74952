"""Builds rows in Bybit's format: its field names, numbers as strings, empty strings for fields that do not apply."""

from decimal import Decimal
from typing import Any

from exchange_simulator.engine.account import MNT
from exchange_simulator.engine.model import (
    ZERO,
    ClosedPnl,
    CoinView,
    Execution,
    LedgerLine,
    Order,
    Position,
    PositionView,
    SessionSettled,
    WalletView,
)

Row = dict[str, Any]
AVERAGE_STEP = Decimal("1e-10")  # average prices are rounded to this step


def text(number: Decimal) -> str:
    """Formats a number without exponent and trailing zeros."""
    if not number:
        return "0"
    return format(number.normalize(), "f")


def optional(number: Decimal | None) -> str:
    """Formats a number, or "" for None."""
    return "" if number is None else text(number)


def order_row(order: Order, stream: bool = False) -> Row:
    """One row of `order/realtime`, `order/history` or the `order` topic."""
    open_left = order.leaves if order.open else ZERO
    row: Row = {
        "orderId": order.order_id,
        "orderLinkId": order.link_id,
        "blockTradeId": "",
        "symbol": order.symbol,
        "price": text(order.price),
        "qty": text(order.qty),
        "side": order.side,
        "isLeverage": "",
        "positionIdx": order.idx,
        "orderStatus": order.status,
        "createType": order.create_type,
        "cancelType": order.cancel_type,
        "rejectReason": order.reject_reason,
        "avgPrice": text((order.cum_value / order.cum_qty).quantize(AVERAGE_STEP)) if order.cum_qty else "",
        "leavesQty": text(open_left),
        "leavesValue": text(open_left * order.price),
        "cumExecQty": text(order.cum_qty),
        "cumExecValue": text(order.cum_value),
        "cumExecFee": text(order.cum_fee),
        "cumFeeDetail": _fees(order) if order.cum_qty else {},
        "timeInForce": order.time_in_force,
        "orderType": order.order_type,
        "stopOrderType": order.stop_order_type,
        "orderIv": "",
        "marketUnit": "",
        "triggerPrice": optional(order.trigger_price),
        "takeProfit": optional(order.take_profit),
        "stopLoss": optional(order.stop_loss),
        "tpslMode": order.tpsl_mode,
        "ocoTriggerBy": "",
        "tpLimitPrice": optional(order.tp_limit_price),
        "slLimitPrice": optional(order.sl_limit_price),
        "tpTriggerBy": order.tp_trigger_by,
        "slTriggerBy": order.sl_trigger_by,
        "triggerDirection": order.trigger_direction,
        "triggerBy": order.trigger_by,
        "lastPriceOnCreated": text(order.last_price_on_created),
        "reduceOnly": order.reduce_only,
        "closeOnTrigger": order.close_on_trigger,
        "placeType": "",
        "parentOrderLinkId": order.parent_link_id,
        "smpType": order.smp_type,
        "smpGroup": 0,
        "smpOrderId": "",
        "createdTime": str(order.created_ms),
        "updatedTime": str(order.updated_ms),
        "slippageToleranceType": order.slippage_type,
        "slippageTolerance": order.slippage,
        "extraFees": "",
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }
    if stream:
        row["category"] = "linear"
        row["closedPnl"] = text(order.closed_pnl)
        row["feeCurrency"] = order.coin
        row["brokerOrderPrice"] = ""
    else:
        row["basePrice"] = ""
    return row


def _fees(order: Order) -> dict[str, str]:
    """Fees by coin."""
    if not order.mnt_fee:
        return {order.coin: text(order.cum_fee)}
    fees = {order.coin: text(order.cum_fee)} if order.cum_fee else {}
    return {**fees, "MNT": text(order.mnt_fee)}


def execution_row(execution: Execution, stream: bool = False) -> Row:
    """One row of `execution/list` or of the `execution` topic."""
    row: Row = {
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "orderLinkId": execution.link_id,
        "side": execution.side,
        "orderPrice": text(execution.order_price),
        "orderQty": text(execution.order_qty),
        "leavesQty": text(execution.leaves),
        "createType": execution.create_type,
        "orderType": execution.order_type,
        "stopOrderType": execution.stop_order_type or "UNKNOWN",
        "execFee": text(execution.fee),
        "execId": execution.exec_id,
        "execPrice": text(execution.price),
        "execQty": text(execution.qty),
        "execType": execution.exec_type,
        "execValue": text(execution.value),
        "execTime": str(execution.time_ms),
        "feeCurrency": "" if execution.exec_type == "Funding" else execution.coin,
        "isMaker": execution.is_maker,
        "feeRate": text(execution.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": text(execution.mark),
        "indexPrice": text(execution.index),
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": text(execution.closed_size),
        "seq": execution.seq,
    }
    if stream:
        row["category"] = "linear"
        row["execPnl"] = text(execution.pnl)
        row["isLeverage"] = "0"
        row["marketUnit"] = ""
        row["extraFees"] = []
    else:
        row["execFeeV2"] = ""
        row["extraFees"] = ""
    return row


def fast_execution_row(execution: Execution) -> Row:
    """One row of the `execution.fast` topic."""
    return {
        "category": "linear",
        "symbol": execution.symbol,
        "orderId": execution.order_id,
        "orderLinkId": "" if execution.is_maker else execution.link_id,
        "isMaker": execution.is_maker,
        "execId": execution.exec_id,
        "execPrice": text(execution.price),
        "execQty": text(execution.qty),
        "side": execution.side,
        "execTime": str(execution.time_ms),
        "seq": execution.seq,
    }


def position_row(view: PositionView, stream: bool = False) -> Row:
    """One row of `position/list` or of the `position` topic."""
    position = view.position
    size = abs(position.size)
    initial, maintenance = text(view.initial_margin), text(view.maintenance_margin)
    flat = not size
    average = text(position.average.quantize(AVERAGE_STEP)) if size else "0"
    row: Row = {
        "positionIdx": position.idx,
        "riskId": view.risk_id,
        "riskLimitValue": text(view.risk_limit),
        "symbol": position.symbol,
        "side": position.side,
        "size": text(size),
        "positionValue": text(position.entry_value),
        "autoAddMargin": 0,
        "positionStatus": view.status,
        "leverage": text(position.leverage),
        "markPrice": text(view.mark),
        "liqPrice": "" if view.liq_price is None else text(view.liq_price),
        "bustPrice": optional(view.bust_price),
        "positionIM": initial,
        "positionIMByMp": initial,
        "positionMM": maintenance,
        "positionMMByMp": maintenance,
        "positionBalance": "0" if flat else initial,
        "takeProfit": "" if not view.take_profit else text(view.take_profit),
        "stopLoss": "" if not view.stop_loss else text(view.stop_loss),
        "trailingStop": text(view.trailing_stop),
        "sessionAvgPrice": _session_average(position),
        "delta": "",
        "gamma": "",
        "vega": "",
        "theta": "",
        "unrealisedPnl": "0" if flat else text(position.unrealised(view.mark)),
        "curRealisedPnl": text(position.cur_realised),
        "cumRealisedPnl": text(position.cum_realised),
        "adlRankIndicator": view.adl_rank,
        "createdTime": str(position.created_ms or ""),
        "updatedTime": str(position.updated_ms or ""),
        "openTime": position.open_ms if size else 0,
        "seq": position.seq,
        "isReduceOnly": False,
        "mmrSysUpdatedTime": "",
        "leverageSysUpdatedTime": "",
        "tpslMode": "Full",
        "tradeMode": 0,
        "breakEvenPrice": _break_even(view),
    }
    if stream:
        row["category"] = "linear"
        row["entryPrice"] = average
    else:
        row["avgPrice"] = average
    return row


def _break_even(view: PositionView) -> str:
    """(entry x size - realised) / (size - |size| x taker fee), the taker fee at least 0.055 %."""
    position = view.position
    if not position.size:
        return ""
    fee = max(view.taker_fee, Decimal("0.00055"))
    size = position.size
    price = (position.average * size - position.cur_realised) / (size - abs(size) * fee)
    return text(price.quantize(Decimal("1e-8")))


def _session_average(position: Position) -> str:
    return "" if position.opened_value is None else text(position.session_average.quantize(AVERAGE_STEP))


def settlement_row(row: SessionSettled) -> Row:
    """One row of `asset/settlement-record`."""
    return {
        "symbol": row.symbol,
        "side": row.side,
        "size": text(row.size),
        "sessionAvgPrice": text(row.session_average.quantize(AVERAGE_STEP)),
        "markPrice": text(row.mark),
        "realisedPnl": text(row.pnl),
        "createdTime": str(row.time_ms),
    }


def wallet_row(view: WalletView) -> Row:
    """The account as `wallet-balance` and the `wallet` topic show it. 1 USDT and 1 USDC count as 1 USD each."""
    coins = [coin for coin in view.coins if coin.coin != MNT]
    wallet = sum((coin.balance for coin in coins), ZERO)
    unrealised = sum((coin.unrealised for coin in coins), ZERO)
    maintenance = sum((coin.position_mm for coin in coins), ZERO)
    used = sum((coin.position_im + coin.order_im for coin in coins), ZERO)
    equity = wallet + unrealised
    cross = view.margin_mode == "REGULAR_MARGIN"
    rates = ("", "")
    if cross:
        rates = ("0", "0") if equity <= 0 else (_rate(used / equity), _rate(maintenance / equity))
    return {
        "accountType": "UNIFIED",
        "accountLTV": "",
        "accountIMRate": rates[0],
        "accountIMRateByMp": rates[0],
        "accountMMRate": rates[1],
        "accountMMRateByMp": rates[1],
        "totalEquity": text(equity),
        "totalWalletBalance": text(wallet),
        "totalMarginBalance": text(equity) if cross else "",
        "totalAvailableBalance": text(max(equity - used, ZERO)) if cross else "",
        "totalPerpUPL": text(unrealised),
        "totalInitialMargin": text(used) if cross else "",
        "totalInitialMarginByMp": text(used) if cross else "",
        "totalMaintenanceMargin": text(maintenance) if cross else "",
        "totalMaintenanceMarginByMp": text(maintenance) if cross else "",
        "coin": [_coin_row(coin) for coin in view.coins],
    }


def _coin_row(view: CoinView) -> Row:
    equity = view.balance + view.unrealised
    owed = text(max(-view.balance, ZERO))
    return {
        "coin": view.coin,
        "equity": text(equity),
        "usdValue": text(equity),
        "walletBalance": text(view.balance),
        "free": "",
        "locked": "0",
        "spotHedgingQty": "0",
        "borrowAmount": owed,
        "spotBorrow": "0",
        "availableToWithdraw": "",
        "availableToBorrow": "",
        "accruedInterest": "0",
        "totalOrderIM": text(view.order_im),
        "totalPositionIM": text(view.position_im),
        "totalPositionMM": text(view.position_mm),
        "unrealisedPnl": text(view.unrealised),
        "cumRealisedPnl": text(view.cum_realised),
        "bonus": "0",
        "marginCollateral": view.coin != MNT,
        "collateralSwitch": view.coin != MNT,
        "colRes": "",
    }


def _rate(number: Decimal) -> str:
    return text(number.quantize(Decimal("1e-4")))


def closed_row(row: ClosedPnl) -> Row:
    """One row of `position/closed-pnl`."""
    return {
        "symbol": row.symbol,
        "orderId": row.order_id,
        "side": row.side,
        "qty": text(row.qty),
        "orderPrice": text(row.order_price),
        "orderType": row.order_type,
        "execType": row.exec_type,
        "closedSize": text(row.closed_size),
        "cumEntryValue": text(row.entry_value),
        "avgEntryPrice": text((row.entry_value / row.closed_size).quantize(AVERAGE_STEP)),
        "cumExitValue": text(row.exit_value),
        "avgExitPrice": text((row.exit_value / row.closed_size).quantize(AVERAGE_STEP)),
        "closedPnl": text(row.pnl),
        "fillCount": str(row.fills),
        "leverage": text(row.leverage),
        "openFee": text(row.open_fee),
        "closeFee": text(row.close_fee),
        "createdTime": str(row.created_ms),
        "updatedTime": str(row.updated_ms),
    }


def ledger_row(line: LedgerLine) -> Row:
    """One row of `account/transaction-log`."""
    traded = bool(line.symbol)
    return {
        "id": line.line_id,
        "symbol": line.symbol,
        "category": "linear" if traded else "",
        "side": line.side,
        "transactionTime": str(line.time_ms),
        "type": line.kind,
        "transSubType": "",
        "qty": text(line.qty),
        "size": text(line.size),
        "currency": line.coin,
        "tradePrice": text(line.price),
        "funding": text(line.funding) if line.kind == "SETTLEMENT" else "",
        "fee": text(line.fee),
        "cashFlow": text(line.cash_flow),
        "change": text(line.change),
        "cashBalance": text(line.balance),
        "feeRate": text(line.fee_rate),
        "bonusChange": "",
        "tradeId": line.trade_id,
        "orderId": line.order_id,
        "orderLinkId": line.link_id,
        "extraFees": "",
    }
