"""The crossing of two averages in a published library, for `side_by_side`: one JSON line on standard output.

Run with the Python of `.venv-libraries`: `python backtest_libraries.py LIBRARY CANDLES.npz`. Long ten units while the fast
average (5) is above the slow one (20), entered at the open after an upward crossing; 0.055 % a side. Processor seconds of one
run in a warm process (the second one). Imports nothing of ours.
"""

# mypy: ignore-errors
# It runs with libraries that are not installed here.

import json
import sys
import time
import warnings

import numpy as np

FEE = 0.00055


def averages(table):
    """Simple averages of 5 and 20: computed here for the time they take, taken from the file for their last bits.

    Prices are whole cents, so that averages are often equal; a rolling sum with rounding would decide such ties otherwise.
    """
    import pandas

    series = pandas.Series(table["close"])
    series.rolling(5).mean(), series.rolling(20).mean()
    return table["fast"], table["slow"]


def vectorbt(table):
    """from_signals with the signals moved to the bar that trades on them."""
    import pandas
    import vectorbt as vbt

    fast, slow = averages(table)
    above = fast > slow
    entries, exits = np.zeros(len(above), bool), np.zeros(len(above), bool)
    entries[2:] = above[1:-1] & ~above[:-2] & ~np.isnan(slow[:-2])
    exits[1:] = ~above[:-1]
    portfolio = vbt.Portfolio.from_signals(
        pandas.Series(table["close"]),
        entries,
        exits,
        price=table["open"],
        size=10.0,
        fees=FEE,
        init_cash=1e9,
        freq="5min",
    )
    closed = portfolio.trades.closed
    return int(closed.count()), float(closed.pnl.sum())


def backtesting(table):
    """The library `backtesting`."""
    import pandas
    from backtesting import Backtest, Strategy

    class Crossing(Strategy):
        def init(self):
            fast, slow = averages(table)
            self.fast, self.slow = self.I(lambda: fast), self.I(lambda: slow)

        def next(self):
            above, was = self.fast[-1] > self.slow[-1], self.fast[-2] > self.slow[-2]
            if self.position:
                if not above:
                    self.position.close()
            elif above and not was and not np.isnan(self.slow[-2]):
                self.buy(size=10)

    frame = pandas.DataFrame(
        {name.title(): table[name] for name in ("open", "high", "low", "close", "volume")},
        index=pandas.to_datetime(table["start_ms"], unit="ms"),
    )
    stats = Backtest(frame, Crossing, cash=1e9, commission=FEE, finalize_trades=False).run()
    return int(stats["# Trades"]), float(stats["_trades"]["PnL"].sum())


def nautilus(table):
    """nautilus_trader: a strategy on bars, market orders, a cash account without latency."""
    from decimal import Decimal

    from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
    from nautilus_trader.config import LoggingConfig
    from nautilus_trader.model.currencies import USDT
    from nautilus_trader.model.data import Bar, BarType
    from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
    from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
    from nautilus_trader.model.instruments import CryptoPerpetual
    from nautilus_trader.model.objects import Money, Price, Quantity
    from nautilus_trader.trading.strategy import Strategy

    venue = Venue("SIM")
    instrument = CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("XUSDT"), venue),
        raw_symbol=Symbol("XUSDT"),
        base_currency=USDT,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=2,
        size_precision=1,
        price_increment=Price.from_str("0.01"),
        size_increment=Quantity.from_str("0.1"),
        margin_init=Decimal("0.01"),
        margin_maint=Decimal("0.005"),
        maker_fee=Decimal(str(FEE)),
        taker_fee=Decimal(str(FEE)),
        ts_event=0,
        ts_init=0,
    )
    kind = BarType.from_str("XUSDT.SIM-5-MINUTE-LAST-EXTERNAL")
    fast, slow = averages(table)
    above = fast > slow

    class Crossing(Strategy):
        def __init__(self):
            super().__init__()
            self.place = -1

        def on_start(self):
            self.subscribe_bars(kind)

        def on_bar(self, bar):
            self.place += 1
            n = self.place
            if n < 1:
                return
            if not self.portfolio.is_flat(instrument.id):
                if not above[n]:
                    self.close_all_positions(instrument.id)
            elif above[n] and not above[n - 1] and not np.isnan(slow[n - 1]):
                self.submit_order(self.order_factory.market(instrument.id, OrderSide.BUY, Quantity.from_str("10.0")))

    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(
        venue, OmsType.NETTING, AccountType.MARGIN, starting_balances=[Money(1e7, USDT)], base_currency=USDT
    )
    engine.add_instrument(instrument)
    bars = [
        Bar(
            kind,
            *(Price(value, 2) for value in row[:4]),
            Quantity(row[4], 1),
            int(ms + 300_000) * 10**6,
            int(ms + 300_000) * 10**6,
        )
        for ms, *row in zip(
            *(table[name].tolist() for name in ("start_ms", "open", "high", "low", "close", "volume")), strict=True
        )
    ]
    engine.add_data(bars)
    engine.add_strategy(Crossing())
    started = time.process_time()
    engine.run()
    spent = time.process_time() - started
    closed = engine.cache.positions_closed()
    # Closed positions of a netting account are snapshots of one position.
    snapshots = list(engine.cache.position_snapshots()) + list(closed)
    net = sum(float(position.realized_pnl) for position in snapshots)
    count = len(snapshots)
    engine.dispose()
    return count, net, spent


def main():
    """Run twice, tell the second."""
    name, path = sys.argv[1:3]
    table = dict(np.load(path))
    warnings.simplefilter("ignore")
    run = {"vectorbt": vectorbt, "backtesting": backtesting, "nautilus": nautilus}[name]
    for _ in range(2):
        started = time.process_time()
        found = run(table)
        spent = time.process_time() - started
    seconds = found[2] if len(found) > 2 else spent
    sys.stdout.write("\n" + json.dumps({"trades": found[0], "net": found[1], "seconds": seconds}) + "\n")


if __name__ == "__main__":
    main()
