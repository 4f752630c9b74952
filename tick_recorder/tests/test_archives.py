"""Archives of Bybit and Binance, export, and the commands."""

import gzip
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from alpha.errors import Misconfigured, Rejected
from alpha.model.timestamp import at
from alpha_cli.main import main
from tick_recorder import archives
from tick_recorder.archives import import_archive
from tick_recorder.columns import to_frame
from tick_recorder.export import EVENT, events
from tick_recorder.frames import Trade
from tick_recorder.gaps import Gap
from tick_recorder.order_book import Bbo, Depth
from tick_recorder.read import read_ticks
from tick_recorder.schema import HOUR_MS, Kind
from tick_recorder.store import TickStore

T0 = 1_704_067_200_000
BYBIT = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TickStore]:
    """An open, empty store."""
    found = TickStore(tmp_path / "ticks")
    found.open()
    yield found
    found.close()


def bybit(folder: Path, count: int, *, first: int = 0, header: str = BYBIT) -> Path:
    """An archive of Bybit, two trades per millisecond."""
    rows = [
        f"{(T0 + n // 2) / 1000:.3f}{n % 2}5,BTCUSDT,{'Buy' if n % 3 else 'Sell'},0.01,{42000 + n}.5,PlusTick,id-{n},1,1,1\n"
        for n in range(first, count)
    ]
    path = folder / "BTCUSDT2024-01-01.csv.gz"
    path.write_bytes(gzip.compress((header + "".join(rows)).encode()))
    return path


def binance(folder: Path, name: str, text: str) -> Path:
    """An archive of Binance."""
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name.replace(".zip", ".csv"), text)
    return path


def test_an_archive_of_bybit_is_read_in_its_order_and_once(
    store: TickStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "CHUNK_BYTES", 4_096)
    path = bybit(tmp_path, 500)
    assert import_archive(store, path).rows == 500
    again = import_archive(store, path)
    assert (again.rows, again.repeats) == (0, 500)
    frame = read_ticks(store.root, Kind.TRADES, "BTCUSDT")
    assert frame["id"].to_list() == [f"id-{n}" for n in range(500)]
    assert frame["ordinal"].to_list() == [0, 1] * 250
    assert frame["price"][7] == Decimal("42007.5")
    assert frame["ts"][0] == at(T0)
    assert [file.joined for file in store.every_file(Kind.TRADES, "BTCUSDT")] == [True]


def test_what_was_recorded_already_is_left_out_and_ordinals_go_on(store: TickStore, tmp_path: Path) -> None:
    live = [
        Trade(T0, "Buy", "0.01", "42001.5", "id-1", received_us=1),
        Trade(T0, "Buy", "9", "1", "other", received_us=1, ordinal=1),
    ]
    store.write_part(Kind.TRADES, "BTCUSDT", T0 // HOUR_MS, to_frame(Kind.TRADES, live)[0])
    result = import_archive(store, bybit(tmp_path, 4))
    assert (result.rows, result.repeats) == (3, 1)
    frame = read_ticks(store.root, Kind.TRADES, "BTCUSDT")
    assert list(frame.select("id", "ordinal").iter_rows()) == [
        ("id-1", 0),
        ("other", 1),
        ("id-0", 2),
        ("id-2", 0),
        ("id-3", 1),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BTCUSDT-trades-2024-01-01.zip", f"1,42000.5,0.010,420,{T0},True,True\n2,42001.5,0.020,840,{T0},False,True\n"),
        (
            "BTCUSDT-trades-2025-01-01.zip",
            f"1,42000.5,0.010,420,{T0}123,True,True\n2,42001.5,0.020,840,{T0}456,False,True\n",
        ),
        (
            "BTCUSDT-trades-2024-01.zip",
            f"id,price,qty,quote_qty,time,is_buyer_maker\n1,42000.5,0.010,420,{T0},true\n2,42001.5,0.020,840,{T0},false\n",
        ),
        (
            "BTCUSDT-aggTrades-2024-01.zip",
            "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n"
            f"1,42000.5,0.010,1,2,{T0},true\n2,42001.5,0.020,3,3,{T0},false\n",
        ),
        (
            "BTCUSDT-aggTrades-2024-01-01.zip",
            f"1,42000.5,0.010,1,2,{T0},True,True\n2,42001.5,0.020,3,3,{T0},False,True\n",
        ),
    ],
)
def test_every_layout_of_binance_gives_the_same(store: TickStore, tmp_path: Path, name: str, text: str) -> None:
    assert import_archive(store, binance(tmp_path, name, text)).rows == 2
    frame = read_ticks(store.root, Kind.TRADES, "BTCUSDT-BINANCE")
    rows = list(frame.select("id", "side", "price", "size", "ordinal").iter_rows())
    assert rows == [
        ("1", "Sell", Decimal("42000.5"), Decimal("0.01"), 0),
        ("2", "Buy", Decimal("42001.5"), Decimal("0.02"), 1),
    ]
    assert frame["ts"].to_list() == [at(T0)] * 2


def test_spot_of_bybit_and_a_descending_file(store: TickStore, tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT_2024-01-01.csv.gz"
    rows = "".join(f"{n},{T0 + n},42000.5,0.01,{'buy' if n % 2 else 'sell'}\n" for n in (2, 1, 0))
    path.write_bytes(gzip.compress(f"id,timestamp,price,volume,side\n{rows}".encode()))
    assert import_archive(store, path, "BTCUSDT-SPOT").rows == 3
    assert read_ticks(store.root, Kind.TRADES, "BTCUSDT-SPOT")["id"].to_list() == ["0", "1", "2"]


def test_bad_rows_are_counted_and_the_others_taken(store: TickStore, tmp_path: Path) -> None:
    text = f"1,NaN,0.010,420,{T0},True,True\n2,42001.5,0.020,840,{T0},False,True\n3,1,1,1,soon,True,True\n4,1\n"
    result = import_archive(store, binance(tmp_path, "X-trades-2024-01-01.zip", text))
    assert (result.rows, result.unreadable) == (1, 3)


def test_what_is_no_archive_is_one_sentence(store: TickStore, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a,b\n")
    with pytest.raises(Misconfigured, match="not named like"):
        import_archive(store, tmp_path / "mine.csv")
    with pytest.raises(Misconfigured, match="does not begin like"):
        import_archive(store, bybit(tmp_path, 3, header="when,what\n"))
    with pytest.raises(Misconfigured, match="is not a file"):
        import_archive(store, tmp_path / "BTCUSDT2024-01-09.csv.gz")
    cut = bybit(tmp_path, 5_000)
    cut.write_bytes(cut.read_bytes()[:-400])
    with pytest.raises(Rejected, match="is damaged"):
        import_archive(store, cut)


def fill(store: TickStore) -> None:
    """Trades, quotes and depth of one hour, and a gap."""
    hour = T0 // HOUR_MS
    trades = [
        Trade(T0 + n, "Buy" if n % 2 else "Sell", "1", "10.5", f"t{n}", received_us=(T0 + n) * 1_000 + 700)
        for n in range(4)
    ]
    store.write_part(Kind.TRADES, "A", hour, to_frame(Kind.TRADES, trades)[0])
    quotes = [
        Bbo(T0, "10", "1", "11", "1", 1, 1, T0 * 1_000 + 500),
        Bbo(T0 + 2, "10.5", "2", "11", "3", 2, 1, T0 * 1_000 + 2_500),
    ]
    store.write_part(Kind.BBO, "A", hour, to_frame(Kind.BBO, quotes)[0])
    gap = Gap(T0 + 2, "g", "trades", "A", T0 + 3, "cut", "closed", 5)
    store.write_part(Kind.GAPS, "A", hour, to_frame(Kind.GAPS, [gap])[0])


def test_hftbacktest_gets_its_events_in_the_order_of_receipt(store: TickStore) -> None:
    fill(store)
    found = events(store.root, "A", None, None)
    assert found.dtype == EVENT
    assert EVENT.itemsize == 64
    assert (np.diff(found["local_ts"]) >= 0).all()
    assert (np.diff(found["exch_ts"]) >= 0).all()
    assert (found["local_ts"] >= found["exch_ts"]).all()
    kinds = found["ev"] & 0xFF
    assert (kinds == 2).sum() == 4
    # the old best bid goes when the best price changes
    assert [(row["px"], row["qty"]) for row in found[kinds == 1]] == [(10, 1), (11, 1), (10, 0), (10.5, 2), (11, 3)]
    depth = [Depth(T0, True, [("9", "1"), ("8", "2")], [("11", "1")], 1, 1, T0 * 1_000)]
    store.write_part(Kind.DEPTH, "A", T0 // HOUR_MS, to_frame(Kind.DEPTH, depth)[0])
    kinds = events(store.root, "A", None, None)["ev"] & 0xFF
    assert [int((kinds == kind).sum()) for kind in (1, 2, 3, 4)] == [0, 4, 2, 3]


@pytest.mark.parametrize("form", ["csv", "npz", "line-protocol"])
def test_the_commands_show_verify_and_export(
    store: TickStore, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(store)
    folder, target = ["--dir", str(store.root)], tmp_path / f"out.{form}"
    assert main(["ticks", "ls", "--gaps", *folder]) == 0
    said = capsys.readouterr().out
    assert "trades A" in said
    assert "cut" in said
    assert main(["ticks", "verify", *folder]) == 0
    assert main(["ticks", "export", "A", "--output", str(target), "--format", form, *folder]) == 0
    assert "There are 1 gaps in it" in capsys.readouterr().out
    if form == "npz":
        assert len(np.load(target)["data"]) == 9
    else:
        assert len(target.read_text().splitlines()) == (5 if form == "csv" else 4)
    (store.root / "stray.txt").write_text("x")
    assert main(["ticks", "verify", *folder]) == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["ticks", "ls", "--dir", "/nowhere"], "There is no folder /nowhere"),
        (
            ["ticks", "export", "A", "--output", "x", "--format", "xml"],
            "Export format must be one of csv, npz, line-protocol, got 'xml'",
        ),
        (
            ["ticks", "export", "A", "--output", "x", "--kind", "bars"],
            "Kind of ticks must be one of trades, bbo, depth, liquidations, gaps, got 'bars'",
        ),
        (["ticks", "export", "A", "--output", "x", "--from", "soon"], "--from 'soon' is not a time"),
        (["ticks", "export", "NOPE", "--output", "x"], "has no trades of 'NOPE'. It has those of A."),
        (["ticks", "export", "NOPE", "--output", "x", "--format", "npz"], "has no trades or depth or bbo of 'NOPE'"),
        (
            ["ticks", "export", "A", "--output", "x", "--to", "2001-01-01"],
            "no trades of A between --from and --to. Stored",
        ),
        (["slippage", "--by", "moon"], "--by 'moon' is not a way"),
    ],
)
def test_a_wrong_word_is_one_sentence(
    store: TickStore, words: list[str], says: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store)
    monkeypatch.setenv("TICKS_DIR", str(store.root))
    monkeypatch.chdir(store.root.parent)
    assert main(words) == 2
    assert not Path("x").exists()
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_a_span_with_gaps_can_be_refused(store: TickStore) -> None:
    fill(store)
    with pytest.raises(Rejected, match="1 gaps there"):
        read_ticks(store.root, "trades", "A", whole=True)
    assert len(read_ticks(store.root, "bbo", "A", at(T0), at(T0 + 2), whole=True)) == 1
