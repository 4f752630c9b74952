"""Recorded candles as a market: a folder of candle files in the format of `exchange_simulator.candle_files`.

All files of a folder have the same interval and no gaps; they may start and end at different times. Prices keep every
digit: the tick is the catalogue's if every price of the file fits it, otherwise the largest power of ten that fits them
all; the quantity step likewise, from the volumes. A file `instruments.json` in the folder overrides this per symbol:

    {"BTCUSDT": {"tick_size": "0.10", "qty_step": "0.001", "max_leverage": 100, "min_notional": "5"}}

Volumes are then rounded to the given step; prices must fit the given tick. Recorded candles have no index price: it is the
last price. Funding rates are those of `SYMBOL.funding.csv` (`time_ms,rate`) at its times, else constant; open interest is
that of `SYMBOL.open_interest.csv` (`time_ms,value`), else one day's volume.
"""

import json
from bisect import bisect_right
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from exchange_simulator.candle_files import CandleFault, CandleFile, candle_files, read_candles, read_series
from exchange_simulator.market import catalogue
from exchange_simulator.market.intervals import FIXED_MS, Rows, bucket_end, bucket_start, join, to_bars
from exchange_simulator.market.model import DAY_MS, Bar, Instrument, MarketError

_NAMES = ("open", "high", "low", "close", "volume")
_EXACT = 2**53
_OVERRIDES = {"tick_size", "qty_step", "max_leverage", "min_notional"}


class ReplayMarket:
    """A `Market` over recorded candles, held in memory (48 bytes per candle)."""

    def __init__(
        self,
        rows: Mapping[str, Rows],
        instruments: Mapping[str, Instrument],
        funding_rate: Decimal,
        funding: Mapping[str, Mapping[int, Decimal]] | None = None,
        interest: Mapping[str, Mapping[int, Decimal]] | None = None,
    ) -> None:
        """`funding` and `interest` hold recorded rates and open interest by symbol and time."""
        self._rows = dict(rows)
        self._funding = funding or {}
        self._interest = {symbol: (list(found), list(found.values())) for symbol, found in (interest or {}).items()}
        self.instruments: Mapping[str, Instrument] = dict(instruments)
        first = next(iter(self._rows.values()))
        self.base_ms = int(first[1, 0] - first[0, 0])
        self.first_ms = min(int(rows[0, 0]) for rows in self._rows.values())
        self.end_ms: int | None = max(int(rows[-1, 0]) for rows in self._rows.values()) + self.base_ms
        self._funding_rate = funding_rate

    def bar(self, symbol: str, start_ms: int) -> Bar | None:
        """See `Market.bar`."""
        rows = self._rows[symbol]
        place, rest = divmod(start_ms - int(rows[0, 0]), self.base_ms)
        if rest or not 0 <= place < len(rows):
            return None
        return Bar(*rows[place].tolist())

    def bars(self, symbol: str, from_ms: int, to_ms: int) -> list[Bar]:
        """See `Market.bars`."""
        return to_bars(self._slice(symbol, from_ms, to_ms))

    def candles(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> list[Bar]:
        """See `Market.candles`. A candle only partly covered by the recording is aggregated from the available bars."""
        if FIXED_MS.get(interval, DAY_MS * 28) < self.base_ms:
            return []
        start = bucket_start(interval, from_ms)
        if start < from_ms:
            start = bucket_end(interval, start)
        end = bucket_start(interval, to_ms - 1)
        if end < start:
            return []
        return to_bars(join(self._slice(symbol, start, bucket_end(interval, end)), interval))

    def index_price(self, symbol: str, time_ms: int, last: int) -> Decimal:
        """The last price."""
        return self.instruments[symbol].price(last)

    def funding_rate(self, symbol: str, time_ms: int) -> Decimal:
        """The recorded rate of this time, else the constant rate the market was opened with."""
        return self._funding.get(symbol, {}).get(time_ms, self._funding_rate)

    def open_interest(self, symbol: str, time_ms: int) -> Decimal:
        """The newest recorded value at `time_ms`, else the volume of the day before it."""
        times, values = self._interest.get(symbol, ([], []))
        if place := bisect_right(times, time_ms):
            return values[place - 1]
        rows = self._slice(symbol, time_ms - DAY_MS, time_ms)
        return self.instruments[symbol].qty(int(rows[:, 5].sum()))

    def _slice(self, symbol: str, from_ms: int, to_ms: int) -> Rows:
        rows = self._rows[symbol]
        first = int(rows[0, 0])
        low = max(0, -((first - from_ms) // self.base_ms))
        high = max(low, -((first - to_ms) // self.base_ms))
        return rows[low:high]


def open_folder(
    folder: Path, *, symbols: tuple[str, ...] = (), funding_rate: Decimal = Decimal("0.0001")
) -> ReplayMarket:
    """Reads a folder of candles, or only `symbols` from it. Raises `MarketError` naming file and line."""
    try:
        files = candle_files(folder)
    except CandleFault as fault:
        raise MarketError(str(fault)) from None
    missing = sorted(set(symbols) - set(files))
    if missing:
        raise MarketError(f"{folder} has no candles of {', '.join(missing)}: it has {', '.join(sorted(files))}.")
    overrides = _overrides(folder / "instruments.json")
    rows: dict[str, Rows] = {}
    instruments: dict[str, Instrument] = {}
    base: tuple[int, Path] | None = None
    for symbol in symbols or sorted(files):
        path = files[symbol]
        try:
            instruments[symbol], rows[symbol] = _read(read_candles(path), symbol, overrides.get(symbol, {}))
        except CandleFault as fault:
            raise MarketError(str(fault)) from None
        interval = int(rows[symbol][1, 0] - rows[symbol][0, 0])
        if base is None:
            base = (interval, path)
        elif interval != base[0]:
            raise MarketError(
                f"{path}: candles are {interval // 1000} s long, those of {base[1].name} {base[0] // 1000} s: "
                "one folder holds one interval."
            )
    try:
        funding = {symbol: read_series(folder / f"{symbol}.funding.csv", "rate") for symbol in rows}
        interest = {symbol: read_series(folder / f"{symbol}.open_interest.csv", "value") for symbol in rows}
    except CandleFault as fault:
        raise MarketError(str(fault)) from None
    return ReplayMarket(rows, instruments, funding_rate, funding, interest)


def _overrides(path: Path) -> dict[str, dict[str, str | int]]:
    if not path.exists():
        return {}
    try:
        data = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise MarketError(f"{path} is not readable JSON: {error}.") from None
    if not isinstance(data, dict) or not all(isinstance(entry, dict) for entry in data.values()):
        raise MarketError(f"{path} must map symbols to objects.")
    for symbol, entry in data.items():
        if unknown := sorted(set(entry) - _OVERRIDES):
            raise MarketError(
                f"{path}: {symbol} has {', '.join(unknown)}; allowed are {', '.join(sorted(_OVERRIDES))}."
            )
    return cast("dict[str, dict[str, str | int]]", data)


def _read(file: CandleFile, symbol: str, override: Mapping[str, str | int]) -> tuple[Instrument, Rows]:
    path, times = file.path, file.start_ms
    numbers = [_whole(path, name, file.texts(name), file.floats(name)) for name in _NAMES]
    scale = max(places for _, places in numbers[:4])
    prices = [values * 10 ** (scale - places) for values, places in numbers[:4]]
    volume, volume_scale = numbers[4]

    row = catalogue.TABLE.get(symbol)
    tick = _stated(path, symbol, override, "tick_size") or _fitting(row.tick if row else None, prices, scale)
    ticks = [_in_units(file, symbol, values, scale, tick) for values in prices]
    step = _stated(path, symbol, override, "qty_step") or _fitting(row.step if row else None, [volume], volume_scale)
    steps = _rounded(volume, step * Decimal(10) ** volume_scale)
    instrument = catalogue.instrument(
        symbol,
        price=int(np.median(ticks[3])) * tick,
        launch_ms=int(times[0]),
        tick=tick,
        step=step,
        max_leverage=int(leverage) if (leverage := _stated(path, symbol, override, "max_leverage")) else None,
        min_notional=_stated(path, symbol, override, "min_notional") or Decimal(5),
    )
    return instrument, np.column_stack((times, *ticks, steps))


def _whole(path: Path, name: str, column: list[str], floats: NDArray[np.float64]) -> tuple[NDArray[np.int64], int]:
    """Converts a column of decimals to integers and the power of ten they were multiplied by. Lossless."""
    scientific = any("e" in value or "E" in value for value in column)
    if scientific:
        column = [f"{Decimal(value):f}" for value in column]
    places = max(len(value) - 1 - point if (point := value.find(".")) >= 0 else 0 for value in map(str.strip, column))
    if float(np.abs(floats).max()) * 10.0**places < _EXACT:
        values = np.rint(floats * 10.0**places).astype(np.int64)
    else:
        exact = [int(Decimal(value).scaleb(places)) for value in column]
        if max(map(abs, exact)) >= 2**62:
            raise MarketError(f"{path}: {name} has more digits than can be held exactly; shorten it.")
        values = np.array(exact, dtype=np.int64)
    while places and not (values % 10).any():
        values, places = values // 10, places - 1
    return values, places


def _stated(path: Path, symbol: str, override: Mapping[str, str | int], key: str) -> Decimal | None:
    if key not in override:
        return None
    try:
        value = Decimal(str(override[key]))
    except InvalidOperation:
        value = Decimal(0)
    if not value.is_finite() or value <= 0:
        raise MarketError(f"{path.parent / 'instruments.json'}: {symbol} {key} must be a number above zero.")
    return value


def _fitting(usual: str | None, columns: list[NDArray[np.int64]], scale: int) -> Decimal:
    """The usual unit if it divides every value, otherwise the largest power of ten that does."""
    unit = Decimal(10) ** -scale
    if usual is not None:
        ratio = Decimal(usual) / unit
        if ratio < 1 or (ratio == int(ratio) and not any((values % int(ratio)).any() for values in columns)):
            return Decimal(usual)
    return unit


def _rounded(values: NDArray[np.int64], ratio: Decimal) -> NDArray[np.int64]:
    """Divides values by `ratio`, rounding half up; exact where `ratio` or its reciprocal is an integer."""
    if ratio == int(ratio):
        return (values + int(ratio) // 2) // int(ratio)
    if 1 / ratio == int(1 / ratio):
        return values * int(1 / ratio)
    return np.rint(values / float(ratio)).astype(np.int64)


def _in_units(file: CandleFile, symbol: str, values: NDArray[np.int64], scale: int, unit: Decimal) -> NDArray[np.int64]:
    ratio = unit * Decimal(10) ** scale
    if ratio < 1:
        return values * int(1 / ratio)
    if ratio != int(ratio) or (wrong := values % int(ratio)).any():
        place = int(np.argmax(wrong)) if ratio == int(ratio) else 0
        raise MarketError(f"{file.where(place)}: a price of {symbol} does not fit the stated tick_size {unit}.")
    return values // int(ratio)
