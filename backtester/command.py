"""`alpha backtest`: reads the data, runs a strategy over them, reports."""

import importlib
import inspect
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from alpha.errors import Misconfigured
from alpha.model.money import is_usual
from alpha.model.timestamp import ms_of
from alpha.registry import load_registry
from alpha.strategy.bars import Bars
from alpha.strategy.base import Parameters, ScoreSource, Strategy
from alpha.strategy.parameters import load_parameters, parse_overrides
from backtester.candle_files import read_folder, symbols_of
from backtester.candles import end_ms, first_ms
from backtester.columns import read_columns
from backtester.description import Description, fingerprint_of, funding_text
from backtester.engine import run
from backtester.funding import read_funding
from backtester.instruments import read_instruments
from backtester.lookahead import Finding, check
from backtester.market import MarketData
from backtester.minutes import read_minutes
from backtester.parts import on_grid
from backtester.prepared import BacktestConfig
from backtester.result import Result
from backtester.slippage import MODEL, modelled, read_slippage
from backtester.tick_run import TickRun
from backtester.ticks import CANDLES, RecordedTicks, described, open_ticks
from backtester.universe_file import listed, read_universe
from backtester.venue import Costs
from exchange_simulator.candle_files import UNIVERSE_FILE

ALL = "all"
MAKER_FEE = "0.0002"
REFUSE, LONGEST, PARTS = "refuse", "longest", "parts"
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for. Texts as typed; None means: not given."""

    strategy: str
    data: Path
    from_text: str | None
    to_text: str | None
    overrides: Sequence[str]
    symbols: str | None
    cash: str
    taker_fee: str
    slippage_bps: str
    funding: str
    resume_days: int | None
    bots: Path
    maker_fee: str = MAKER_FEE
    holes: str = REFUSE
    models: Sequence[str] = ()
    models_dir: Path = Path("models")
    ticks: Path | None = None
    gaps: str = REFUSE
    columns: Path | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a back-test needs."""

    strategy: Strategy[Any, Any]
    parameters: Parameters
    changed: tuple[str, ...]
    data: MarketData
    terms: BacktestConfig
    constant_funding: Decimal | None
    left_out: tuple[str, ...] = ()
    ticks: RecordedTicks | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished back-test with all that a report needs."""

    result: Result
    description: Description
    data: MarketData


def carry_out(request: Request) -> Outcome:
    """Run the back-test that was asked for. Misconfigured says in a sentence what is wrong with the request."""
    ready = prepare(request)
    data, terms = ready.data, ready.terms
    fills = ""
    if request.ticks is None or ready.ticks is None:
        result = run(ready.strategy, data, terms)
        if data.minutes:
            fills = f"the order of prices inside a bar from 1-minute candles of {', '.join(sorted(data.minutes))}"
    else:
        on_ticks = TickRun(ready.strategy, data, terms, ready.ticks)
        result = on_ticks.result()
        fills = described(request.ticks, ready.ticks, on_ticks.by_candle)
    symbols = tuple(data.bars)
    description = Description(
        strategy=type(ready.strategy).__name__,
        parameters=texts_of(ready.parameters),
        changed=ready.changed,
        folder=request.data.name,
        symbols=symbols,
        fingerprint=fingerprint_of(data, symbols),
        interval_ms=data.interval_ms,
        from_ms=result.from_ms,
        to_ms=result.to_ms,
        cash=terms.cash,
        costs=terms.costs,
        funding=funding_text(data, ready.constant_funding),
        operator=(
            "never resumes after a halt"
            if request.resume_days is None
            else f"resumes {request.resume_days} days after a halt, at 00:00 UTC"
        ),
        command=_command(request),
        module=type(ready.strategy).__module__,
        left_out=ready.left_out,
        fills=fills,
    )
    return Outcome(result, description, data)


def look_ahead(request: Request, *, bars: int, seed: int) -> list[Finding]:
    """What `alpha check` finds: dependences on what is not known yet. Misconfigured as for `carry_out`."""
    ready = prepare(replace(request, holes=LONGEST) if request.holes == PARTS else request)
    return check(lambda: _fresh(ready), ready.data, bars=bars, seed=seed)


#: More than any account holds; beyond it quantities and percentages lose their digits.
MOST_CASH = Decimal(1_000_000_000_000)
#: A number of an option is zero, or this at least.
FINEST = Decimal("1e-12")


def _fresh(ready: Prepared) -> Strategy[Any, Any]:
    strategy = type(ready.strategy)(ready.parameters)
    strategy.score_source = ready.strategy.score_source
    return strategy


def prepare(request: Request) -> Prepared:
    """Read the data and make the strategy. Misconfigured says in a sentence what is wrong with the request."""
    kind = find_strategy(request.strategy, request.bots)
    cash = cash_of(request.cash)
    constant = _rate(request.funding)
    overrides = parse_overrides(list(request.overrides))
    if request.symbols is not None:
        overrides["symbols"] = _symbols(request.symbols, request.data)
    if request.columns is not None and not request.columns.is_dir():
        raise Misconfigured(f"--columns {request.columns} is not a folder: name the folder that holds the columns.")
    parameters = load_parameters(kind.parameters_type, overrides=overrides)
    strategy = kind(parameters)
    strategy.score_source = _scores(strategy, request)
    wanted_from = None if request.from_text is None else moment_ms(request.from_text, "--from")
    wanted_to = None if request.to_text is None else moment_ms(request.to_text, "--to")
    if wanted_from is not None and wanted_to is not None and wanted_from >= wanted_to:
        raise Misconfigured(f"--from {request.from_text} is not before --to {request.to_text}.")
    if request.holes not in {REFUSE, LONGEST, PARTS}:
        raise Misconfigured(f"--holes must be {REFUSE}, {LONGEST} or {PARTS}, got {request.holes!r}.")
    left_out: list[str] | None = None if request.holes == REFUSE else []
    wanted = strategy.universe.symbols and tuple(dict.fromkeys((*strategy.universe.symbols, *strategy.references)))
    known = read_folder(
        request.data, wanted, from_ms=wanted_from, to_ms=wanted_to, left_out=left_out, parts=request.holes == PARTS
    )
    in_range = ", ".join(known)
    known = listed(known, read_universe(request.data))
    if in_range and not known:
        raise Misconfigured(
            f"{request.data / UNIVERSE_FILE} lists none of the tested coins ({in_range}) while there are candles of them: "
            "add them to it with the days on which they were listed, or remove the file."
        )
    if not known:
        raise Misconfigured(
            f"{request.data} has no candles of the range --from {request.from_text or '(the first)'} "
            f"--to {request.to_text or '(the last)'}. Choose another range, or download it."
        )
    from_ms = min(map(first_ms, known.values())) if wanted_from is None else wanted_from
    to_ms = max(map(end_ms, known.values())) if wanted_to is None else wanted_to
    ticks = _ticks(request, list(known))
    if ticks is not None:
        first, last = ticks.span(next(iter(known.values())).interval_ms)
        from_ms, to_ms = (first if wanted_from is None else from_ms), (last if wanted_to is None else to_ms)
        if request.gaps == REFUSE:
            ticks.refuse_gaps(from_ms, to_ms)
    spans = {symbol: (max(from_ms, first_ms(one)), end_ms(one)) for symbol, one in known.items()}
    data = MarketData(
        {symbol: on_grid(bars) for symbol, bars in known.items()},
        read_funding(request.data, spans, constant),
        read_instruments(request.data, known),
        read_columns(strategy, request.data, known, constant, request.columns),
        read_minutes(request.data, known) if request.ticks is None else {},
    )
    costs = _costs(request, known, cash)
    terms = BacktestConfig(
        from_ms, to_ms, cash, costs, None if request.resume_days is None else request.resume_days * DAY_MS
    )
    changed = tuple(name for name in overrides if name != "symbols")
    return Prepared(strategy, parameters, changed, data, terms, constant, tuple(left_out or ()), ticks)


def _ticks(request: Request, symbols: Sequence[str]) -> RecordedTicks | None:
    if request.gaps not in {REFUSE, CANDLES}:
        raise Misconfigured(f"--gaps must be {REFUSE} or {CANDLES}, got {request.gaps!r}.")
    return None if request.ticks is None else open_ticks(request.ticks, symbols)


def _scores(strategy: Strategy[Any, Any], request: Request) -> ScoreSource | None:
    """The models that were chosen. Misconfigured unless they are those that the strategy uses."""
    chosen: dict[str, str] = {}
    for text in request.models:
        name, _, version = text.partition("=")
        if not version:
            raise Misconfigured(f"--model must be NAME=VERSION, got {text[:60]!r}.")
        chosen[name] = version
    if set(chosen) != set(strategy.models):
        needed = ", ".join(strategy.models) or "no model"
        raise Misconfigured(
            f"The strategy uses {needed}, and --model names {', '.join(chosen) or 'none'}. Give --model NAME=VERSION for each."
        )
    if not chosen:
        return None
    from alpha.scoring.local import LocalScores

    return LocalScores.open(request.models_dir, chosen)


def find_strategy(name: str, bots: Path) -> type[Strategy[Any, Any]]:
    """The strategy class of a bot in the registry, or of `module:Class`."""
    place = name if ":" in name else load_registry(bots).find(name).strategy
    module_name, _, class_name = place.partition(":")
    if not class_name or not all(part.isidentifier() for part in module_name.split(".")):
        raise Misconfigured(
            f"The strategy {place!r} names no class: write module:Class, for example strategies.momentum.strategy:Momentum, "
            "or a bot of bots.toml."
        )
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as fault:
        raise Misconfigured(f"The strategy {place} cannot be loaded: {fault}.") from None
    kind = getattr(module, class_name, None)
    if not inspect.isclass(kind) or not issubclass(kind, Strategy):
        raise Misconfigured(f"{module_name} has no strategy called {class_name!r}.")
    found: type[Strategy[Any, Any]] = kind
    return found


def cash_of(text: str) -> Decimal:
    """The value of --cash in USDT. Misconfigured unless it is above zero and at most MOST_CASH."""
    cash = amount(text, "--cash", most=MOST_CASH)
    if cash <= 0:
        raise Misconfigured(f"--cash must be above zero, not {text[:60]}.")
    return cash


def texts_of(parameters: Parameters) -> dict[str, str]:
    """Every parameter as text, defaults included."""
    texts = {}
    for name, value in parameters.model_dump(mode="json").items():
        if isinstance(value, list):
            texts[name] = ", ".join(map(str, value)) or "-"
        elif isinstance(value, dict):
            texts[name] = ", ".join(f"{key} {one}" for key, one in value.items())
        else:
            texts[name] = str(value)
    return texts


def moment_ms(text: str, option: str) -> int:
    """A UTC date or time as milliseconds: 2025-04-03, 2025-04-03T17:05."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{option} {text!r} is not a date. Write 2025-04-03 or 2025-04-03T17:05 (UTC).") from None
    return ms_of(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _symbols(text: str, folder: Path) -> str:
    names = [part.strip() for part in text.split(",")]
    if text.strip().lower() == ALL:
        universe = read_universe(folder)
        names = [symbol for symbol in symbols_of(folder) if not universe or symbol in universe]
    if text.strip().lower() == ALL and not names:
        raise Misconfigured(
            f"{folder / UNIVERSE_FILE} names none of the coins that {folder} has candles of: add them to it, or remove it."
        )
    if not any(names):
        raise Misconfigured(f"--symbols {text!r} names no symbol: write BTCUSDT,ETHUSDT, or {ALL}.")
    return '["' + '", "'.join(name for name in names if name) + '"]'


def amount(text: str, option: str, most: Decimal | None = None) -> Decimal:
    """A number of an option, from zero to `most`. Misconfigured, naming the option, for anything else."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        comma = " Write it without commas, with a point before decimals." if "," in text else ""
        raise Misconfigured(f"{option} must be a number, got {text!r}.{comma}") from None
    if value.is_finite() and 0 < value < FINEST:
        raise Misconfigured(f"{option} must be zero or at least {FINEST:f}, not {text[:60]}.")
    if not is_usual(value) or value < 0 or (most is not None and value > most):
        limit = "" if most is None else f" and at most {most:,}"
        raise Misconfigured(f"{option} must be a number not below zero{limit}, not {text[:60]}.")
    return value


def _costs(request: Request, known: Mapping[str, Bars], cash: Decimal) -> Costs:
    """Fees, and slippage as a number, by a file, or by the model for orders of the whole cash."""
    taker, maker = _share(request.taker_fee, "--fee"), _share(request.maker_fee, "--maker-fee")
    text = request.slippage_bps.strip()
    if text.lower() == MODEL:
        return Costs(taker, Decimal(2), maker, modelled(known, cash))
    if text.lower().endswith(".csv"):
        found = read_slippage(Path(text))
        # A coin that was never traded costs what the dearest of the others did.
        return Costs(
            taker, max(found.values()), maker, {symbol: bps for symbol, bps in found.items() if symbol in known}
        )
    return Costs(taker, amount(text, "--slippage-bps", most=Decimal(500)), maker)


def _share(text: str, option: str) -> Decimal:
    value = amount(text, option, most=Decimal(1_000_000))
    if value >= Decimal("0.1"):
        raise Misconfigured(f"{option} {text} would be {value * 100:f} % of the value: 0.00055 is 0.055 %.")
    return value


def _rate(text: str) -> Decimal | None:
    """The constant funding rate; None when only recorded rates will do."""
    if text.strip().lower() == "recorded":
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise Misconfigured(f"--funding {text!r} must be a rate such as 0.0001, or the word recorded.") from None
    if not is_usual(value) or abs(value) > Decimal("0.02"):
        raise Misconfigured(f"--funding {text[:60]} is not a rate per 8 hours (example: 0.0001 for 0.01 %).")
    return value


def _command(request: Request) -> str:
    words = ["alpha", "backtest", request.strategy, "--data", request.data.name]
    options = (("--from", request.from_text), ("--to", request.to_text), ("--symbols", request.symbols))
    for option, value in options:
        if value is not None:
            words += [option, value]
    for item in request.overrides:
        words += ["--set", item]
    words += ["--cash", request.cash, "--fee", request.taker_fee, "--slippage-bps", request.slippage_bps]
    if request.maker_fee != MAKER_FEE:
        words += ["--maker-fee", request.maker_fee]
    words += ["--funding", request.funding]
    if request.holes != REFUSE:
        words += ["--holes", request.holes]
    if request.ticks is not None:
        words += ["--ticks", request.ticks.name]
        words += [] if request.gaps == REFUSE else ["--gaps", request.gaps]
    if request.columns is not None:
        words += ["--columns", str(request.columns)]
    for chosen in request.models:
        words += ["--model", chosen]
    if request.resume_days is not None:
        words += ["--resume-days", str(request.resume_days)]
    return shlex.join(words)
