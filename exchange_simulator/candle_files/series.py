"""A small file beside the candles of a symbol: CSV rows of a time and one value, every digit kept."""

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path

from exchange_simulator.candle_files.table import CandleFault


def read_series(path: Path, name: str) -> dict[int, Decimal]:
    """The values by time (`time_ms`, UTC milliseconds), oldest first; empty without such a file. Raises CandleFault."""
    if not path.is_file():
        return {}
    found: dict[int, Decimal] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file)
            if not {"time_ms", name} <= set(lines.fieldnames or ()):
                raise CandleFault(f"{path} needs the columns time_ms and {name}.")
            for number, line in enumerate(lines, start=2):
                try:
                    time_ms, value = int(line["time_ms"]), Decimal(line[name])
                except (ValueError, TypeError, InvalidOperation):
                    raise CandleFault(f"{path} line {number} is not a time and a number.") from None
                if not value.is_finite() or (found and time_ms <= next(reversed(found))):
                    raise CandleFault(f"{path} line {number}: times must ascend and values be numbers.")
                found[time_ms] = value
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        raise CandleFault(f"{path} cannot be read: {fault}.") from None
    return found
