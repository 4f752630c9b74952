"""Files of candles: the one reader of the simulated exchange and of the back-tester. It stands on NumPy alone.

    SYMBOL.csv, SYMBOL.csv.gz, SYMBOL.zip (one CSV in it), SYMBOL.parquet (where polars is installed), in any case

The columns are found by name: `start_ms, open, high, low, close, volume`; further ones are passed over. The time is the
start of the candle, UTC, in whole milliseconds; seconds, microseconds and nanoseconds are known by their size. Candles run
oldest first, each once. Prices and volumes keep every digit as text.
"""

from exchange_simulator.candle_files.folder import candle_files
from exchange_simulator.candle_files.read import CandleFile, Gap, read_candles
from exchange_simulator.candle_files.table import CandleFault

__all__ = ["CandleFault", "CandleFile", "Gap", "candle_files", "read_candles"]
