"""The candle file reader shared by the simulated exchange and the backtester. Depends only on NumPy.

    SYMBOL.csv, SYMBOL.csv.gz, SYMBOL.zip (containing one CSV), SYMBOL.parquet (needs polars); any letter case

Columns are found by name: `start_ms, open, high, low, close, volume`; others are ignored. The time is the start of the
candle, UTC, in whole milliseconds; seconds, microseconds and nanoseconds are detected by magnitude. Candles are sorted
oldest first without duplicates. Prices and volumes keep every digit as text.
"""

from exchange_simulator.candle_files.folder import UNIVERSE_FILE, candle_files
from exchange_simulator.candle_files.read import CandleFile, Gap, read_candles
from exchange_simulator.candle_files.series import read_series
from exchange_simulator.candle_files.table import CandleFault

__all__ = ["UNIVERSE_FILE", "CandleFault", "CandleFile", "Gap", "candle_files", "read_candles", "read_series"]
