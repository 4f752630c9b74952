"""Back-tests on recorded ticks: who fills at what, and what happens where ticks are missing."""

from decimal import Decimal
from pathlib import Path
from shutil import copytree

import pytest

from alpha.errors import Misconfigured
from alpha.model.reason import Reason
from alpha.model.side import Direction
from alpha.strategy.resting import RestingOrder, Role
from backtester.command import Outcome, Request, carry_out
from backtester.ticks import Quote, TickVenue, open_ticks
from backtester.venue import Costs
from tests.parity.random_runs import SYMBOLS, bots_file
from tests.parity.test_ticks import BARS, START, made
from tests.support.recorded_ticks import write
from tick_recorder.schema import Kind

D = Decimal
START_MS = int(START.timestamp() * 1000)


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The folders of ticks and candles, and the registry of bots."""
    folder = tmp_path_factory.mktemp("market")
    return (*made(folder, 2), bots_file(folder))


def back_test(
    market: tuple[Path, Path, Path], *, ticks: Path | None, gaps: str = "refuse", **more: str | None
) -> Outcome:
    asked = {"from_text": START.isoformat(), "to_text": None, "symbols": ",".join(SYMBOLS), **more}
    return carry_out(
        Request(
            strategy="shortseller",
            data=market[1],
            overrides=["seed=2"],
            cash="100000",
            taker_fee="0.00055",
            slippage_bps="0",
            funding="0.0001",
            resume_days=None,
            bots=market[2],
            ticks=ticks,
            gaps=gaps,
            **asked,  # type: ignore[arg-type]
        )
    )


def test_fills_are_at_recorded_prices_and_times_and_the_report_says_so(market: tuple[Path, Path, Path]) -> None:
    on_ticks, on_candles = back_test(market, ticks=market[0]), back_test(market, ticks=None)
    assert len(on_ticks.result.fills) > 5
    assert on_ticks.result.fills != on_candles.result.fills
    times = {symbol: set(one.time_ms.tolist()) for symbol, one in open_ticks(market[0], SYMBOLS).by_symbol.items()}
    at_opens = [fill for fill in on_ticks.result.fills if (fill.time_ms - START_MS) % 300_000 == 0]
    others = [fill for fill in on_ticks.result.fills if fill not in at_opens]
    assert others
    assert all(fill.time_ms in times[fill.symbol] for fill in others)
    rows = dict(on_ticks.description.rows())
    assert rows["Fills"] == "recorded trades and quotes of ticks, 3 symbols"
    assert "--ticks ticks" in rows["Command"]
    assert "Fills" not in dict(on_candles.description.rows())


def test_without_a_range_it_is_that_of_the_ticks(market: tuple[Path, Path, Path]) -> None:
    result = back_test(market, ticks=market[0], from_text=None).result
    assert (result.from_ms, result.to_ms) == (START_MS - (2 * 24 + 7) * 3_600_000, START_MS + (BARS + 1) * 300_000)


def test_a_gap_is_refused_or_walked_by_candles_and_counted(market: tuple[Path, Path, Path], tmp_path: Path) -> None:
    ticks = copytree(market[0], tmp_path / "ticks")
    gap = {"ts": START_MS + 1_000_000, "until": START_MS + 4_000_000, "kind": "bbo", "symbol": "ETHUSDT"}
    write(
        ticks, Kind.GAPS, [{**gap, "gap_id": "a", "state": "closed", "reason": "cut", "received": START_MS}], "ETHUSDT"
    )
    with pytest.raises(Misconfigured, match=r"Ticks of ETHUSDT are missing from 2025-01-03 07:16 .*\(cut\)"):
        back_test(market, ticks=ticks)
    with_candles = back_test(market, ticks=ticks, gaps="candles")
    assert "bars with gaps by their candles" in dict(with_candles.description.rows())["Fills"]
    assert "--gaps candles" in with_candles.description.command


def test_with_every_tick_missing_it_is_the_back_test_on_candles(
    market: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    ticks = copytree(market[0], tmp_path / "ticks")
    for symbol in SYMBOLS:
        gap = {"ts": 0, "until": None, "kind": "trades", "symbol": symbol, "gap_id": symbol, "state": "open"}
        write(ticks, Kind.GAPS, [{**gap, "reason": "cut", "received": START_MS}], symbol)
    assert back_test(market, ticks=ticks, gaps="candles").result.fills == back_test(market, ticks=None).result.fills


def test_a_wrong_choice_is_one_sentence(market: tuple[Path, Path, Path], tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="holds no recorded trades"):
        back_test(market, ticks=tmp_path)
    with pytest.raises(Misconfigured, match="--gaps must be refuse or candles, got 'guess'"):
        back_test(market, ticks=market[0], gaps="guess")
    with pytest.raises(Misconfigured, match="has no trades of BTCUSDT"):
        open_ticks(market[0], ("BTCUSDT",))


def test_a_taker_pays_the_best_price_and_one_tick_more_for_what_exceeds_its_size(
    market: tuple[Path, Path, Path],
) -> None:
    instruments = back_test(market, ticks=market[0], gaps="candles").data.instruments
    venue = TickVenue(D(100_000), Costs(), instruments, D(5)).begin()
    venue.last["ETHUSDT"], venue.best["ETHUSDT"] = 3400.0, Quote(3399.9, 1.0, 3400.1, 3.0)
    assert venue.open("ETHUSDT", Direction.LONG, D(4), 0).entry_price == D("3400.1025")
    assert venue.slipped("ETHUSDT", D(3400), buy=False, qty=D(1)) == D("3399.9")
    venue.best["ETHUSDT"] = Quote(float("nan"), float("nan"), 3400.1, 3.0)
    assert venue.slipped("ETHUSDT", D(3400), buy=False, qty=D(1)) == D(3400)


def test_a_resting_order_fills_by_a_quote_at_it_and_by_a_trade_beyond_it_but_not_by_a_touch(
    market: tuple[Path, Path, Path],
) -> None:
    instruments = back_test(market, ticks=market[0]).data.instruments
    for sign, direction in ((-1, Direction.LONG), (1, Direction.SHORT)):
        for quoted, by, fills in ((False, 0, 0), (False, 1, 1), (True, 0, 1), (True, -1, 0)):
            venue = TickVenue(D(100_000), Costs(), instruments, D(5)).begin()
            venue.last["ETHUSDT"], venue.best["ETHUSDT"] = 3400.0, Quote(3399.0, 1.0, 3401.0, 1.0)
            order = RestingOrder(
                ref="r", role=Role.ENTRY, symbol="ETHUSDT", direction=direction, price=D(3400) + sign * 10, qty=D(1),
                bar_ms=0, close_ms=0, intent="", reason=Reason.ENTRY,
            )  # fmt: skip
            venue.place(order, 0)
            at = 3400 + sign * 10 + sign * by * 0.01
            if quoted:
                venue.quoted("ETHUSDT", Quote(at, 1.0, 3500.0, 1.0) if sign > 0 else Quote(3300.0, 1.0, at, 1.0), 1)
            else:
                venue.traded("ETHUSDT", at, 1)
            assert [fill.price for fill in venue.fills] == [order.price] * fills, (direction, quoted, by)
