"""Concise builders for fills: `fill(1, "Buy", "2", "100")`."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alpha.postgres.database import Connection
from alpha.postgres.fills import Fill

START = datetime(2025, 6, 2, 12, tzinfo=UTC)
BOT = "shortseller_001"


async def new_account(connection: Connection, bot_id: str = BOT, environment: str = "simulated") -> int:
    """Create an account of the bot; returns its id."""
    number: int = await connection.fetchval("SELECT trading.register_account($1, $2, $2)", environment, bot_id)
    return number


def fill(
    minute: float,
    side: str,
    qty: str,
    price: str,
    *,
    fee: str = "0",
    reason: str = "entry",
    exec_type: str = "Trade",
    account_id: int = 1,
    symbol: str = "BTCUSDT",
    maker: bool = False,
    seq: int = 1,
    exec_pnl: str | None = None,
    closed: str | None = None,
    leg: str = "both",
    exec_id: str | None = None,
) -> Fill:
    """An execution `minute` minutes after START; its id encodes time and content."""
    return Fill(
        account_id=account_id, bot_id=BOT, category="linear", symbol=symbol, exec_id=exec_id or f"{minute:09.3f}-{seq}-{side}{qty}",
        order_id=f"order-{minute}", order_link_id=None, side=side, exec_type=exec_type, reason=reason, price=Decimal(price),
        qty=Decimal(qty), value=Decimal(price) * Decimal(qty), fee=Decimal(fee), fee_currency="USDT", closed_size=None if closed is None else Decimal(closed),
        exec_pnl=None if exec_pnl is None else Decimal(exec_pnl), extra_fees=None, is_maker=maker, seq=seq,
        exec_time=START + timedelta(minutes=minute), received_at=START, leg=leg,
    )  # fmt: skip
