"""The recorder's parts, without a process."""

import errno
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import msgspec
import polars as pl
import pytest

from alpha.config.loader import load
from alpha.errors import Misconfigured, Rejected
from alpha.model.timestamp import EPOCH
from tests.faults.disk import SmallDisk
from tick_recorder.columns import OWNER, Rejection, to_frame
from tick_recorder.frames import Trade
from tick_recorder.gaps import GapState
from tick_recorder.inspect import verify
from tick_recorder.journal import Journal
from tick_recorder.recorder import Batch, Recorder, RecorderHooks, RecorderLimits
from tick_recorder.schema import HOUR_MS, STREAMS, Kind
from tick_recorder.sequencer import BUCKET_MS, Known, Sequencer
from tick_recorder.settings import RecorderSettings
from tick_recorder.store import MOST_FILES, TickStore
from tick_recorder.stored import all_gaps, last_row
from tick_recorder.tests.compare import gaps, stored
from tick_recorder.writer import GRACE_MS, Report, Writer

T0 = 1_700_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TickStore]:
    """An open, empty store."""
    found = TickStore(tmp_path / "ticks")
    found.open()
    yield found
    found.close()


class Bench:
    """A recorder and a writer in one, on a store."""

    def __init__(
        self, store: TickStore, *, every_ms: int = 0, buffer: int = 50_000_000, symbols: tuple[str, ...] = ("A",)
    ) -> None:
        self.store = store
        self.rejected: list[Rejection] = []
        self.renewed: list[str] = []
        self.asked: list[str] = []
        self.writer = Writer(store, retention_days=0, most_bytes=0)
        self.writer.recover(Report())
        self.recorder = Recorder(store, STREAMS, now_us=lambda: 1, limits=RecorderLimits(depth=50, depth_every_ms=every_ms, buffer_bytes=buffer), hooks=RecorderHooks(reject=self.rejected.append, renew=self.renewed.append, backfill=self.asked.append))  # fmt: skip
        self.recorder.follow(symbols)

    def frame(self, topic: str, data: object, *, kind: str = "snapshot", ts: int = T0) -> None:
        """A frame of this topic, decoded."""
        self.recorder.received(msgspec.json.encode({"topic": topic, "type": kind, "ts": ts, "cts": ts, "data": data}))
        self.recorder.decode_all()

    def trade(self, trade_id: str, ts: int = T0) -> dict[str, object]:
        """A row of publicTrade."""
        row: dict[str, object] = {
            "T": ts,
            "s": "A",
            "S": "Buy",
            "v": "1",
            "p": "2.5",
            "i": trade_id,
            "BT": False,
            "RPI": False,
            "seq": 1,
        }
        return row

    def trades(self, *rows: dict[str, object]) -> None:
        """A frame of trades."""
        self.frame("publicTrade.A", list(rows))

    def save(self) -> Report:
        """Store what was taken."""
        report, batch = Report(), self.recorder.swap()
        self.writer.take(batch, report)
        self.writer.write(report)
        self.recorder.stored(batch)
        return report

    def sync(self) -> None:
        """Put what was taken into the journal."""
        self.writer.take(self.recorder.swap(), Report())
        self.writer.sync(Report())

    def gaps(self) -> list[tuple[str, str, str]]:
        """Kind, reason and state of every gap."""
        return [(row["kind"], row["reason"], row["state"]) for row in all_gaps(self.store).iter_rows(named=True)]


# -- ordinals -----------------------------------------------------------------------------------------------------


def test_a_repeat_keeps_its_ordinal_over_a_restart_and_hours_later(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"), bench.trade("b"), bench.trade("c", T0 + 1))
    bench.save()
    again = Bench(store)
    again.recorder.backfilled("A", [])
    again.recorder.backfilled("A", [Trade(T0, "Buy", "1", "2.5", name) for name in ("a", "b")])
    again.trades(again.trade("b"), again.trade("d"), again.trade("e", T0 + 5 * HOUR_MS), again.trade("a"))
    again.save()
    again.trades(again.trade("d"), again.trade("f", T0 + 1))
    again.save()
    frame = stored(store.root, Kind.TRADES, "A")
    assert list(frame.select("id", "ordinal").iter_rows()) == [
        ("a", 0),
        ("b", 1),
        ("d", 2),
        ("c", 0),
        ("f", 1),
        ("e", 0),
    ]


def test_memory_holds_the_newest_ids_alone_and_the_store_knows_the_others() -> None:
    loaded: list[int] = []

    def load_hour(hour: int) -> Known:
        loaded.append(hour)
        return Known({f"id-{n}" for n in range(50)}, {T0 + n * BUCKET_MS: 1 for n in range(50)})

    sequencer = Sequencer(load_hour, None)
    for number in range(50):
        assert sequencer.take(T0 + number * BUCKET_MS, f"id-{number}") == 0
        sequencer.stored(sequencer.swap())
    assert sum(len(known.ids) for known in sequencer._buckets.values()) <= 3
    assert loaded == []
    assert sequencer.take(T0, "id-0") is None
    assert sequencer.take(T0, "late") == 1
    assert loaded == [T0 // HOUR_MS]


# -- what cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"p": "NaN"}, {"p": "Infinity"}, {"p": "-1"}, {"p": "1e5"}, {"p": ""}, {"v": "0.1234567890123"}, {"p": 5},
        {"S": "Both"}, {"T": 5}, {"T": 10**17}, {"T": "x"}, {"i": None}, {"p": "9" * 60},
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_alone_and_its_neighbours_are_stored(store: TickStore, bad: dict[str, object]) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"), bench.trade("bad") | bad, bench.trade("c"))
    report = bench.save()
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "c"]
    (rejection,) = [*bench.rejected, *report.rejected]
    assert "bad" in rejection.message or "i" in bad
    assert rejection.fault.count(".") >= 1


@pytest.mark.parametrize(
    "frame", [b"", b"{", b'{"topic":"publicTrade.A","data":5}', b"\xff\xfe", b'{"topic":"publicTrade.A"' + b"[" * 5_000]
)
def test_a_frame_that_cannot_be_read_is_rejected_whole(store: TickStore, frame: bytes) -> None:
    bench = Bench(store)
    bench.recorder.received(frame)
    bench.recorder.decode_all()
    bench.trades(bench.trade("a"))
    bench.save()
    assert len(bench.rejected) == 1
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a"]


def test_a_jump_of_the_exchange_s_clock_is_two_hours_of_files_and_no_fault(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"), bench.trade("b", T0 + 90 * HOUR_MS), bench.trade("c", T0 + 1))
    bench.save()
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "c", "b"]


# -- order books ----------------------------------------------------------------------------------------------------


def book(update: int, bids: list[list[str]], asks: list[list[str]]) -> dict[str, object]:
    """The data of a book's frame."""
    return {"s": "A", "b": bids, "a": asks, "u": update, "seq": update}


def test_a_book_is_rebuilt_and_a_missing_update_is_a_gap_until_the_next_snapshot(store: TickStore) -> None:
    bench = Bench(store)
    topic = "orderbook.50.A"
    bench.frame(topic, book(7, [["9", "1"], ["8", "1"]], [["11", "1"]]))
    bench.frame(topic, book(8, [["9", "0"], ["8.5", "2"]], []), kind="delta", ts=T0 + 1)
    bench.frame(topic, book(10, [["8.5", "3"]], []), kind="delta", ts=T0 + 2)
    bench.frame(topic, book(11, [["8.5", "4"]], []), kind="delta", ts=T0 + 3)
    assert bench.renewed == [topic]
    bench.frame(topic, book(20, [["7", "1"]], [["12", "1"]]), ts=T0 + 4)
    bench.save()
    frame = stored(store.root, Kind.DEPTH, "A")
    assert frame["update_id"].to_list() == [7, 8, 20]
    assert frame["snapshot"].to_list() == [True, False, True]
    assert [[str(price.normalize()) for price in side] for side in frame["bid_prices"]] == [
        ["9", "8"],
        ["9", "8.5"],
        ["7"],
    ]
    assert bench.gaps() == [("depth", "an update of the order book is missing", "closed")]


def test_each_hour_of_depth_begins_with_a_snapshot_and_samples_are_whole(store: TickStore) -> None:
    for every_ms, expected in ((0, [True, False, True]), (1_000, [True, True])):
        inner = TickStore(store.root / str(every_ms))
        inner.open()
        bench = Bench(inner, every_ms=every_ms)
        bench.frame("orderbook.50.A", book(1, [["9", "1"]], [["11", "1"]]), ts=T0 + HOUR_MS - 400)
        bench.frame("orderbook.50.A", book(2, [["8", "1"]], []), kind="delta", ts=T0 + HOUR_MS - 300)
        bench.frame("orderbook.50.A", book(3, [["7", "1"]], []), kind="delta", ts=T0 + HOUR_MS)
        bench.save()
        inner.close()
        frame = stored(inner.root, Kind.DEPTH, "A")
        assert frame["snapshot"].to_list() == expected
        assert [len(side) for side in frame["bid_prices"]][-1] == 3


def test_a_quote_that_is_sent_again_says_that_an_interruption_lost_nothing(store: TickStore) -> None:
    bench = Bench(store)
    quote = book(5, [["9", "1"]], [["11", "1"]])
    bench.frame("orderbook.1.A", quote)
    bench.recorder.interrupted("cut")
    bench.frame("orderbook.1.A", quote, ts=T0 + 50)
    bench.recorder.interrupted("cut again")
    bench.frame("orderbook.1.A", book(9, [], [["11", "1"]]), ts=T0 + 90)
    bench.save()
    frame = stored(store.root, Kind.BBO, "A")
    assert frame["update_id"].to_list() == [5, 9]
    assert frame["bid_price"].to_list()[1] is None
    assert bench.gaps() == [("bbo", "cut", "filled"), ("bbo", "cut again", "closed")]


def test_a_frame_that_we_cannot_cope_with_is_kept_is_a_gap_and_ends_nothing(
    store: TickStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(store)
    bench.frame("orderbook.1.A", book(1, [["9", "1"]], [["11", "1"]]))
    bench.trades(bench.trade("first"))
    with monkeypatch.context() as faulty:
        faulty.setattr(bench.recorder, "_trades", lambda *_: dict[str, int]()["odd"])
        bench.trades(bench.trade("lost", T0 + 1))
    bench.frame("orderbook.1.A", book(2, [["9", "2"]], [["11", "1"]]))
    bench.save()
    (rejection,) = bench.rejected
    assert rejection.fault == "Internal error: KeyError: 'odd'"
    assert '"i":"lost"' in rejection.message
    assert bench.asked == ["A"]
    assert bench.gaps() == [("trades", "a frame could not be processed", "open")]
    assert stored(store.root, Kind.BBO, "A")["update_id"].to_list() == [1, 2]


# -- the buffer -----------------------------------------------------------------------------------------------------


def test_a_full_buffer_drops_frames_and_says_so(store: TickStore) -> None:
    bench = Bench(store, buffer=20_000)
    bench.trades(bench.trade("first"))
    bench.frame("orderbook.1.A", book(1, [["9", "1"]], [["11", "1"]]))
    for number in range(100):
        row = bench.trade(f"t{number}", T0 + number)
        bench.recorder.received(
            msgspec.json.encode({"topic": "publicTrade.A", "type": "snapshot", "ts": 1, "data": [row]})
        )
    assert bench.recorder.counts.dropped_frames > 10
    assert bench.recorder.buffered_bytes <= 21_000
    bench.recorder.decode_all()
    bench.save()
    assert bench.asked == ["A"]
    assert bench.gaps() == [("trades", "the buffer was full", "open")]


# -- files ----------------------------------------------------------------------------------------------------------


def some(count: int, ts: int = T0, name: str = "x") -> pl.DataFrame:
    """So many trades."""
    rows = [Trade(ts + n, "Buy", "1", "2", f"{name}{n}", received_us=1) for n in range(count)]
    return to_frame(Kind.TRADES, rows)[0]


def test_an_hour_never_has_more_than_61_files_and_loses_no_row(store: TickStore) -> None:
    most = 0
    for number in range(150):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS, some(2, T0 + number * 10, f"n{number}-"))
        most = max(most, len(store.every_file(Kind.TRADES, "A")))
    assert most <= MOST_FILES + 1 <= 61
    assert len(stored(store.root, Kind.TRADES, "A")) == 300
    assert list(verify(store)) == []


def test_a_joined_hour_replaces_its_parts_even_when_it_was_killed_before_it_deleted_them(store: TickStore) -> None:
    for number in range(3):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS, some(2, T0 + number * 10, f"n{number}-"))
    kept = {file.path: file.path.read_bytes() for file in store.every_file(Kind.TRADES, "A")}
    store.join(Kind.TRADES, "A", T0 // HOUR_MS)
    for path, content in kept.items():
        path.write_bytes(content)
    assert len(stored(store.root, Kind.TRADES, "A")) == 6
    store.write_part(Kind.TRADES, "A", T0 // HOUR_MS, some(1, T0 + 99, "late"))
    store.close()
    left = TickStore(store.root)
    removed = left.open()
    left.close()
    assert set(removed) == set(kept)
    assert len(stored(store.root, Kind.TRADES, "A")) == 7


def test_hours_that_are_over_are_joined_and_what_comes_late_is_a_late_part(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.save()
    bench.trades(bench.trade("b", T0 + HOUR_MS + GRACE_MS))
    bench.save()
    bench.writer.tidy(bench.recorder.newest_ms, Report())
    assert [(file.hour - T0 // HOUR_MS, file.joined) for file in store.every_file(Kind.TRADES, "A")] == [
        (0, True),
        (1, False),
    ]
    bench.trades(bench.trade("late", T0 + 5))
    bench.save()
    bench.writer.tidy(bench.recorder.newest_ms, Report())
    assert [file.joined for file in store.every_file(Kind.TRADES, "A")] == [True, False, False]
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "late", "b"]


def test_a_second_recorder_in_the_same_folder_is_refused(store: TickStore) -> None:
    with pytest.raises(Misconfigured, match="another tick recorder"):
        TickStore(store.root).open()


def test_a_truncated_and_a_foreign_file_are_named_and_stop_nothing(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.save()
    (file,) = store.every_file(Kind.TRADES, "A")
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[: len(whole) // 2])
    (store.root / "notes.txt").write_text("mine")
    (file.path.parent / "strange.parquet").write_bytes(b"x")
    pl.DataFrame({"a": [1]}).write_parquet(file.path.with_name("00.000009.part.parquet"))
    faults = {fault.path.name: fault.text for fault in verify(store)}
    assert set(faults) >= {file.path.name, "notes.txt", "strange.parquet"}
    with pytest.raises(Rejected, match="cannot be read"):
        file.read()
    again = Bench(store)
    again.recorder.backfilled("A", None)
    again.trades(again.trade("b", T0 + 1))
    again.save()
    report = Report()
    again.writer.tidy(T0 + 9 * HOUR_MS, report)
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["b"]
    assert report.faults


# -- the journal ----------------------------------------------------------------------------------------------------


def test_rows_in_no_part_yet_survive_a_kill_and_keep_their_ordinals(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.sync()
    bench.trades(bench.trade("b"), bench.trade("later", T0 + 5), bench.trade("of the next hour", T0 + HOUR_MS))
    bench.frame("orderbook.1.A", book(1, [["9", "1"]], []))
    bench.frame("orderbook.50.A", book(7, [["9", "1"], ["8", "1"]], [["11", "1"]]))
    bench.sync()
    bench.recorder.interrupted("cut")
    bench.trades(bench.trade("c", T0 + HOUR_MS))
    bench.sync()
    assert store.all_files() == []
    again = Bench(store)
    # each in the file of its hour, in the order of their arrival
    assert [file.read()["id"].to_list() for file in store.files(Kind.TRADES, "A")] == [
        ["a", "b", "later"],
        ["of the next hour"],
    ]
    assert not list((store.root / ".journal").iterdir())
    newest = Trade(T0 + HOUR_MS, "Buy", "1", "2.5", "of the next hour")
    again.recorder.backfilled("A", [*(Trade(T0, "Buy", "1", "2.5", name) for name in ("a", "b")), newest])
    again.trades(again.trade("b"), again.trade("d"))
    again.save()
    rows = stored(store.root, Kind.TRADES, "A").select("id", "ordinal", "received")
    assert list(rows.iter_rows()) == [
        ("a", 0, EPOCH + timedelta(microseconds=1)),
        ("b", 1, EPOCH + timedelta(microseconds=1)),
        ("d", 2, EPOCH + timedelta(microseconds=1)),
        ("later", 0, EPOCH + timedelta(microseconds=1)),
        ("of the next hour", 0, EPOCH + timedelta(microseconds=1)),
    ]
    assert stored(store.root, Kind.DEPTH, "A")["bid_sizes"].to_list() == [[1, 1]]
    assert len(stored(store.root, Kind.BBO, "A")) == 1
    assert {reason for _, reason, _ in bench.gaps()} == {"cut"}
    assert list(verify(store)) == []


def test_a_kill_between_the_parts_and_the_end_of_the_journal_leaves_no_row_twice(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"), bench.trade("b"), bench.trade("c", T0 + 1))
    bench.recorder.interrupted("cut")
    bench.sync()
    kept = {path: path.read_bytes() for path in (store.root / ".journal").iterdir()}
    bench.writer.write(Report())
    assert not list((store.root / ".journal").iterdir())
    for path, content in kept.items():
        path.write_bytes(content)
    for file in store.every_file(Kind.TRADES, "A"):
        # of two files one was written
        file.path.unlink()
    assert Writer(store, retention_days=0, most_bytes=0).recover(Report()) == 3
    for path, content in kept.items():
        path.write_bytes(content)
    assert Writer(store, retention_days=0, most_bytes=0).recover(Report()) == 0
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "b", "c"]
    assert len(stored(store.root, Kind.GAPS, "A")) == 1


def test_a_damaged_journal_is_set_aside_and_the_rest_is_kept(store: TickStore) -> None:
    bench = Bench(store)
    for name in ("a", "b"):
        bench.trades(bench.trade(name))
        bench.sync()
    first, _ = sorted((store.root / ".journal").iterdir())
    first.write_bytes(first.read_bytes()[:100])
    first.with_name("000008-000.trades.arrow").write_bytes(b"")
    first.with_name("000009-000.trades.arrow").mkdir()
    Bench(store)
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["b"]
    assert [path.suffix for path in (store.root / ".journal").iterdir()] == [".unreadable"] * 3


def journal(store: TickStore) -> list[Path]:
    """The files of the journal, in their order."""
    return sorted((store.root / ".journal").iterdir())


def test_foreign_files_in_the_journal_are_left_alone(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.sync()
    names = ("notes.arrow", "1.arrow", "000001.arrow", "000002-000.candles.arrow", "000003-000.trades.arrow.copy")
    for name in names:
        (store.root / ".journal" / name).write_bytes(b"mine")
    Bench(store)
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a"]
    assert {path.name for path in journal(store)} == set(names)


def test_the_journal_holds_what_was_taken_in_several_turns_gaps_first_and_again_after_a_part(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("part"))
    bench.save()
    for name in ("a", "b"):
        bench.trades(bench.trade(name))
        bench.writer.take(bench.recorder.swap(), Report())
    bench.recorder.interrupted("cut")
    bench.sync()
    kinds = [path.name.split(".")[1] for path in journal(store)]
    assert kinds == ["gaps", "trades", "trades"], (
        "a kill between two files must not leave rows after a gap that is unknown"
    )
    # a process that has made no parts of an earlier one's journal replaces nothing there
    before = journal(store)
    Journal(store.root).add([(Kind.TRADES, some(1, T0 + 5).with_columns(pl.lit(0, pl.UInt32).alias(OWNER)))], [(Kind.TRADES, "A", T0 // HOUR_MS)])  # fmt: skip
    assert [path.name for path in journal(store)] == [*(path.name for path in before), "000002-000.trades.arrow"]
    report = Report()
    assert Writer(store, retention_days=0, most_bytes=0).recover(report) > 0
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["part", "a", "b", "x0"]
    assert [file.kind for file, _ in report.written] == [Kind.GAPS, Kind.TRADES]
    assert journal(store) == []


def test_numbers_of_the_journal_begin_anew_after_each_part(store: TickStore) -> None:
    """Their names have room for a million, and the files are read in the order of their names."""
    bench = Bench(store)
    for turn in ("first", "second"):
        for name in ("a", "b"):
            bench.trades(bench.trade(f"{turn} {name}"))
            bench.sync()
        assert [path.name for path in journal(store)] == ["000001-000.trades.arrow", "000002-000.trades.arrow"]
        bench.save()
    assert len(stored(store.root, Kind.TRADES, "A")) == 4


def test_an_hour_of_gaps_first_then_hours_in_their_order(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("next", T0 + HOUR_MS), bench.trade("a"), bench.trade("b"))
    bench.recorder.interrupted("cut")
    report = bench.save()
    rows = [
        (file.kind, file.hour - T0 // HOUR_MS, number) for file, number in report.written if file.kind is not Kind.GAPS
    ]
    assert report.written[0][0].kind is Kind.GAPS
    assert rows == [(Kind.TRADES, 0, 2), (Kind.TRADES, 1, 1)]
    assert bench.writer.counts.files == len(report.written)
    assert bench.writer.counts.bytes_written == store.bytes_used() > 0


def test_what_is_no_number_is_reported_by_the_writer(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"), bench.trade("bad") | {"p": "NaN"})
    report, batch = Report(), bench.recorder.swap()
    bench.writer.take(batch, report)
    assert ["NaN" in one.message for one in (*report.rejected, *bench.rejected)] == [True]
    assert len(batch.rows) == 0
    bench.save()
    bench.trades(bench.trade("bad too") | {"p": "NaN"})
    bench.sync()
    assert not (store.root / ".journal").exists(), "a file without rows"


def test_a_journal_that_cannot_be_written_and_parts_that_cannot_are_tried_again(
    store: TickStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.writer.take(bench.recorder.swap(), Report())
    broken = OSError(errno.EIO, "Input/output error")

    def fail(*_: object) -> None:
        raise broken

    with monkeypatch.context() as failing:
        failing.setattr("tick_recorder.journal.save", fail)
        with pytest.raises(OSError, match="Input/output"):
            bench.writer.sync(Report())
    bench.writer.sync(Report())
    assert len(journal(store)) == 1
    with monkeypatch.context() as failing:
        failing.setattr(store, "write_part", fail)
        with pytest.raises(OSError, match="Input/output"):
            bench.writer.write(Report())
        assert len(journal(store)) == 1, "the rows are in no part"
        with pytest.raises(Misconfigured, match=r"Input/output error\. Make room"):
            Writer(store, retention_days=0, most_bytes=0).recover(Report())
    bench.trades(bench.trade("b"))
    bench.save()
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "b"]
    assert bench.writer.counts.failures == 2


def test_the_end_of_a_gap_is_recovered_beside_its_beginning(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.recorder.backfilled("A", [])
    bench.save()
    bench.recorder.interrupted("cut")
    bench.save()
    bench.recorder.backfilled("A", [Trade(T0, "Buy", "1", "2.5", "a")])
    bench.sync()
    kept = {path: path.read_bytes() for path in journal(store)}
    writer = Writer(store, retention_days=0, most_bytes=0)
    assert writer.recover(Report()) == 1
    states = dict(stored(store.root, Kind.GAPS, "A").sort("received").select("kind", "state").iter_rows())
    assert states[Kind.TRADES] == GapState.FILLED
    for path, content in kept.items():
        path.write_bytes(content)
    report = Report()
    assert Writer(store, retention_days=0, most_bytes=0).recover(report) == 0
    assert report.written == [], "no part without rows"


def test_rows_of_one_millisecond_are_recovered_though_a_part_has_some_of_them(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.save()
    bench.trades(bench.trade("b"))
    bench.sync()
    assert Writer(store, retention_days=0, most_bytes=0).recover(Report()) == 1
    assert list(stored(store.root, Kind.TRADES, "A").select("id", "ordinal").iter_rows()) == [("a", 0), ("b", 1)]


# -- joining --------------------------------------------------------------------------------------------------------


def test_an_hour_is_joined_once_after_its_grace_also_by_the_next_process(store: TickStore) -> None:
    for hour in (1, 0):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(2, T0 + hour * HOUR_MS))
    writer, report = Writer(store, retention_days=0, most_bytes=0), Report()
    writer.tidy(T0 + HOUR_MS + GRACE_MS - 1, report)
    assert report.joined == []
    writer.tidy(T0 + HOUR_MS + GRACE_MS, report)
    writer.tidy(T0 + HOUR_MS + GRACE_MS, report)
    assert [file.hour - T0 // HOUR_MS for file in report.joined] == [0]
    writer.tidy(T0, report, everything=True)
    assert [file.hour - T0 // HOUR_MS for file in report.joined] == [0, 1]
    assert writer.counts.joined == 2
    assert all(file.joined for file in store.all_files())
    several = Report()
    for hour in (3, 2):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(2, T0 + hour * HOUR_MS))
    Writer(store, retention_days=0, most_bytes=0).tidy(T0 + 9 * HOUR_MS, several)
    assert [file.hour - T0 // HOUR_MS for file in several.joined] == [2, 3], "the oldest first"


def test_a_damaged_hour_is_told_once_and_a_full_disk_joins_later(
    store: TickStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in range(3):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(2, T0 + hour * HOUR_MS))
    (first, *_) = store.all_files()
    first.path.write_bytes(b"damaged")
    writer, report = Writer(store, retention_days=0, most_bytes=0), Report()
    newest_ms = T0 + 9 * HOUR_MS
    tried: list[int] = []

    def failing(number: int) -> Callable[[Kind, str, int], None]:
        def join(_kind: Kind, _symbol: str, hour: int) -> None:
            tried.append(hour - T0 // HOUR_MS)
            raise OSError(number, "no")

        return join

    for number in (errno.ENOSPC, errno.EDQUOT):
        tried.clear()
        with monkeypatch.context() as broken:
            broken.setattr(store, "join", failing(number))
            writer.tidy(newest_ms, report)
        assert tried == [0], "the others would not find room either"
    with monkeypatch.context() as broken:
        broken.setattr(store, "join", failing(errno.EIO))
        with pytest.raises(OSError, match="no"):
            writer.tidy(newest_ms, report)
    for _ in range(2):
        writer.tidy(newest_ms, report)
    assert len(report.faults) == 1
    assert [file.hour - T0 // HOUR_MS for file in report.joined] == [1, 2]


def test_which_hours_are_joined_is_remembered_for_a_day(store: TickStore) -> None:
    """A late part of an hour that was joined long ago stays a part until the next start."""
    bench = Bench(store)
    bench.trades(bench.trade("a"))
    bench.save()
    for hours_later, joined in ((24, [True, False]), (25, [True])):
        bench.writer.tidy(T0 + hours_later * HOUR_MS, Report())
        bench.trades(bench.trade(f"late {hours_later}", T0 + 1))
        bench.save()
        bench.writer.tidy(T0 + hours_later * HOUR_MS, Report())
        assert [file.joined for file in store.every_file(Kind.TRADES, "A")] == joined


# -- retention ------------------------------------------------------------------------------------------------------


def hours(store: TickStore) -> list[int]:
    """The hours that are stored, from the first on."""
    return sorted({file.hour - T0 // HOUR_MS for file in store.all_files()})


def test_old_days_go_and_beyond_the_allowed_size_the_oldest_hours(store: TickStore) -> None:
    for hour in (0, 1, 30, 31):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(500, T0 + hour * HOUR_MS))
    report = Report()
    Writer(store, retention_days=1, most_bytes=0).retain(T0 + 31 * HOUR_MS, report)
    assert hours(store) == [30, 31]
    assert len(report.aged) == 2
    size = store.bytes_used()
    Writer(store, retention_days=0, most_bytes=size - 1).retain(T0 + 31 * HOUR_MS, report)
    assert hours(store) == [31]
    assert len(report.over_size) == 1


def test_on_a_full_disk_the_oldest_hours_make_room_and_the_newest_is_never_touched(tmp_path: Path) -> None:
    disk, why = SmallDisk.mounted(tmp_path / "disk")
    if disk is None:
        pytest.skip(why)
    try:
        store = TickStore(tmp_path / "disk" / "ticks")
        store.open()
        bench = Bench(store)
        for hour in range(4):
            bench.trades(*(bench.trade(f"h{hour}-{n}", T0 + hour * HOUR_MS + n) for n in range(4_000)))
            bench.save()
        disk.fill()
        bench.trades(*(bench.trade(f"new{n}", T0 + 3 * HOUR_MS + 10_000 + n) for n in range(4_000)))
        report = bench.save()
        assert report.full
        assert hours(store)[-1] == 3
        assert hours(store)[0] == len(report.full)
        newest = set(stored(store.root, Kind.TRADES, "A")["id"])
        assert {f"new{n}" for n in range(4_000)} <= newest
        assert {f"h3-{n}" for n in range(4_000)} <= newest
        assert not list(store.root.rglob("*.tmp"))
        # nothing older is left to delete: it is said, and the rows stay in the batch
        for number in range(5):
            bench.trades(*(bench.trade(f"more{number}-{n}", T0 + 3 * HOUR_MS + 20_000 + n) for n in range(8_000)))
            batch = bench.recorder.swap()
            full = _write(bench, batch)
            if full:
                assert full == errno.ENOSPC
                disk.clear()
                assert not _write(bench, batch)
                assert f"more{number}-7999" in set(stored(store.root, Kind.TRADES, "A")["id"])
                break
        else:
            raise AssertionError("the disk was never full")
        store.close()
    finally:
        disk.unmount()


def _write(bench: Bench, batch: Batch) -> int:
    """Store a batch; the error's number when the disk does not take it."""
    try:
        bench.writer.take(batch, Report())
        bench.writer.write(Report())
    except OSError as fault:
        return fault.errno or -1
    return 0


def test_retention_counts_days_and_never_takes_the_newest_hour(
    store: TickStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for hour in (6, 7, 8, 31):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(500, T0 + hour * HOUR_MS))
    report, newest_ms = Report(), T0 + 31 * HOUR_MS
    size = store.bytes_used() // 4
    Writer(store, retention_days=0, most_bytes=size * 4 + 3).retain(newest_ms, report)
    assert hours(store) == [6, 7, 8, 31]
    Writer(store, retention_days=1, most_bytes=0).retain(newest_ms, report)
    assert hours(store) == [7, 8, 31]
    assert [hour - T0 // HOUR_MS for hour in report.aged] == [6]
    used = store.bytes_used()
    writer = Writer(store, retention_days=0, most_bytes=used)
    writer.retain(newest_ms, report)
    assert hours(store) == [7, 8, 31], "exactly the allowed size"
    assert writer.bytes_used == used
    gone = store.all_files()[0]
    writer = Writer(store, retention_days=0, most_bytes=used - 1)
    with monkeypatch.context() as racing:
        files = store.all_files()
        vanished = replace(gone, path=gone.path.with_name("00.999999.part.parquet"))
        racing.setattr(store, "all_files", lambda: [*files, vanished])
        writer.retain(newest_ms, report)
    assert hours(store) == [8, 31], "one hour is enough"
    assert writer.bytes_used == store.bytes_used()
    assert writer.counts.hours_removed == 1
    Writer(store, retention_days=0, most_bytes=1).retain(newest_ms, report)
    assert hours(store) == [31]
    assert [hour - T0 // HOUR_MS for hour in report.over_size] == [7, 8]


@pytest.mark.parametrize(
    ("number", "left", "full"),
    [(errno.ENOSPC, [2, 5], [0, 1]), (errno.EDQUOT, [2, 5], [0, 1]), (errno.EIO, [0, 1, 2, 5], [])],
)
def test_only_for_want_of_room_older_hours_go(
    store: TickStore, monkeypatch: pytest.MonkeyPatch, number: int, left: list[int], full: list[int]
) -> None:
    bench = Bench(store)
    for hour in range(3):
        store.write_part(Kind.TRADES, "A", T0 // HOUR_MS + hour, some(2, T0 + hour * HOUR_MS))
    # a newer hour that is in a part already does not count among what waits
    bench.trades(bench.trade("written", T0 + 5 * HOUR_MS))
    bench.save()
    bench.trades(bench.trade("early"), bench.trade("new", T0 + 2 * HOUR_MS))
    bench.writer.take(bench.recorder.swap(), Report())

    def fail(*_: object) -> None:
        raise OSError(number, "no")

    report = Report()
    with monkeypatch.context() as failing:
        failing.setattr("tick_recorder.journal.save", fail)
        with pytest.raises(OSError, match="no"):
            bench.writer.sync(report)
    # as old as the newest row that waits, and no newer
    assert hours(store) == left
    assert [hour - T0 // HOUR_MS for hour in report.full] == full
    assert bench.writer.counts.failures == len(full) + 1


# -- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"ticks_symbols": "BTCUSDT,btc/usdt"}, "'btc/usdt' cannot be a symbol"),
        ({"ticks_retention_days": "-1"}, "TICKS_RETENTION_DAYS is '-1'"),
        ({"influx_url": "127.0.0.1:8086"}, "INFLUX_URL is '127.0.0.1:8086'"),
        ({"ticks_streams": "trades,candles"}, "'candles' cannot be recorded"),
        ({"ticks_depth": "17"}, "50 or 200"),
        ({"ticks_max_gb": "much"}, "TICKS_MAX_GB is 'much'"),
        ({"ticks_max_gb": "-1"}, "It is the total size of the files in GB"),
        ({"ticks_streams": "foo"}, "TICKS_STREAMS: 'foo' cannot be recorded"),
        ({"ticks_streams": "trades,foo"}, "TICKS_STREAMS is 'trades,foo': 'foo' cannot be recorded"),
    ],
)
def test_a_wrong_setting_is_one_sentence(given: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        load(RecorderSettings, env_file=None, redis_password="x", postgres_password="x", **given)
    assert says in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1


def test_the_last_row_is_found_and_a_gap_of_a_stopped_recorder_begins_there(store: TickStore) -> None:
    bench = Bench(store)
    bench.trades(bench.trade("a", T0 + 77))
    bench.save()
    assert last_row(store, Kind.TRADES, "A") == (T0 + 77, None)
    again = Bench(store)
    again.save()
    (row,) = all_gaps(store).iter_rows(named=True)
    assert row["state"] == GapState.OPEN
    assert row["reason"] == "the recorder was not running"


def test_a_kill_between_a_gap_and_the_rows_before_it_loses_neither(store: TickStore) -> None:
    """Gaps are stored first: a killed recorder may leave an open gap that begins after rows which were never stored."""
    bench = Bench(store)
    bench.trades(bench.trade("a", T0))
    bench.recorder.backfilled("A", [])
    bench.save()
    bench.trades(bench.trade("lost", T0 + 4_000), bench.trade("lost too", T0 + 5_000))
    bench.recorder.interrupted("the connection was cut")
    batch = bench.recorder.swap()
    for kind in [kind for kind in batch.rows if kind is not Kind.GAPS]:
        del batch.rows[kind]  # killed before these were written
    bench.writer.take(batch, Report())
    bench.writer.write(Report())
    again = Bench(store)
    again.recorder.backfilled("A", [Trade(T0 + 9_000, "Buy", "1", "2.5", "after")])
    again.save()
    assert stored(store.root, Kind.TRADES, "A")["id"].to_list() == ["a", "after"]
    [(since_ms, until_ms)] = gaps(store.root, Kind.TRADES, "A")
    assert since_ms < T0 + 4_000
    assert until_ms >= T0 + 5_000
