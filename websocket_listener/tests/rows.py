"""Rows as Bybit sends them, for tests; each call may change fields."""

from alpha.bybit.decode import parse_wallet
from alpha.bybit.models import Wallet
from alpha.bybit.rows import parse_execution, parse_order, parse_position
from alpha.lease import Act, LeaseLost
from alpha.model.execution import Execution
from alpha.model.order import Order
from alpha.model.position import Position


class Held:
    """A lease that nobody else can take."""

    def __init__(self, token: int = 1) -> None:
        self.token = token
        self.ours = True

    async def ready(self, act: Act) -> None:
        """It is."""

    async def prove(self) -> bool:
        """PostgreSQL answers; LeaseLost when a test has given it to another."""
        if not self.ours:
            raise LeaseLost("Another listener holds it.")
        return True


async def nobody_else(connection: object) -> None:
    """The transaction of the only listener."""


START_MS = 1_735_689_600_000


def execution_row(**changes: object) -> dict[str, object]:
    """One execution of the private stream: 0.5 BTCUSDT bought at 37,100."""
    row: dict[str, object] = {
        "category": "linear", "symbol": "BTCUSDT", "closedSize": "0", "execFee": "10.2025", "execId": "exec-1",
        "execPrice": "37100", "execQty": "0.5", "execType": "Trade", "execValue": "18550", "feeRate": "0.00055",
        "feeCurrency": "USDT", "leavesQty": "0", "orderId": "order-1", "orderLinkId": "", "orderPrice": "39000",
        "orderQty": "0.5", "orderType": "Market", "stopOrderType": "UNKNOWN", "side": "Buy", "execTime": str(START_MS),
        "isMaker": False, "seq": 10, "execPnl": "0", "createType": "CreateByUser", "extraFees": [],
    }  # fmt: skip
    return {**row, **changes}


def execution(**changes: object) -> Execution:
    """The same, parsed."""
    return parse_execution(execution_row(**changes))


def order(**changes: object) -> Order:
    """A resting limit order."""
    row: dict[str, object] = {
        "category": "linear", "symbol": "BTCUSDT", "orderId": "order-1", "orderLinkId": "", "side": "Buy",
        "orderType": "Limit", "orderStatus": "New", "price": "30000", "qty": "0.5", "cumExecQty": "0",
        "cumExecValue": "0", "leavesQty": "0.5", "avgPrice": "", "timeInForce": "GTC", "reduceOnly": False,
        "closeOnTrigger": False, "createType": "CreateByUser", "cancelType": "UNKNOWN", "rejectReason": "EC_NoError",
        "stopOrderType": "", "createdTime": str(START_MS), "updatedTime": str(START_MS),
    }  # fmt: skip
    return parse_order({**row, **changes})


def position(**changes: object) -> Position:
    """A long of 0.5 BTCUSDT."""
    row: dict[str, object] = {
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "size": "0.5", "positionIdx": 0,
        "entryPrice": "37100", "leverage": "10", "markPrice": "37101", "unrealisedPnl": "0.5", "stopLoss": "36000",
        "takeProfit": "", "trailingStop": "0", "updatedTime": str(START_MS), "seq": 10,
    }  # fmt: skip
    return parse_position({**row, **changes})


def wallet(**changes: object) -> Wallet:
    """A unified account with 1,000 USDT."""
    coin: dict[str, object] = {
        "coin": "USDT", "equity": "1000", "walletBalance": "1000", "unrealisedPnl": "0", "totalPositionIM": "0",
        "totalOrderIM": "0", "locked": "0", "bonus": "0", "cumRealisedPnl": "0",
    }  # fmt: skip
    return parse_wallet({"accountType": "UNIFIED", "totalAvailableBalance": "900", "coin": [{**coin, **changes}]})
