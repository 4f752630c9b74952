"""freqtrade in dry-run or live (by CLIENT), isolated margin, stop loss on the exchange: from its start to closed trades."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

from pybit.unified_trading import HTTP

from tests.clients.checks import KEY, REST, SECRET, WS, report

LIVE = os.environ.get("CLIENT", "").endswith("live")
TRADES = 2
PATIENCE_S = 300.0
ENDS_S = 180.0
STRATEGY = '''
from freqtrade.strategy import IStrategy


class Always(IStrategy):
    """Enters at every candle and leaves after some seconds."""

    INTERFACE_VERSION = 3
    timeframe = "1m"
    can_short = False
    stoploss = -0.2
    minimal_roi = {"0": 10}
    startup_candle_count = 5
    order_types = {
        "entry": "market", "exit": "market", "stoploss": "market",
        "emergency_exit": "market", "stoploss_on_exchange": True, "stoploss_on_exchange_interval": 5,
    }

    def populate_indicators(self, dataframe, metadata):
        return dataframe

    def populate_entry_trend(self, dataframe, metadata):
        dataframe["enter_long"] = 1
        return dataframe

    def populate_exit_trend(self, dataframe, metadata):
        return dataframe

    def custom_exit(self, pair, trade, current_time, current_rate, current_profit, **kwargs):
        return "held long enough" if (current_time - trade.open_date_utc).total_seconds() > 15 else None

    def leverage(self, pair, current_time, current_rate, proposed_leverage, max_leverage, entry_tag, side, **kwargs):
        return 3.0
'''


def config(folder: Path) -> dict[str, Any]:
    kinds = ("spot", "linear", "inverse", "option")
    streams = {"public": {k: f"{WS}/v5/public/{k}" for k in kinds}, "private": {"contract": f"{WS}/v5/private"}}
    addresses = {
        "urls": {"api": {**dict.fromkeys(("spot", "futures", "v2", "public", "private"), REST), "ws": streams}}
    }
    pricing = {"price_side": "other", "use_order_book": True, "order_book_top": 1}
    return {
        "max_open_trades": 2,
        "stake_currency": "USDT",
        "stake_amount": 300,
        "tradable_balance_ratio": 0.9,
        "dry_run": not LIVE,
        "dry_run_wallet": 10_000,
        "trading_mode": "futures",
        "margin_mode": "isolated",
        "cancel_open_orders_on_exit": True,
        "unfilledtimeout": {"entry": 1, "exit": 1, "unit": "minutes"},
        "entry_pricing": pricing,
        "exit_pricing": pricing,
        "exchange": {
            "name": "bybit",
            "key": KEY if LIVE else "",
            "secret": SECRET if LIVE else "",
            "ccxt_config": addresses,
            "ccxt_async_config": addresses,
            "pair_whitelist": ["BTC/USDT:USDT", "ETH/USDT:USDT"],
            "pair_blacklist": [],
        },
        "pairlists": [{"method": "StaticPairList"}],
        "internals": {"process_throttle_secs": 1},
        "initial_state": "running",
        "bot_name": "check",
        "db_url": f"sqlite:///{folder}/trades.sqlite",
        "user_data_dir": str(folder),
    }


def rows(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    try:
        with closing(sqlite3.connect(f"file:{folder}/trades.sqlite?mode=ro", uri=True)) as database:
            return database.execute(sql).fetchall()
    except sqlite3.Error:
        return []


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="freqtrade-") as name:
        folder = Path(name)
        (folder / "strategies").mkdir()
        (folder / "strategies" / "always.py").write_text(STRATEGY)
        (folder / "config.json").write_text(json.dumps(config(folder)))
        log = folder / "log.txt"
        command = [str(Path(sys.executable).parent / "freqtrade"), "trade", "--config", str(folder / "config.json")]
        command += ["--strategy", "Always", "--strategy-path", str(folder / "strategies"), "--userdir", name]
        with log.open("w") as output:
            bot = subprocess.Popen(  # a background job of a shell ignores SIGINT, and its children would too
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=name,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        try:
            follow(folder, bot, log)
        finally:
            said = [line for line in log.read_text().splitlines() if " ERROR " in line or "Traceback" in line]
            bot.send_signal(signal.SIGINT)
            try:
                bot.wait(timeout=ENDS_S)
            except subprocess.TimeoutExpired:
                bot.kill()
                bot.wait()
        report("ends when asked to", bot.returncode in (0, 130), f"exit code {bot.returncode}")  # 130: by SIGINT
        report("logs no error while it trades", not said, said[0][-250:] if said else "")
        if os.environ.get("CLIENTS_VERBOSE"):
            sys.stderr.write(log.read_text())


def follow(folder: Path, bot: subprocess.Popen[bytes], log: Path) -> None:
    def wait(what: str, condition: Callable[[], object]) -> bool:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            if bot.poll() is not None or time.monotonic() > end:
                lines = [line for line in log.read_text().splitlines() if "ERROR" in line or "WARNING" in line] or ["?"]
                report(what, False, f"the bot's last word: {lines[-1][-250:]}")
                return False
            time.sleep(0.5)
        report(what, True)
        return True

    if not wait("starts", lambda: "state='RUNNING'" in log.read_text() or "RUNNING" in log.read_text()):
        return
    if not wait("opens a trade", lambda: rows(folder, "SELECT 1 FROM trades")):
        return
    stop = "SELECT 1 FROM orders WHERE ft_order_side = 'stoploss'"
    if LIVE:
        wait("keeps its stop loss on the exchange", lambda: rows(folder, stop))
    closed = "SELECT id, pair, close_profit_abs FROM trades WHERE is_open = 0"
    if wait(f"closes {TRADES} trades", lambda: len(rows(folder, closed)) >= TRADES) and LIVE:
        profits(folder)


def realised(row: dict[str, str]) -> Decimal:
    """What a closing order of a long realised, without funding."""
    gain, cost = Decimal(row["cumExitValue"]) - Decimal(row["cumEntryValue"]), Decimal(row["openFee"])
    return gain - cost - Decimal(row["closeFee"])


def profits(folder: Path) -> None:
    """The profit of each closed trade is that of the exchange's rows for its orders, to the last digit.

    Funding is left out on both sides: freqtrade asks for it by its own clock, which a fast exchange leaves behind.
    """
    exchange = HTTP(api_key=KEY, api_secret=SECRET)
    exchange.endpoint = REST
    listed = exchange.get_closed_pnl(category="linear", limit=100)["result"]["list"]
    wrong: list[str] = []
    trades = rows(folder, "SELECT id, pair, close_profit_abs, funding_fees FROM trades WHERE is_open = 0")
    for number, pair, profit, funding in trades:
        ids = {row[0] for row in rows(folder, f"SELECT order_id FROM orders WHERE ft_trade_id = {int(number)}")}
        exact = sum((realised(row) for row in listed if row["orderId"] in ids), Decimal(0))
        own = Decimal(str(profit)) - Decimal(str(funding or 0))
        if abs(exact - own) > Decimal("1e-8"):
            wrong.append(f"{pair}: {own} here, {exact} there")
    report("its P&L equals closed-pnl", not wrong, "; ".join(wrong))


main()
