"""Features from recorded ticks: what was known at the bar's end, nothing where anything is missing, and no bot gets them."""

import importlib.util
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from alpha.errors import Misconfigured
from alpha.model.timestamp import at
from alpha.scoring.features import FeatureSet
from alpha.scoring.local import Session, score_bars
from alpha.scoring.manifest import read_artefact
from alpha.strategy.bars import Bars
from alpha_cli.main import main
from research.models.dataset import columns_of
from research.models.markets import START_MS, random_walk, write_folder
from research.models.order_flow import Ticks, order_flow
from research.models.proof import small_config
from research.models.train import Trained, save, train
from tick_recorder.gaps import GapState
from tick_recorder.read import read_gaps, read_ticks
from tick_recorder.schema import SCHEMAS, Kind, hour_of
from tick_recorder.store import TickStore

trains = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("lightgbm", "onnxmltools", "onnxruntime")),
    reason="the packages of the extra `train` are not installed: python locks/install.py locks/train.lock",
)
BAR_MS = 300_000
SYMBOL = "SOLUSDT"
MONEYED = ("size", "price", "bid_price", "ask_price", "bid_size", "ask_size")


def write(store: TickStore, kind: Kind, rows: list[dict[str, object]]) -> None:
    """Store rows; `ts` is in milliseconds, `received_ms` None for an import, else 20 ms later unless it is given."""
    made = []
    for ordinal, row in enumerate(rows):
        ts = int(str(row["ts"]))
        came = row.pop("received_ms", ts + 20)
        received = None if came is None else at(int(str(came)))
        numbers = {name: Decimal(str(row[name])) for name in MONEYED if row.get(name) is not None}
        made.append(
            {**dict.fromkeys(SCHEMAS[kind]), **row, **numbers, "ts": at(ts), "received": received, "ordinal": ordinal}
        )
    frame = pl.DataFrame(made, schema=dict(SCHEMAS[kind]))
    for (hour,), part in frame.group_by(pl.col("ts").dt.timestamp("ms") // 3_600_000, maintain_order=True):
        store.write_part(kind, SYMBOL, hour_of(int(str(hour)) * 3_600_000), part)


def taken(ts: int, side: str, size: str, **more: object) -> dict[str, object]:
    """A trade."""
    return {"ts": ts, "side": side, "size": size, "price": "100", **more}


def quote(ts: int, bid: str | None, ask: str | None) -> dict[str, object]:
    """A best bid and ask."""
    return {"ts": ts, "bid_price": bid, "ask_price": ask, "bid_size": "1", "ask_size": "1"}


def gap(ts: int, until: int | None, kind: Kind = Kind.TRADES) -> dict[str, object]:
    """A gap that is over, or lasts."""
    state = GapState.CLOSED if until is not None else GapState.OPEN
    until_at = None if until is None else at(until)
    return {
        "ts": ts,
        "gap_id": f"g{ts}",
        "kind": kind,
        "symbol": SYMBOL,
        "until": until_at,
        "reason": "cut",
        "state": state,
    }


def ticks_in(folder: Path) -> Ticks:
    return Ticks(folder, read_ticks, read_gaps)


def steady(store: TickStore, bars: int) -> None:
    """From a bar before to a bar after: in each bar two trades and two quotes."""
    starts = [START_MS + number * BAR_MS for number in range(-1, bars + 1)]
    write(
        store,
        Kind.TRADES,
        [
            taken(start + at_ms, side, size)
            for start in starts
            for at_ms, side, size in ((10, "Buy", "3"), (200_000, "Sell", "1"))
        ],
    )
    write(
        store,
        Kind.BBO,
        [
            quote(start + at_ms, bid, ask)
            for start in starts
            for at_ms, bid, ask in ((10, "99.99", "100.01"), (9_000, "99.98", "100.02"))
        ],
    )


def test_bars_hold_what_was_known_at_their_end(tmp_path: Path) -> None:
    store, bars = TickStore(tmp_path), random_walk(1, 24, SYMBOL)
    steady(store, 24)
    end = START_MS + 3 * BAR_MS
    write(
        store,
        Kind.TRADES,
        [
            taken(end - 1_000, "Buy", "5", received_ms=None),  # of an archive
            taken(end - 500, "Buy", "7", received_ms=end + 1),  # after the bar's end: in no bar
            taken(end - 400, "Sell", "9", block=True),
            taken(end, "Sell", "11", received_ms=end + 20),  # in the next bar
        ],
    )
    write(store, Kind.BBO, [quote(end - 100, None, "100")])
    flow = order_flow(ticks_in(tmp_path), bars)
    assert (flow.bought[2], flow.sold[2], flow.trades[2]) == (8.0, 1.0, 3.0)
    assert (flow.bought[3], flow.sold[3], flow.trades[3]) == (3.0, 12.0, 3.0)
    assert (flow.bought[1:2].tolist(), flow.sold[1:2].tolist()) == ([3.0], [1.0])
    assert flow.spread[1:4] == pytest.approx([3.0, 3.0, 3.0])
    rows = FeatureSet(["imbalance(1)", "imbalance(2)", "trades(2)", "spread(1)"], "5").compute(columns_of(bars), flow)
    assert rows[2].tolist() == pytest.approx([7 / 9, 9 / 13, 2.5, 3.0])


def test_what_was_not_recorded_whole_is_missing_and_never_zero(tmp_path: Path) -> None:
    store, bars = TickStore(tmp_path), random_walk(1, 48, SYMBOL)
    steady(store, 20)
    steady_later = [START_MS + number * BAR_MS for number in range(36, 60)]
    write(store, Kind.TRADES, [taken(start + 10, "Buy", "1") for start in steady_later])  # an hour without any file
    write(store, Kind.GAPS, [gap(START_MS + 4 * BAR_MS + 50, START_MS + 6 * BAR_MS + 1)])
    fetched = START_MS + 8 * BAR_MS + 100
    write(store, Kind.TRADES, [taken(fetched, "Buy", "1", received_ms=fetched + 3_600_000)])
    flow = order_flow(ticks_in(tmp_path), bars, ("trades",))
    missing = np.isnan(flow.trades)
    assert np.flatnonzero(missing).tolist() == [4, 5, 6, 8, *range(24, 36)]
    assert np.isnan(flow.bought[missing]).all()
    assert np.isnan(flow.spread).all()
    rows = FeatureSet(["trades(3)"], "5").compute(columns_of(bars), flow)
    assert np.isnan(rows[4:11, 0]).tolist() == [True] * 7, "a window over a missing bar has no value"
    assert not np.isnan(rows[11, 0])
    # a gap that lasts; before the first row and after the last one
    write(store, Kind.GAPS, [gap(START_MS + 40 * BAR_MS, None)])
    assert np.isnan(order_flow(ticks_in(tmp_path), bars, ("trades",)).trades[40:]).all()
    late = random_walk(1, 80, SYMBOL)
    assert np.isnan(order_flow(ticks_in(tmp_path), late, ("trades",)).trades[60:]).all()
    with pytest.raises(Misconfigured, match="No trades of LTCUSDT from 2025-01-01 00:00 to"):
        order_flow(ticks_in(tmp_path), random_walk(1, 48, "LTCUSDT"))


def test_later_ticks_change_nothing_before_them(tmp_path: Path) -> None:
    store, bars = TickStore(tmp_path), random_walk(1, 24, SYMBOL)
    steady(store, 24)
    before = order_flow(ticks_in(tmp_path), bars)
    write(store, Kind.TRADES, [taken(START_MS + 12 * BAR_MS, "Buy", "1000")])
    after = order_flow(ticks_in(tmp_path), bars)
    assert after.bought[:12].tobytes() == before.bought[:12].tobytes()
    assert after.bought[12] == before.bought[12] + 1000


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bars, Path]:
    """Candles and a week of ticks beside them, whose imbalance leads the price; a tenth was not recorded."""
    folder = tmp_path_factory.mktemp("ticks")
    bars, store = random_walk(5, 2_000, SYMBOL, effect=1.5), TickStore(folder)
    leaning = np.log(bars.volume / 100)
    rows = []
    for start, lean in zip(bars.start_ms.tolist(), leaning.tolist(), strict=True):
        buys = 1 / (1 + np.exp(-2 * lean))
        rows.append(taken(start + 10, "Buy", f"{100 * buys + 0.01:.3f}"))
        rows.append(taken(start + 20, "Sell", f"{100 * (1 - buys) + 0.01:.3f}"))
    write(store, Kind.TRADES, rows)
    write(store, Kind.GAPS, [gap(int(bars.start_ms[1_500]), int(bars.start_ms[1_700]))])
    return bars, folder


def trained_on(recorded: tuple[Bars, Path], models: Path, said: list[str] | None = None) -> Trained:
    """A model of ticks and candles."""
    bars, folder = recorded
    config = msgspec.structs.replace(small_config(), features=["imbalance(3)", "trades(3)", "rsi(14)"])
    return train(config, {SYMBOL: bars}, models, ticks=ticks_in(folder), say=(said if said is not None else []).append)


@trains
def test_a_model_of_ticks_is_trained_on_recorded_bars_alone_and_trades_nowhere(
    recorded: tuple[Bars, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    trained = trained_on(recorded, tmp_path, said)
    assert any("recorded whole in 1,798 of 2,000 bars" in sentence for sentence in said), said
    assert not set(range(1_500, 1_700)) & set(trained.panel.bar.tolist())
    manifest = trained.manifest
    assert manifest.is_null, "whatever it is worth"
    assert manifest.why.startswith(
        "It cannot be promoted: proof uses imbalance(3), trades(3), which come from recorded ticks, and neither a bot nor"
    )
    assert set(manifest.data) == {SYMBOL, f"{SYMBOL} ticks"}
    folder = save(trained, tmp_path)
    artefact = read_artefact(folder)
    # the server may serve it; a back-test and a bot refuse it, as does the record
    scored = score_bars(Session(artefact), SYMBOL, BAR_MS, columns_of(recorded[0]))
    assert np.isnan(scored.values).all()
    assert scored.texts[0].startswith("refused: proof uses imbalance(3)")
    assert main(["model", "register", "proof", artefact.short, "--models", str(tmp_path)]) == 2
    assert "Not registered: proof uses imbalance(3), trades(3)" in capsys.readouterr().err


@trains
def test_the_command(recorded: tuple[Bars, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bars, folder = recorded
    data = write_folder(tmp_path / "data", [bars])
    config = tmp_path / "flow.toml"
    config.write_text(
        'name = "flow"\ninterval = "5"\nfeatures = ["imbalance(3)", "rsi(14)"]\n'
        "[costs]\nfee = 0.0001\n[validation]\nfolds = 3\nresamples = 200\nnoise_refits = 1\n"
        "[search]\nnum_leaves = [7]\nrounds = [20]\nmin_rows_in_leaf = [100]\n[serving]\ndrift_bars = 400\n"
    )
    command = ["model", "train", "--config", str(config), "--data", str(data), "--models", str(tmp_path)]
    assert main(command) == 2
    assert "imbalance(3) come from recorded ticks: name their folder with --ticks." in capsys.readouterr().err
    assert main([*command, "--ticks", str(tmp_path / "nothing")]) == 2
    assert "No trades of SOLUSDT from 2025-01-01 00:00" in capsys.readouterr().err
    assert main([*command, "--ticks", str(folder)]) == 0
    assert "null: It cannot be promoted" in capsys.readouterr().out


def test_ticks_are_counted_by_base_bars() -> None:
    with pytest.raises(Misconfigured, match="leave out @60"):
        FeatureSet(["imbalance(3)@60"], "5")
    without = FeatureSet(["trades(1)", "change(1)"], "5").compute(columns_of(random_walk(1, 5)))
    assert np.isnan(without[:, 0]).all()
