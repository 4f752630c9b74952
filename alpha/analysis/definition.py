"""What is analysed: `analysis.toml`, checked, and its hash."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from alpha.analysis.catalogue import KINDS, Kind
from alpha.errors import Misconfigured
from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import frame_ms

#: The most closed candles of an interval that are read for one value.
MOST_HISTORY = 5_000
#: Part of the hash: raised when a vote or the rating is computed differently for the same indicators.
_RATING_VERSION = 1
_MOST_INDICATORS = 100


@dataclass(frozen=True, slots=True)
class Indicator:
    """One row of the file. `names` are those of its values, in the order of `kind.outputs`."""

    kind: Kind
    parameters: Mapping[str, float]
    names: tuple[str, ...]

    def history(self, interval_ms: int) -> int:
        """Closed candles that its newest value and vote may need."""
        return self.kind.history(self.parameters, interval_ms)


@dataclass(frozen=True, slots=True)
class Definition:
    """All intervals (shortest first; it is the base) and indicators. `schema` identifies the values, not the intervals."""

    intervals: tuple[str, ...]
    indicators: tuple[Indicator, ...]
    schema: str

    @property
    def base(self) -> str:
        """The shortest interval, of which the others are made."""
        return self.intervals[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all values, in order."""
        return tuple(name for indicator in self.indicators for name in indicator.names)

    def history(self, interval: str) -> int:
        """Closed candles of an interval that the newest values and votes may need."""
        length = INTERVAL_MS[interval]
        return max(indicator.history(length) for indicator in self.indicators)

    def described(self) -> list[dict[str, object]]:
        """The indicators as plain values, for the record."""
        return [{"kind": each.kind.name, **each.parameters, "names": list(each.names)} for each in self.indicators]


def read_definition(path: Path) -> Definition:
    """Read `analysis.toml`. Raises Misconfigured with one sentence for the first fault."""
    try:
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise Misconfigured(f"{path} is missing. It lists the indicators; restore it from the repository.") from None
    except OSError as fault:
        raise Misconfigured(f"{path} cannot be read: {fault.strerror}.") from None
    except UnicodeDecodeError as fault:
        raise Misconfigured(f"{path} is not UTF-8 at byte {fault.start}. Save it as UTF-8.") from None
    return parse_definition(text, str(path))


def parse_definition(text: str, path: str = "analysis.toml") -> Definition:
    """Parse the text of an `analysis.toml`; `path` is the file named in errors. Raises as `read_definition`."""
    try:
        document = tomllib.loads(text.replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as fault:
        raise Misconfigured(f"{path} is not valid TOML: {str(fault).splitlines()[0][:200]}.") from None
    unknown = sorted(set(document) - {"intervals", "indicator"})
    if unknown:
        raise Misconfigured(f"{path}: {unknown[0][:40]!r} is not known. Known: intervals, [[indicator]].")
    intervals = _intervals(document.get("intervals"), path)
    rows = document.get("indicator")
    if not isinstance(rows, list) or not rows:
        raise Misconfigured(f"{path} lists no indicator. Add an [[indicator]] section.")
    if len(rows) > _MOST_INDICATORS:
        raise Misconfigured(f"{path} lists {len(rows)} indicators; {_MOST_INDICATORS} is the most.")
    indicators = tuple(_indicator(row, f"{path}: indicator {number}") for number, row in enumerate(rows, start=1))
    seen: dict[str, int] = {}
    for number, indicator in enumerate(indicators, start=1):
        for name in indicator.names:
            if name in seen:
                raise Misconfigured(f"{path}: indicators {seen[name]} and {number} are the same: {name}. Remove one.")
            seen[name] = number
    for number, indicator in enumerate(indicators, start=1):
        _check_history(indicator, intervals, f"{path}: indicator {number} ({indicator.kind.name})")
    rated = [[each.kind.name, dict(sorted(each.parameters.items())), list(each.names)] for each in indicators]
    schema = hashlib.sha256(msgspec.json.encode([_RATING_VERSION, rated])).hexdigest()[:16]
    return Definition(intervals, indicators, schema)


def _intervals(found: object, path: str) -> tuple[str, ...]:
    if not isinstance(found, list) or not found or not all(isinstance(each, str) for each in found):
        raise Misconfigured(f'{path} needs intervals, a list of texts such as ["5", "60", "D"].')
    for interval in found:
        if interval not in INTERVAL_MS:
            known = ", ".join(INTERVAL_MS)
            raise Misconfigured(f"{path}: interval {interval[:20]!r} does not exist. Choose from {known}.")
    if len(set(found)) < len(found):
        raise Misconfigured(f"{path} names an interval twice: {', '.join(found)}.")
    ordered = sorted(found, key=INTERVAL_MS.__getitem__)
    for interval in ordered[1:]:
        try:
            frame_ms(interval, INTERVAL_MS[ordered[0]])
        except Misconfigured:
            raise Misconfigured(
                f"{path}: interval {interval!r} is not a multiple of the shortest interval {ordered[0]!r}. "
                "Remove one of the two."
            ) from None
    return tuple(ordered)


def _indicator(row: object, where: str) -> Indicator:
    if not isinstance(row, dict):
        raise Misconfigured(f"{where} must be an [[indicator]] section.")
    name = row.get("kind")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        shown = repr(name)[:60]
        raise Misconfigured(f"{where}: kind {shown} does not exist. Choose from {', '.join(KINDS)}.")
    where = f"{where} ({kind.name})"
    unknown = sorted(set(row) - {"kind"} - set(kind.parameters))
    if unknown:
        known = ", ".join(kind.parameters) or "no parameters"
        raise Misconfigured(f"{where}: {unknown[0][:40]!r} is not one of its parameters. Known: {known}.")
    parameters: dict[str, float] = {}
    for parameter, allowed in kind.parameters.items():
        value = row.get(parameter, allowed.default)
        number = isinstance(value, int if allowed.whole else (int, float)) and not isinstance(value, bool)
        if not number or not allowed.least <= value <= allowed.most:
            what = "a whole number" if allowed.whole else "a number"
            raise Misconfigured(
                f"{where}: {parameter} must be {what} from {allowed.least:g} to {allowed.most:g}, got {repr(value)[:40]}."
            )
        parameters[parameter] = int(value) if allowed.whole else float(value)
    if "fast" in parameters and parameters["fast"] >= parameters["slow"]:
        raise Misconfigured(f"{where}: fast must be below slow, got {parameters['fast']:g} and {parameters['slow']:g}.")
    if "low" in parameters and parameters["low"] >= parameters["high"]:
        raise Misconfigured(f"{where}: low must be below high, got {parameters['low']:g} and {parameters['high']:g}.")
    return Indicator(kind, parameters, _names(kind, parameters))


def _names(kind: Kind, parameters: Mapping[str, float]) -> tuple[str, ...]:
    """`ema_20`, `macd_12_26_9` and `macd_12_26_9_signal`: levels of a vote that are the usual ones are left out."""
    said = [
        f"{value:g}"
        for name, value in parameters.items()
        if name not in {"low", "high", "threshold", "limit"} or value != kind.parameters[name].default
    ]
    base = "_".join([kind.name, *said])
    return tuple(f"{base}_{output}" if output else base for output in kind.outputs)


def _check_history(indicator: Indicator, intervals: tuple[str, ...], where: str) -> None:
    for interval in intervals:
        needed = indicator.history(INTERVAL_MS[interval])
        if needed > MOST_HISTORY:
            raise Misconfigured(
                f"{where} needs {needed:,} closed candles of interval {interval}; at most {MOST_HISTORY:,} are read. "
                "Choose shorter periods."
            )
