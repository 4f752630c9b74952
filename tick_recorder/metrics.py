"""Prometheus metrics, read from the components when scraped."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alpha.bybit.stream import Stream
from tick_recorder.backfill import Backfill
from tick_recorder.fill_quotes import FillQuotes
from tick_recorder.influx.sink import InfluxSink
from tick_recorder.recorder import Recorder
from tick_recorder.writer import Writer


class RecorderMetrics(Collector):
    """The metrics of the process."""

    def __init__(
        self,
        recorder: Recorder,
        writer: Writer,
        backfill: Backfill,
        stream: Stream,
        influx: InfluxSink | None,
        fill_quotes: FillQuotes,
    ) -> None:
        self._recorder = recorder
        self._writer = writer
        self._backfill = backfill
        self._stream = stream
        self._influx = influx
        self._fill_quotes = fill_quotes

    def collect(self) -> Iterable[Metric]:
        """Yield every metric family."""
        counts, written = self._recorder.counts, self._writer.counts
        rows = CounterMetricFamily("ticks_rows", "Rows taken, by kind.", labels=["kind"])
        for kind, number in counts.rows.items():
            rows.add_metric([kind], number)
        yield rows
        yield _counter("ticks_frames", "Frames decoded.", counts.frames)
        yield _counter("ticks_frames_dropped", "Frames dropped because the buffer was full.", counts.dropped_frames)
        yield _counter("ticks_repeats", "Duplicate rows received.", counts.repeats)
        yield _counter("ticks_rejected", "Malformed frames and rows.", counts.rejected)
        yield _counter("ticks_decode_seconds", "Processor time spent decoding.", counts.decode_s)
        yield _gauge("ticks_pending_frames", "Frames waiting to be decoded.", self._recorder.pending)
        yield _gauge(
            "ticks_buffer_bytes", "Estimated memory of frames and rows that are waiting.", self._recorder.buffered_bytes
        )
        yield _gauge("ticks_open_gaps", "Open gaps.", len(self._recorder.gaps))
        yield _counter("ticks_interruptions", "Interruptions since the start.", self._recorder.gaps.opened)
        yield _counter("ticks_gaps", "Interruptions that lost rows.", self._recorder.gaps.lost)
        yield _counter("ticks_files", "Parts written.", written.files)
        yield _counter("ticks_file_bytes", "Bytes of the parts.", written.bytes_written)
        yield _counter("ticks_write_seconds", "Processor time spent converting and writing.", written.write_s)
        yield _counter("ticks_hours_joined", "Hours merged into one file.", written.joined)
        yield _counter("ticks_hours_removed", "Hours deleted.", written.hours_removed)
        yield _counter("ticks_write_failures", "Failed writes.", written.failures)
        yield _gauge("ticks_stored_bytes", "Size of all files, at the last check.", self._writer.bytes_used)
        yield _counter("ticks_backfill_requests", "Requests for missed trades.", self._backfill.requests)
        yield _counter("ticks_backfill_failures", "Failed requests for missed trades.", self._backfill.failures)
        yield _counter("ticks_fills_measured", "Our fills whose quotes were stored.", self._fill_quotes.measured)
        yield _gauge("ticks_stream_live", "1 while the stream is live.", self._stream.live)
        yield _counter("ticks_reconnects", "Connections that were lost.", self._stream.reconnects)
        if self._influx is not None:
            sent = self._influx.counts
            yield _counter("ticks_influx_rows", "Rows sent to InfluxDB.", sent.rows)
            yield _counter("ticks_influx_rejected", "Lines refused by InfluxDB.", sent.rejected)
            yield _counter(
                "ticks_influx_beyond_retention",
                "Points that InfluxDB left out because they are older than it keeps points.",
                sent.beyond_retention,
            )
            yield _counter("ticks_influx_failures", "Requests that failed.", sent.failures)
            yield _counter("ticks_influx_refilled_hours", "Hours sent again.", sent.refilled)
            yield _gauge("ticks_influx_behind_hours", "Hours that are incomplete in InfluxDB.", self._influx.behind)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
