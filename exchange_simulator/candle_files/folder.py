"""A folder of candles: one file per symbol."""

import re
from pathlib import Path

from exchange_simulator.candle_files.table import CandleFault

#: It lies beside the candles and says which coins were listed when; it is no coin called UNIVERSE.
UNIVERSE_FILE = "universe.csv"
#: Files that lie beside candles and are no coins: the universe, and what fills cost (`alpha slippage`).
_NO_COINS = frozenset({UNIVERSE_FILE, "slippage.csv"})
_NAME = re.compile(r"([A-Z0-9]{1,40})\.(?:csv|csv\.gz|csv\.zip|zip|parquet)", re.IGNORECASE)


def candle_files(folder: Path) -> dict[str, Path]:
    """Maps each symbol, in upper case, to its file. Raises CandleFault when there are no files, or
    two for one symbol.
    """
    if not folder.is_dir():
        raise CandleFault(f"{folder} is not a folder: give the folder that holds the candles.")
    files: dict[str, Path] = {}
    others: list[str] = []
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match is None or not path.is_file() or path.name.lower() in _NO_COINS:
            others.append(path.name)
            continue
        symbol = match[1].upper()
        if symbol in files:
            raise CandleFault(f"{folder} has both {files[symbol].name} and {path.name}: keep one of them.")
        files[symbol] = path
    if not files:
        found = f"; found {', '.join(others[:5])}" if others else ""
        raise CandleFault(
            f"{folder} holds no candles: it needs SYMBOL.csv, SYMBOL.csv.gz, SYMBOL.zip or SYMBOL.parquet{found}."
        )
    return files
