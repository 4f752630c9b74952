"""Command-line options, and a one-sentence message for each invalid one."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from exchange_simulator.engine.model import Rules
from exchange_simulator.exchange import Setup
from exchange_simulator.keys import BadAccount, Key, parse_account
from exchange_simulator.market.awkward import SYMBOLS as AWKWARD
from exchange_simulator.market.awkward import Change, changes
from exchange_simulator.market.catalogue import DEFAULT_SYMBOLS, known
from exchange_simulator.market.catalogue import instrument as usual_instrument
from exchange_simulator.market.generator import GeneratedMarket
from exchange_simulator.market.live import BybitMarket
from exchange_simulator.market.model import PATHS, Market, MarketError
from exchange_simulator.market.replay import open_folder
from exchange_simulator.market.ticks import open_ticks
from exchange_simulator.market.upstream import BYBIT

DEFAULT_START = "2025-01-01"


class BadOption(Exception):
    """The exchange cannot start with these options. The message is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Options:
    """All settings needed to start the exchange."""

    host: str
    port: int
    market: Market
    keys: tuple[Key, ...]
    setup: Setup


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadOption(f"{message[:1].upper()}{message[1:]}. See --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m exchange_simulator", description="A Bybit V5 exchange on this machine.")
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    add("--port", type=int, default=8900, help="port; 0 picks a free one (default %(default)s)")
    add(
        "--account",
        action="append",
        default=[],
        metavar="KEY:SECRET[:USDT[:OPTION,...]]",
        help="an account; repeatable. Also read from SIM_ACCOUNTS, separated by spaces. Options: read-only, withdraw, "
        "no-trade, of=NAME (a further key of that account), uid=NUMBER, usdc=AMOUNT, mnt=AMOUNT, region=NAME, demo, hedge, isolated, env=demo|testnet|live, ends=YYYY-MM-DD, ip=ADDRESS",
    )
    add("--market", choices=("generator", "replay", "live"), help="where prices come from (default generator)")
    add("--replay", metavar="DIR", help="folder of recorded candles, SYMBOL.csv.gz; means --market replay")
    add("--ticks", metavar="DIR", help="folder of the tick recorder: its trades and quotes as they were")
    add("--history", metavar="DIR", help="with --ticks: folder of candles that lie before the first tick")
    add(
        "--upstream",
        metavar="WS_URL",
        help=f"with --market live: the exchange whose prices these are (default {BYBIT})",
    )
    add("--seed", type=int, default=1, help="seed of the market and of ids (default %(default)s)")
    add(
        "--symbols",
        help="symbols, separated by commas (default: 30 of the largest; with --replay or --ticks all of the folder)",
    )
    add(
        "--awkward", action="store_true", help="symbols with awkward filters, a USDC one, a launch, a delisting as well"
    )
    add("--speed", default="1", help="business seconds a wall-clock second, or max (default %(default)s)")
    add("--step", action="store_true", help="time moves only at POST /_sim/advance")
    add("--path", choices=PATHS, default="toward-close", help="order of a candle's extremes (default %(default)s)")
    add("--start", help="business time of the start, as 2025-01-31 or 2025-01-31T12:00 UTC")
    add(
        "--warmup",
        type=int,
        metavar="BARS",
        help="recorded bars before the start (default with --replay 5000, with --ticks, whose bars are minutes, 0)",
    )
    add("--spread-ticks", type=int, default=0, help="best ask less best bid (default %(default)s)")
    add("--slippage-bps", default="0", help="added to every taker price (default %(default)s)")
    add("--depth-usdt", default="0", help="value at one level of the book; 0: without limit (default %(default)s)")
    add("--taker-fee", default="0.00055", help="default %(default)s")
    add("--maker-fee", default="0.0002", help="default %(default)s")
    add("--leverage", default="10", help="leverage of a symbol before it is set (default %(default)s)")
    add("--funding-rate", default="0.0001", help="with --replay or --ticks: the funding rate (default %(default)s)")
    add("--data", metavar="FILE", help="SQLite file that keeps state and history over restarts")
    add("--no-rate-limits", action="store_true", help="no limits on requests")
    add("--faults", action="store_true", help="faults can be asked for at /_sim/faults; also SIM_FAULTS=1")
    return parser


def _number(name: str, text: str, least: Decimal = Decimal(0)) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or value < least:
        raise BadOption(f"{name} {text!r} is not a number of at least {least}.")
    return value


def _start_ms(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadOption(f"--start {text!r} is not a time such as 2025-01-31 or 2025-01-31T12:00.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def parse(argv: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """Parses a command line. Raises `BadOption`."""
    found = _parser().parse_args(argv)
    try:
        keys = tuple(parse_account(text) for text in (*environment.get("SIM_ACCOUNTS", "").split(), *found.account))
    except BadAccount as error:
        raise BadOption(str(error)) from None
    if not 0 <= found.port <= 65535:
        raise BadOption(f"--port {found.port} is not a port: use 0 to 65535.")
    names = [key.api_key for key in keys]
    if twice := [name for name in names if names.count(name) > 1]:
        raise BadOption(f"The account {twice[0]!r} is given twice: every key names one account.")
    symbols = tuple(symbol.strip() for symbol in (found.symbols or "").split(",") if symbol.strip())
    try:
        market, start_ms = _market(found, symbols)
    except MarketError as error:
        raise BadOption(str(error)) from None
    rules = Rules(
        taker_fee=_number("--taker-fee", found.taker_fee, Decimal(-1)),
        maker_fee=_number("--maker-fee", found.maker_fee, Decimal(-1)),
        spread_ticks=int(_number("--spread-ticks", str(found.spread_ticks))),
        slippage_bps=_number("--slippage-bps", found.slippage_bps),
        depth_usdt=_number("--depth-usdt", found.depth_usdt),
        default_leverage=_number("--leverage", found.leverage, Decimal(1)),
        through_ticks=1 if found.step or found.ticks else 0,
    )
    speed = 0.0 if found.speed == "max" else float(_number("--speed", found.speed))
    if found.speed != "max" and not speed:
        raise BadOption("--speed must be above 0, or max. Use --step for a step clock.")
    setup = Setup(
        rules=rules,
        seed=found.seed,
        path=found.path,
        start_ms=start_ms,
        speed=speed,
        step_clock=found.step,
        data=Path(found.data) if found.data else None,
        rate_limits=not found.no_rate_limits,
        present=not found.start and found.speed == "1" and not found.step and isinstance(market, GeneratedMarket),
        changes=_changes(market, start_ms) if found.awkward else (),
        faults=found.faults or environment.get("SIM_FAULTS", "") not in ("", "0"),
    )
    return Options(found.host, found.port, market, keys, setup)


def _changes(market: Market, start_ms: int) -> tuple[Change, ...]:
    usual = {
        symbol: usual_instrument(symbol, price=Decimal(repr(known(symbol).price)), launch_ms=0)
        for symbol in market.instruments
        if symbol in AWKWARD
    }
    return changes(usual, start_ms)


def _market(found: argparse.Namespace, symbols: tuple[str, ...]) -> tuple[Market, int]:
    """Returns the market and the business time at which trading starts; a live market sets it at startup."""
    if found.awkward and (found.replay or found.ticks or found.market not in (None, "generator")):
        raise BadOption("--awkward belongs to the generator: leave --replay, --ticks and --market out.")
    if found.history and not found.ticks:
        raise BadOption("--history belongs to --ticks: leave it out.")
    if found.ticks and (found.replay or found.market or found.upstream):
        raise BadOption("--ticks is a market of its own: leave --market, --replay and --upstream out.")
    chosen = found.market or ("replay" if found.replay else "generator")
    if (chosen == "replay") != bool(found.replay):
        raise BadOption("--market replay needs --replay DIR, and --replay DIR no other market.")
    if found.upstream and chosen != "live":
        raise BadOption("--upstream belongs to --market live.")
    if chosen == "live":
        if found.step or found.speed != "1" or found.start:
            raise BadOption("--market live follows its upstream's time: leave --step, --speed and --start out.")
        return BybitMarket(found.upstream or BYBIT, symbols or None), 0
    if chosen == "replay" or found.ticks:
        rate = _number("--funding-rate", found.funding_rate, Decimal(-1))
        market: Market
        if found.ticks:
            history = Path(found.history) if found.history else None
            market = open_ticks(Path(found.ticks), symbols=symbols, funding_rate=rate, history=history)
            warmup, begins_ms = 0, market.first_ms if history is None else market.ticks_from_ms
        else:
            market, warmup = open_folder(Path(found.replay), symbols=symbols, funding_rate=rate), 5_000
            begins_ms = market.first_ms
        warmup = warmup if found.warmup is None else found.warmup
        if warmup < 0:
            raise BadOption(f"--warmup {warmup} must not be below 0.")
        start = _start_ms(found.start) if found.start else begins_ms + warmup * market.base_ms
    else:
        chosen_symbols = symbols or DEFAULT_SYMBOLS
        if found.awkward:
            chosen_symbols += tuple(symbol for symbol in AWKWARD if symbol not in chosen_symbols)
        market = GeneratedMarket(found.seed, chosen_symbols)
        start = _start_ms(found.start or DEFAULT_START)
        if not found.start and found.speed == "1" and not found.step:
            start = int(datetime.now(UTC).timestamp() * 1000)
    if start < market.first_ms or (market.end_ms is not None and start >= market.end_ms):
        first, end = _day(market.first_ms), _day(market.end_ms) if market.end_ms is not None else "open"
        raise BadOption(
            f"Trading would begin at {_day(start)}, outside the market's {first} to {end}: "
            "choose another --start or a smaller --warmup."
        )
    return market, start


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M")
