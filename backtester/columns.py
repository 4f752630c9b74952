"""The columns that a strategy looks at, out of a folder of data.

Funding rates are those of `SYMBOL.funding.parquet` (or .csv), or the constant rate; open interest is in
`SYMBOL.open_interest.parquet` (or .csv: `time_ms,value`); everything else lies in the folder `columns`, as
`alpha.strategy.column_files` says.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from alpha.errors import Misconfigured
from alpha.strategy.auxiliary import FUNDING_RATE, OPEN_INTEREST, Column, Rows
from alpha.strategy.bars import Bars
from alpha.strategy.base import Strategy
from alpha.strategy.column_files import FORMATS, read_column
from alpha.strategy.column_files import read_rows as read_file
from backtester.candles import end_ms, first_ms
from backtester.funding import constant_funding, funding_file, read_rows

FOLDER = "columns"


def read_columns(
    strategy: Strategy[Any, Any],
    folder: Path,
    bars: Mapping[str, Bars],
    constant: Decimal | None,
    own_files: Path | None = None,
) -> dict[str, dict[str, Rows]]:
    """By column and symbol; empty for a strategy without columns. Misconfigured names the file that is missing."""
    own = folder / FOLDER if own_files is None else own_files
    return {
        column.name: {symbol: _rows(column, symbol, folder, own, bars[symbol], constant) for symbol in bars}
        for column in strategy.columns
    }


def _rows(column: Column, symbol: str, folder: Path, own: Path, bars: Bars, constant: Decimal | None) -> Rows:
    if column.name == FUNDING_RATE.name:
        path = funding_file(folder, symbol)
        if path is not None:
            times, rates = read_rows(path)
        elif constant is not None:
            found = constant_funding(constant, first_ms(bars), end_ms(bars))
            times, rates = found.time_ms, found.rate
        else:
            raise Misconfigured(
                f"The strategy looks at funding rates, and {folder} has none of {symbol}: download them."
            )
        return Rows(times, np.array([float(rate) for rate in rates]))
    if column.name == OPEN_INTEREST.name:
        for ending in FORMATS:
            path = folder / f"{symbol}.open_interest{ending}"
            if path.is_file():
                return read_file(path)
        raise Misconfigured(
            f"The strategy looks at open interest, and {folder} has no {symbol}.open_interest.parquet: "
            "download it with --open-interest."
        )
    return read_column(own, column, symbol)
