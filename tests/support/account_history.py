"""An account with a history of months on the simulated exchange, made without waiting, kept in a file."""

import random
from decimal import Decimal
from pathlib import Path

from exchange_simulator.engine import orders
from exchange_simulator.engine.model import Refused, Rules
from exchange_simulator.exchange import Exchange, Setup
from exchange_simulator.keys import parse_account
from exchange_simulator.market import GeneratedMarket

START_MS = 1_735_689_600_000  # 2025-01-01
DAY_MS = 86_400_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")
#: The account's key that trades, and the one that reads, as `--account` takes them.
TRADING = "trading-key:trading-secret:100000"
READING = "reading-key:reading-secret:0:of=trading-key,read-only"
#: What a server over the file is started with: its time goes on where the history ends.
ARGUMENTS = (
    "--start",
    "2025-01-01",
    "--seed",
    "7",
    "--symbols",
    ",".join(SYMBOLS),
    "--account",
    TRADING,
    "--account",
    READING,
)


def make_history(file: Path, *, days: int, orders_sent: int, seed: int = 1) -> int:
    """Trade for `days` from 2025-01-01: entries, exits, reversals, funding; returns how many executions there are."""
    exchange = Exchange(
        GeneratedMarket(7, SYMBOLS),
        [parse_account(TRADING), parse_account(READING)],
        Setup(Rules(), seed=7, start_ms=START_MS, step_clock=True, data=file),
    )
    account = exchange.account(exchange.keys["trading-key"])
    rng = random.Random(seed)
    for _ in range(orders_sent):
        exchange.timeline.advance(exchange.now_ms + days * DAY_MS // orders_sent)
        exchange.commit()
        symbol = rng.choice(SYMBOLS)
        step = exchange.market.instruments[symbol].qty_step
        held, price = account.size(symbol), exchange.engine.books[symbol].last
        closes = bool(held) and rng.random() < 0.6
        side = ("Sell" if held > 0 else "Buy") if closes else rng.choice(("Buy", "Sell"))
        new = max(step, (Decimal(rng.randrange(200, 2_000)) / price / step).to_integral_value() * step)
        try:
            orders.create(
                exchange.engine, account, orders.NewOrder(symbol, side, "Market", abs(held) if closes else new)
            )
        except Refused:
            continue
        exchange.commit()
    made = exchange.storage.count("executions", account.uid)
    exchange.close()
    return made
