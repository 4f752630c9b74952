"""Values, votes and ratings: nothing after a candle changes them, and each vote is as docs/analysis.md says."""

from pathlib import Path

import numpy as np
import pytest

from alpha.analysis import (
    KINDS,
    Analysis,
    analyse,
    analyse_together,
    consecutive_tail,
    label_of,
    parse_definition,
    read_definition,
)
from alpha.errors import Misconfigured
from alpha.model.interval import INTERVAL_MS
from alpha.timeframes import Columns, from_place

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = read_definition(ROOT / "analysis_service" / "analysis.toml")
#: A Thursday, 00:00 UTC.
END_MS = 1_700_092_800_000
EVERY_KIND = parse_definition('intervals = ["5"]\n' + "".join(f'[[indicator]]\nkind = "{name}"\n' for name in KINDS))


def candles(count: int, interval: str, seed: int = 1) -> Columns:
    """A random walk whose last candle ends at a boundary of the interval."""
    rng = np.random.default_rng(seed)
    length = INTERVAL_MS[interval]
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, 0.004, count)))
    opened = np.concatenate(([100.0], close[:-1]))
    high = np.maximum(opened, close) * (1.0 + rng.random(count) * 0.002)
    low = np.minimum(opened, close) * (1.0 - rng.random(count) * 0.002)
    starts = END_MS - length * np.arange(count, 0, -1, dtype=np.int64)
    return Columns(starts, opened, high, low, close, np.round(rng.random(count) * 1_000.0, 3))


@pytest.mark.parametrize("interval", ["15", "240", "D"])
def test_nothing_after_a_candle_changes_what_is_said_of_it(interval: str) -> None:
    length = INTERVAL_MS[interval]
    warm = max(indicator.history(length) for indicator in EVERY_KIND.indicators)
    whole = candles(warm + 300, interval)
    offline = analyse(whole, length, EVERY_KIND, 300)
    rng = np.random.default_rng(2)
    noise = Columns(whole.start_ms, *(values * (1.0 + rng.normal(0, 0.2, len(values))) for values in whole[1:]))
    for place in sorted(rng.choice(300, 25, replace=False)):
        cut = warm + int(place) + 1
        deleted = Columns(*(column[:cut] for column in whole))  # type: ignore[arg-type]
        replaced = Columns(
            whole.start_ms, *(np.concatenate((a[:cut], b[cut:])) for a, b in zip(whole[1:], noise[1:], strict=True))
        )
        (alone,) = analyse(deleted, length, EVERY_KIND)
        # a process that started later has less history
        (short,) = analyse(from_place(deleted, -warm), length, EVERY_KIND)
        noisy = analyse(replaced, length, EVERY_KIND, 300)[place]
        assert _bits(alone) == _bits(short) == _bits(noisy) == _bits(offline[place])
        assert None not in alone.values


@pytest.mark.parametrize("last", [1, 3])
@pytest.mark.parametrize("interval", ["5", "240", "D", "W"])
def test_symbols_analysed_together_get_the_bits_of_one_alone(interval: str, last: int) -> None:
    length = INTERVAL_MS[interval]
    warm = max(indicator.history(length) for indicator in EVERY_KIND.indicators)
    windows = [candles(warm + 40, interval, seed) for seed in range(9)]
    # a market without any trade, one listed lately, one whose newest candle is late, one without candles
    still = np.full(warm + 40, 7.0)
    windows.append(Columns(windows[0].start_ms, still, still, still, still, still * 0.0))
    windows.append(from_place(candles(warm + 40, interval, 20), -25))
    windows.append(Columns(*(column[:-1] for column in candles(warm + 40, interval, 21))))  # type: ignore[arg-type]
    windows.append(candles(0, interval))
    # the first half of a day without any trade: its averages begin later
    quiet = [column.copy() for column in candles(warm + 40, interval, 22)]
    for column in quiet[1:]:
        column[: warm // 2] = column[0]
    windows.append(Columns(*quiet))  # type: ignore[arg-type]
    together = analyse_together(windows, length, EVERY_KIND, last)
    assert [len(rows) for rows in together] == [last] * 12 + [0, last]
    for rows, window in zip(together, windows, strict=True):
        assert [*map(_bits, rows)] == [*map(_bits, analyse(window, length, EVERY_KIND, last))]


def _bits(analysis: Analysis) -> tuple[object, ...]:
    values = tuple(None if value is None else value.hex() for value in analysis.values)
    return (analysis.closed_ms, values, analysis.votes, analysis.rating)


def test_what_lacks_history_is_missing_and_does_not_vote() -> None:
    definition = parse_definition(
        'intervals = ["60"]\n[[indicator]]\nkind = "sma"\nperiod = 3\n[[indicator]]\nkind = "sma"\nperiod = 50\n'
    )
    (newest,) = analyse(candles(10, "60"), INTERVAL_MS["60"], definition)
    assert newest.values[1] is None
    assert newest.votes[1] is None
    assert newest.averages in {1.0, 0.0, -1.0}
    assert newest.oscillators is None
    assert newest.rating == newest.averages
    assert analyse(candles(0, "60"), INTERVAL_MS["60"], definition) == []


def test_nothing_is_computed_across_a_hole() -> None:
    whole = candles(50, "5")
    values = [np.delete(column, 30) for column in whole[1:]]
    holed = Columns(np.delete(whole.start_ms, 30), *values)
    tail = consecutive_tail(holed, INTERVAL_MS["5"])
    assert tail.start_ms.tolist() == whole.start_ms[31:].tolist()


def _vote(kind: str, close: list[float], text: str = "", spread: float = 0.0) -> int | None:
    """The vote of one indicator about the last of these closes, on weekly candles."""
    definition = parse_definition(f'intervals = ["W"]\n[[indicator]]\nkind = "{kind}"\n{text}\n')
    values = np.array(close, dtype=np.float64)
    starts = np.arange(len(close), dtype=np.int64) * INTERVAL_MS["W"]
    made = Columns(starts, values, values + spread, values - spread, values, np.full(len(close), 10.0))
    return analyse(made, INTERVAL_MS["W"], definition)[0].votes[0]


@pytest.mark.parametrize(
    ("kind", "buy", "sell", "neutral", "text"),
    [
        ("sma", [1, 1, 2], [2, 2, 1], [1, 1, 1], "period = 2"),
        ("ema", [1.0] * 20 + [2], [2.0] * 20 + [1], [1.0] * 20, "period = 3"),
        ("donchian", [1, 2, 3], [3, 2, 1], [1, 3, 2], "period = 3"),
        ("change", [1, 2, 3], [3, 2, 1], [1, 2, 1], "period = 2"),
        ("obv", [1, 2, 3], [3, 2, 1], [1, 2, 1], "period = 2"),
        ("z_score", [5, 5, 5, 1], [5, 5, 5, 9], [5, 5, 4, 5], "period = 4\nlimit = 1.2"),
        ("bollinger", [5, 5, 5, 1], [5, 5, 5, 9], [5, 5, 4, 5], "period = 4\ndeviations = 1.2"),
        ("macd", [1.0] * 40 + [2], [2.0] * 40 + [1], [1.0] * 40, "fast = 2\nslow = 4\nsignal = 2"),
        # falls for long, then rises a little: below 30 and rising
        ("rsi", [*range(60, 20, -1), 21.5], [*range(20, 60), 58.5], [1, 2] * 30, "period = 3"),
        ("cci", [*range(60, 20, -1), 21.8], [*range(20, 60), 58.2], [1, 2] * 30, "period = 5\nlow = -30\nhigh = 30"),
        ("mfi", [*range(60, 20, -1), 21.5], [*range(20, 60), 58.5], [1, 2] * 30, "period = 6\nlow = 30\nhigh = 70"),
        ("stochastic", [*range(60, 20, -1), 22], [*range(20, 60), 58], [1, 2] * 30, "period = 10\nsmooth = 1\nd = 3\nlow = 25\nhigh = 75"),
        ("adx", [float(x) for x in range(1, 80)], [float(x) for x in range(80, 1, -1)], [5.0] * 80, "period = 3"),
        ("supertrend", [float(x) for x in range(1, 80)], [float(x) for x in range(80, 1, -1)], [], "period = 3"),
        ("keltner", [5.0] * 60 + [9], [5.0] * 60 + [1], [5.0] * 60, "period = 3\natr_period = 5\nmultiple = 0.5"),
    ],
)  # fmt: skip
def test_each_vote_is_as_documented(
    kind: str, buy: list[float], sell: list[float], neutral: list[float], text: str
) -> None:
    assert _vote(kind, buy, text, 0.3) == 1
    assert _vote(kind, sell, text, 0.3) == -1
    if neutral:
        assert _vote(kind, neutral, text, 0.3) == 0


def test_vwap_votes_by_the_day_so_far() -> None:
    definition = parse_definition('intervals = ["60"]\n[[indicator]]\nkind = "vwap"\n')
    whole = candles(48, "60")
    rising = whole._replace(close=whole.close + 50.0)
    assert analyse(rising, INTERVAL_MS["60"], definition)[0].votes == (1,)
    assert analyse(whole._replace(close=whole.close - 50.0), INTERVAL_MS["60"], definition)[0].votes == (-1,)


def test_atr_and_relative_volume_do_not_vote() -> None:
    assert _vote("atr", list(range(40)), "period = 2") is None
    assert _vote("relative_volume", list(range(40)), "period = 2") is None


def test_a_rating_is_the_mean_of_both_halves() -> None:
    text = "".join(f'[[indicator]]\nkind = "sma"\nperiod = {n}\n' for n in (2, 3, 4))
    definition = parse_definition(f'intervals = ["D"]\n{text}[[indicator]]\nkind = "change"\nperiod = 1\n')
    made = candles(10, "D")
    falling = made._replace(close=np.array([9.0, 9, 9, 9, 9, 9, 9, 9, 12, 11]))
    (newest,) = analyse(falling, INTERVAL_MS["D"], definition)
    # above the averages of 3 and 4, below that of 2, and lower than the day before
    assert newest.votes == (-1, 1, 1, -1)
    assert newest.averages == pytest.approx(1 / 3)
    assert newest.oscillators == -1.0
    assert newest.rating == pytest.approx(-1 / 3)


def test_labels() -> None:
    said = [label_of(rating) for rating in (-0.51, -0.5, -0.11, -0.1, 0.1, 0.11, 0.5, 0.51, None)]
    assert said == [
        *("strong sell", "sell", "sell", "neutral", "neutral", "buy", "buy", "strong buy"),
        None,
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs intervals"),
        ("intervals = ['5']", "lists no indicator"),
        ("intervals = ['7']\n[[indicator]]\nkind='rsi'", "interval '7' does not exist"),
        ("intervals = ['M']\n[[indicator]]\nkind='rsi'", "interval 'M' does not exist"),
        ("intervals = ['3', '5']\n[[indicator]]\nkind='rsi'", "'5' is not a multiple of the shortest interval '3'"),
        ("intervals = ['5', '5']\n[[indicator]]\nkind='rsi'", "an interval twice"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsj'", "kind 'rsj' does not exist"),
        (
            "intervals = ['5']\n[[indicator]]\nkind='rsi'\nperiod=0",
            "period must be a whole number from 1 to 100000, got 0",
        ),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nperiod=-3", "got -3"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nperiod=1.5", "got 1.5"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nperiod='14'", "got '14'"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nperiod=true", "got True"),
        ("intervals = ['5']\n[[indicator]]\nkind='bollinger'\ndeviations=nan", "got nan"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nlength=14", "'length' is not one of its parameters"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\nlow=70", "low must be below high"),
        ("intervals = ['5']\n[[indicator]]\nkind='macd'\nfast=26", "fast must be below slow"),
        ("intervals = ['5']\n[[indicator]]\nkind='ema'\nperiod=9999", "needs 50,283 closed candles"),
        ("intervals = ['5']\n[[indicator]]\nkind='rsi'\n[[indicator]]\nkind='rsi'", "are the same: rsi_14"),
        ("intervals = ['5']\nindicators = 1", "'indicators' is not known"),
        ("intervals = [5]\n[[indicator]]\nkind='rsi'", "needs intervals"),
        ("intervals = [", "not valid TOML"),
    ],
)
def test_bad_input_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        parse_definition(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_hash_is_of_what_is_computed_not_of_the_text() -> None:
    text = 'intervals = ["5"]\n[[indicator]]\nkind = "rsi"\n'
    same = parse_definition('# why\nintervals = ["60"]\n[[indicator]]\nperiod = 14\nkind = "rsi"\n')
    assert parse_definition(text).schema == same.schema
    assert parse_definition(f"{text}period = 15\n").schema != same.schema
    assert parse_definition(f"{text}low = 25\n").schema != same.schema


def test_shipped_definitions_are_the_same_but_for_the_intervals() -> None:
    demo = read_definition(ROOT / "demo" / "analysis.toml")
    assert demo.schema == SHIPPED.schema
    assert SHIPPED.intervals == ("5", "15", "30", "60", "240", "D", "W")
    assert len(SHIPPED.indicators) == 20
