"""Why an order or fill happened: one word per reason, the same in the database, Redis and Telegram."""

from enum import StrEnum


class Reason(StrEnum):
    """The reason for an order. `ENTRY` opens a position; every other value is the reason for an exit."""

    ENTRY = "entry"
    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    LIQUIDATION = "liquidation"
    ADL = "adl"
    SIGNAL = "signal"
    TIME_LIMIT = "time_limit"
    REGIME_CHANGE = "regime_change"
    BREAK_EVEN = "break_even"
    RISK_LIMIT = "risk_limit"
    MANUAL = "manual"
    KILL_SWITCH = "kill_switch"
    FUNDING = "funding"
    SETTLEMENT = "settlement"


#: Two-letter codes of the reasons in order ids. Order ids outlive releases: never change a code, only add.
CODES = {
    Reason.ENTRY: "en",
    Reason.TAKE_PROFIT: "tp",
    Reason.STOP_LOSS: "sl",
    Reason.TRAILING_STOP: "ts",
    Reason.SIGNAL: "sg",
    Reason.TIME_LIMIT: "tl",
    Reason.REGIME_CHANGE: "rc",
    Reason.BREAK_EVEN: "be",
    Reason.RISK_LIMIT: "rl",
    Reason.MANUAL: "ma",
    Reason.KILL_SWITCH: "ks",
}
BY_CODE = {code: reason for reason, code in CODES.items()}

_BY_STOP_ORDER_TYPE = {
    "TakeProfit": Reason.TAKE_PROFIT,
    "PartialTakeProfit": Reason.TAKE_PROFIT,
    "StopLoss": Reason.STOP_LOSS,
    "PartialStopLoss": Reason.STOP_LOSS,
    "TrailingStop": Reason.TRAILING_STOP,
    "MmRateClose": Reason.LIQUIDATION,
}
_BY_CREATE_TYPE = {
    "CreateByTakeProfit": Reason.TAKE_PROFIT,
    "CreateByPartialTakeProfit": Reason.TAKE_PROFIT,
    "CreateByStopLoss": Reason.STOP_LOSS,
    "CreateByPartialStopLoss": Reason.STOP_LOSS,
    "CreateByTrailingStop": Reason.TRAILING_STOP,
    "CreateByTrailingProfit": Reason.TRAILING_STOP,
    "CreateByLiq": Reason.LIQUIDATION,
    "CreateByTakeOver_PassThrough": Reason.LIQUIDATION,
    "CreateByMmRateClose": Reason.LIQUIDATION,
    "CreateByAdl_PassThrough": Reason.ADL,
    "CreateBySettle": Reason.SETTLEMENT,
}
_BY_EXEC_TYPE = {
    "Funding": Reason.FUNDING,
    "BustTrade": Reason.LIQUIDATION,
    "AdlTrade": Reason.ADL,
    "Settle": Reason.SETTLEMENT,
    "Delivery": Reason.SETTLEMENT,
    "SessionSettlePnL": Reason.SETTLEMENT,
}


def reason_of_exchange(exec_type: str, create_type: str, stop_order_type: str) -> Reason | None:
    """The reason for an execution whose order the exchange created; None when a user created it.

    Source: Bybit V5 enums execType, createType and stopOrderType.
    """
    return _BY_EXEC_TYPE.get(exec_type) or _BY_STOP_ORDER_TYPE.get(stop_order_type) or _BY_CREATE_TYPE.get(create_type)
