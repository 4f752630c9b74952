"""What Prometheus sees. Read from the parts at the moment it asks; nothing is counted twice."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alpha.live_state.read import DataState
from alpha.postgres.rejected import RejectedMessages
from websocket_listener.bot import BotListener
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.public import PublicFeed

_Value = Callable[[BotListener], float]


class ListenerMetrics(Collector):
    """The metrics of the process."""

    def __init__(
        self, bots: Sequence[BotListener], database: PostgresWriter, rejected: RejectedMessages, public: PublicFeed
    ) -> None:
        self._bots = bots
        self._database = database
        self._rejected = rejected
        self._public = public

    def collect(self) -> Iterable[Metric]:
        """One family after another."""
        yield from self._of_bots()
        counts, now_s = self._database.counts, time.monotonic()
        oldest_s = self._database.oldest_s
        yield _gauge("listener_buffer_rows", "Rows that wait for PostgreSQL.", len(self._database))
        yield _gauge(
            "listener_buffer_oldest_seconds",
            "Age of the oldest row that waits for PostgreSQL.",
            0.0 if oldest_s is None else now_s - oldest_s,
        )
        yield _gauge("listener_commit_lag_seconds", "From arrival to commit, last batch.", counts.lag_s)
        yield _counter("listener_rows_committed", "Fills stored from the streams.", counts.committed)
        yield _counter("listener_rows_duplicate", "Fills that were stored before.", counts.duplicates)
        yield _counter("listener_rows_dropped", "Rows dropped because the buffer was full.", counts.dropped)
        yield _counter("listener_rows_refused", "Rows that PostgreSQL can never take.", counts.refused)
        yield _counter("listener_batches", "Transactions of the group writer.", counts.batches)
        yield _counter("listener_commit_failures", "Transactions that failed and were tried again.", counts.failures)
        yield _counter("listener_rejected_messages", "Messages that could not be read.", self._rejected.count)
        yield _counter(
            "listener_rejected_lost", "Messages that could not be read and were only counted.", self._rejected.lost
        )
        yield _counter("listener_candles_filled", "Candles fetched over REST.", self._public.candles.filled)
        yield _gauge("listener_public_live", "1 while the public stream is live.", self._public.stream.live)

    def _of_bots(self) -> Iterable[Metric]:
        now_s = time.monotonic()
        gauges: dict[str, tuple[str, _Value]] = {
            "connected": ("1 while the private stream is live.", lambda b: b.status.connected),
            "synced": ("1 while the live state may be trusted.", lambda b: b.status.state() is DataState.SYNCED),
            "last_message_seconds": (
                "Wall-clock time of the last message, seconds since 1970.",
                lambda b: b.status.last_message_ms / 1_000,
            ),
            "waiting_rows": ("Rows of this bot that wait for PostgreSQL.", lambda b: _of(b, self._database.waiting)),
            "commit_seconds": (
                "From arrival to commit, last batch with rows of this bot.",
                lambda b: _of(b, self._database.lags_s),
            ),
            "redis_lag_seconds": ("From arrival to Redis, last batch.", lambda b: b.live.lag_s),
            "redis_away_seconds": (
                "How long Redis has not been written.",
                lambda b: 0.0 if b.live.lost_since_s is None else now_s - b.live.lost_since_s,
            ),
            "audit_seconds": ("How long the last audit took.", lambda b: b.auditor.last_s if b.auditor else 0.0),
        }
        counters: dict[str, tuple[str, _Value]] = {
            "backfilled_rows": (
                "Executions stored by a read over REST.",
                lambda b: b.backfill.counts.inserted if b.backfill else 0,
            ),
            "unseen_rows": (
                "Executions that the stream had not brought.",
                lambda b: b.backfill.counts.unseen if b.backfill else 0,
            ),
            "duplicates": ("Executions that were pushed again.", lambda b: b.feed.duplicates if b.feed else 0),
            "unread_messages": ("Messages that could not be read.", lambda b: b.feed.unread if b.feed else 0),
            "audits": ("Audits that were finished.", lambda b: b.auditor.audits if b.auditor else 0),
            "audit_failures": ("Audits that failed.", lambda b: b.auditor.failures if b.auditor else 0),
            "repaired": ("Live state put right by an audit.", lambda b: b.auditor.repaired if b.auditor else 0),
            "old_changes_ignored": ("Changes that Redis refused as old.", lambda b: b.live.ignored),
            "reconnects": ("Connections that were lost or not had.", lambda b: b.stream.reconnects if b.stream else 0),
            "replaced": ("Ageing connections replaced without a gap.", lambda b: b.stream.replaced if b.stream else 0),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(f"listener_{name}", text, labels=["bot"])
            for bot in self._bots:
                gauge.add_metric([bot.bot.id], float(value(bot)))
            yield gauge
        for name, (text, value) in counters.items():
            counter = CounterMetricFamily(f"listener_{name}", text, labels=["bot"])
            for bot in self._bots:
                counter.add_metric([bot.bot.id], float(value(bot)))
            yield counter


def _of(bot: BotListener, values: Mapping[int, float]) -> float:
    """Metrics of this bot's account; 0 before it is identified."""
    return 0.0 if bot.account is None else values.get(bot.account.id, 0.0)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))
