"""The tick recorder under a flood: `python -m tests.benchmarks.bench_ticks --burst 20000:10 --steady 5000:300 --listener`.

A sender process holds frames encoded beforehand; the recorder is a process of its own. Printed apart: what receipt and
decoding cost, and what the path after decoding costs beside a bare `polars.write_parquet` of the same rows.
"""

import argparse
import asyncio
import json
import multiprocessing
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import polars as pl
import psutil

from demo.ports import free_port
from tests.support.world import ROOT, Process, until
from tick_recorder.inspect import held, verify
from tick_recorder.recorder import Recorder, RecorderHooks, RecorderLimits
from tick_recorder.schema import Kind
from tick_recorder.store import TickStore
from tick_recorder.tests.exchange import Flood, TickExchange, names
from tick_recorder.writer import Report, Writer

SYMBOLS = 33
#: The listener's p99 beside a recorder that takes the flood, against the one beside a reader that throws it away, in the same run.
MOST_RATIO = 1.2
#: The floor is taken over so many seconds of a flood at most.
FLOOR_S = 60.0


class Sender:
    """The flooding process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tick_recorder.tests.exchange", "--symbols", str(SYMBOLS)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        # it stands for another host, and takes processor time from nobody on this one
        psutil.Process(self._process.pid).nice(19)
        self.said = self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def prepare(self, rate: int, seconds: float) -> None:
        """Encode the frames of the next flood."""
        self._write(f"{rate} {seconds}")
        self._read()

    def start(self) -> None:
        """Send them."""
        self._write("go")

    def done(self) -> dict[str, Any]:
        """Wait for its end; what was sent so far."""
        return self._read()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        # closes the pipes as well
        self._process.communicate()


class Listener:
    """A listener of its own in a process, with PostgreSQL, Redis and 100 fills a second (`bench_listener --part beside`)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bench_listener", "--part", "beside"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            # its log goes there as well
            if line.startswith('{"'):
                found: dict[str, Any] = json.loads(line)
                return found
        raise AssertionError(f"the listener has ended with {self._process.wait()}; why stands above")

    def measure(self, seconds: float) -> dict[str, tuple[float, float]]:
        """p50 and p99 of the delays in ms, by where a fill arrives, over so many seconds."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End it and its servers."""
        self._process.communicate()


def throw_away(url: str, topics: list[str]) -> None:
    """Subscribe, and read what comes without looking at it: what sender, kernel and loopback cost whoever else works here."""
    place = urlsplit(url)
    with socket.create_connection((place.hostname, place.port)) as stream:
        upgrade = ("GET / HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket", "Connection: Upgrade",
                   "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "", "")  # fmt: skip
        stream.sendall("\r\n".join(upgrade).encode())
        stream.recv(65_536)
        text = json.dumps({"op": "subscribe", "args": topics, "req_id": "1"}).encode()
        # one text frame, masked with zeros
        stream.sendall(b"\x81\xfe" + struct.pack("!H", len(text)) + bytes(4) + text)
        taken = bytearray(1 << 20)
        while stream.recv_into(taken):
            pass


async def floors(parts: list[tuple[int, float]], listener: Listener) -> list[dict[str, tuple[float, float]]]:
    """What the listener measures while nobody but `throw_away` takes each flood."""
    sender = Sender()
    topics = [f"{kind}.{symbol}" for symbol in names(SYMBOLS) for kind in ("publicTrade", "orderbook.1")]
    reader = multiprocessing.get_context("spawn").Process(target=throw_away, args=(sender.said["ws"], topics))
    reader.start()
    try:
        found = []
        for rate, seconds in parts:
            part_s = min(seconds, FLOOR_S)
            await asyncio.to_thread(sender.prepare, rate, part_s)
            sender.start()
            ending = asyncio.create_task(asyncio.to_thread(sender.done))
            found.append(await asyncio.to_thread(listener.measure, part_s))
            assert (await ending)["listeners"] == 1, "nobody takes the flood"
        return found
    finally:
        reader.kill()
        reader.join()
        sender.close()


async def flood(parts: list[tuple[int, float]], folder: Path, listener: Listener | None = None) -> dict[str, Any]:
    """Run a recorder through these floods `(frames a second, seconds)`; figures of the process, and what the `listener`
    measured in each flood without the recorder and with it. AssertionError when a row is missing or stored twice.
    """
    without = [] if listener is None else await floors(parts, listener)
    sender = Sender()
    port = free_port()
    settings = {
        "BYBIT_REST_URL": sender.said["rest"], "BYBIT_WS_URL": sender.said["ws"],
        "REDIS_PORT": "1", "REDIS_PASSWORD": "none", "POSTGRES_PORT": "1", "POSTGRES_PASSWORD": "none",
        "TICKS_DIR": str(folder / "ticks"), "TICKS_SYMBOLS": ",".join(names(SYMBOLS)), "HEALTH_PORT": str(port),
        "ALPHA_BOTS_FILE": str(ROOT / "bots.toml"), "LOG_FORMAT": "json",
        # while the sender encodes it answers late
        "TICKS_SILENCE_S": "120",
    }  # fmt: skip
    recorder = Process("recorder", ["-m", "tick_recorder"], settings, folder)
    store = TickStore(folder / "ticks")
    try:
        recorder.start()
        async with httpx.AsyncClient() as client:

            async def metrics() -> dict[str, float]:
                try:
                    text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
                except httpx.TransportError:
                    return {}
                lines = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
                return {name: float(value) for name, _, value in lines}

            async def live() -> bool:
                return (await metrics()).get("ticks_stream_live") == 1.0

            await until(live, 60, "the recorder to be live")
            process = psutil.Process(recorder.pid)
            idle_mb, most_mb, deepest, results = process.memory_info().rss / 1e6, 0.0, 0.0, []
            for number, (rate, seconds) in enumerate(parts):
                await asyncio.to_thread(sender.prepare, rate, seconds)
                await until(live, 60, "the recorder to be live")
                before, cpu = await metrics(), sum(process.cpu_times()[:2])
                sender.start()
                ending = asyncio.create_task(asyncio.to_thread(sender.done))
                if listener is not None:
                    delaying = asyncio.create_task(asyncio.to_thread(listener.measure, seconds))
                began = time.monotonic()
                while not ending.done():
                    most_mb = max(most_mb, process.memory_info().rss / 1e6)
                    deepest = max(deepest, (await metrics()).get("ticks_pending_frames", 0.0))
                    await asyncio.sleep(0.25)
                sent = await ending

                async def taken(sent: dict[str, Any] = sent) -> bool:
                    now = await metrics()
                    rows = now.get('ticks_rows_total{kind="trades"}', 0), now.get('ticks_rows_total{kind="bbo"}', 0)
                    return rows == (sent["trades"], sent["quotes"])

                await until(taken, 300, f"all of {sent} to be taken")
                behind_s = time.monotonic() - began - sent["took_s"]
                compared = {} if listener is None else _compared(without[number], await delaying)
                now = await metrics()
                frames = now["ticks_frames_total"] - before["ticks_frames_total"]
                results.append(
                    {
                        "asked": rate,
                        "rate": frames / sent["took_s"],
                        "seconds": sent["took_s"],
                        "behind_s": behind_s,
                        "cpu_us": (sum(process.cpu_times()[:2]) - cpu) / frames * 1e6,
                        "decode_us": (now["ticks_decode_seconds_total"] - before["ticks_decode_seconds_total"])
                        / frames
                        * 1e6,
                        **compared,
                    }
                )
            assert now["ticks_frames_dropped_total"] == 0
        assert recorder.stop(60) == 0, recorder.said()[-2_000:]
        stored = {kind: sum(one.rows for one in held(store) if one.kind is kind) for kind in (Kind.TRADES, Kind.BBO)}
        assert stored == {Kind.TRADES: sent["trades"], Kind.BBO: sent["quotes"]}, (stored, sent)
        assert [fault.text for fault in verify(store)] == []
        return {"floods": results, "idle_mb": idle_mb, "most_mb": most_mb, "deepest": deepest, "stored": stored}
    finally:
        recorder.kill()
        sender.close()


def _compared(without: dict[str, tuple[float, float]], under: dict[str, tuple[float, float]]) -> dict[str, float]:
    """The listener's p99 without and with the flood, and their ratio."""
    return {
        f"{name}_p99_{what}": value
        for name in without
        for what, value in (
            ("without", without[name][1]), ("with", under[name][1]), ("ratio", under[name][1] / without[name][1]),
        )
    }  # fmt: skip


def writing(rows: int, folder: Path, part_s: int = 60, journal_s: int = 10) -> dict[str, float]:
    """The path after decoding, joining included, at 5,000 rows a second, beside a bare `write_parquet` of the same rows,
    one file each of kind and symbol; CPU in us a row.
    """
    store = TickStore(folder / "written")
    store.open()
    recorder = Recorder(store, (Kind.TRADES, Kind.BBO), limits=RecorderLimits(depth=50, depth_every_ms=1_000, buffer_bytes=10**12), hooks=RecorderHooks(reject=lambda _: None, renew=lambda _: None, backfill=lambda _: None))  # fmt: skip
    recorder.follow(names(SYMBOLS))
    exchange, begin_ms = TickExchange(), 1_700_000_000_000 // 3_600_000 * 3_600_000
    writer = Writer(store, retention_days=0, most_bytes=0)
    spent = dict.fromkeys(("columns", "journal", "parts", "join"), 0.0)

    def timed(name: str, work: Callable[[], object]) -> None:
        began = time.process_time()
        work()
        spent[name] += time.process_time() - began

    report, waiting = Report(), []
    for second in range(0, rows // 5_000, journal_s):
        some = Flood(exchange, names(SYMBOLS), 5_000 * journal_s, 5_000, begin_ms + second * 1_000)
        for _, encoded in some.frames:
            recorder.received(encoded)
        recorder.decode_all()
        batch = recorder.swap()
        waiting.append(batch)
        timed("columns", partial(writer.take, batch, report))
        if (second + journal_s) % part_s and second + journal_s < rows // 5_000:
            timed("journal", partial(writer.sync, report))
            continue
        timed("parts", partial(writer.write, report))
        for batch in waiting:
            recorder.stored(batch)
        waiting.clear()
    timed("join", partial(writer.tidy, 0, report, everything=True))
    size = store.bytes_used()
    frames = [(file.kind, file.read()) for file in store.all_files()]
    store.close()
    count = sum(len(frame) for _, frame in frames)
    began = time.process_time()
    bare_bytes = 0
    for number, (_, frame) in enumerate(frames):
        path = folder / f"bare-{number}.parquet"
        frame.write_parquet(path, compression="zstd")
        bare_bytes += path.stat().st_size
    bare = time.process_time() - began
    one = pl.concat([frame for kind, frame in frames if kind is Kind.TRADES])
    began = time.process_time()
    one.write_parquet(folder / "one.parquet", compression="zstd")
    single = time.process_time() - began
    ours = sum(spent.values())
    return {
        **{f"{name}_us": value / count * 1e6 for name, value in spent.items()},
        "ours_us": ours / count * 1e6,
        "bare_us": bare / count * 1e6,
        "cpu_ratio": ours / bare,
        "bytes": size / count,
        "bare_bytes": bare_bytes / count,
        "bytes_ratio": size / bare_bytes,
        "single_file_us": single / len(one) * 1e6,
        "single_file_bytes": (folder / "one.parquet").stat().st_size / len(one),
    }


def main() -> int:
    """Print both. The exit code is 1 where a row is missing or stored twice, or the listener's p99 misses its aim."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--burst", default="20000:10", help="frames a second, and seconds")
    parser.add_argument("--steady", default="5000:300", help="the same, afterwards")
    parser.add_argument(
        "--listener", action="store_true", help="a listener at work beside it: its p99 with and without"
    )
    parser.add_argument("--part-s", type=int, default=60, help="seconds of a part in that comparison")
    parser.add_argument("--rows", type=int, default=1_500_000, help="rows of the comparison of writers; 0: none")
    arguments = parser.parse_args()
    parts = [
        (int(rate), float(seconds))
        for rate, _, seconds in (text.partition(":") for text in (arguments.burst, arguments.steady))
    ]
    with tempfile.TemporaryDirectory() as name:
        figures = writing(arguments.rows, Path(name), arguments.part_s) if arguments.rows else {}
        for key, value in figures.items():
            sys.stdout.write(f"{key:>20} {value:10.2f}\n")
    with tempfile.TemporaryDirectory() as name:
        listener = Listener() if arguments.listener else None
        try:
            found = asyncio.run(flood(parts, Path(name), listener))
        finally:
            if listener is not None:
                listener.close()
        missed = []
        for one in found.pop("floods"):
            sys.stdout.write("  ".join(f"{key} {value:,.2f}" for key, value in one.items()) + "\n")
            late = [f"{key} {value:.2f}" for key, value in one.items() if key.endswith("_ratio") and value > MOST_RATIO]
            if late:
                missed.append(f"at {one['asked']:,} frames a second {', '.join(late)}, aim {MOST_RATIO}")
        sys.stdout.write(f"{found}\nEvery row of the sender is stored once.\n")
        for text in missed:
            sys.stdout.write(f"MISSED: {text}\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
