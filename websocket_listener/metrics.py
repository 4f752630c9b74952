"""What Prometheus sees. Read from the parts at the moment it asks; nothing is counted twice."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alpha.live_state.read import DataState
from alpha.postgres.rejected import RejectedMessages
from websocket_listener.account_recorder import AccountRecorder
from websocket_listener.bot import BotListener
from websocket_listener.postgres_writer import PostgresWriter
from websocket_listener.public import PublicFeed

_Value = Callable[[BotListener], float]


class ListenerMetrics(Collector):
    """The metrics of the process."""

    def __init__(
        self,
        bots: Sequence[BotListener],
        recorders: Mapping[str, AccountRecorder],
        database: PostgresWriter,
        rejected: RejectedMessages,
        public: PublicFeed,
    ) -> None:
        self._bots = bots
        self._recorders = recorders
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

    def _recorded(self, value: Callable[[AccountRecorder], float]) -> _Value:
        """A value of the bot's recorded account; 0 while it is not recorded here."""

        def value_of(bot: BotListener) -> float:
            recorder = self._recorders.get(bot.bot.id)
            return 0.0 if recorder is None else value(recorder)

        return value_of

    def _of_bots(self) -> Iterable[Metric]:
        now_s = time.monotonic()
        gauges: dict[str, tuple[str, _Value]] = {
            "connected": ("1 while the private stream is live.", lambda b: b.status.connected),
            "synced": ("1 while the live state may be trusted.", lambda b: b.status.state() is DataState.SYNCED),
            "last_message_seconds": (
                "Wall-clock time of the last message, seconds since 1970.",
                lambda b: b.status.last_message_ms / 1_000,
            ),
            "waiting_rows": (
                "Rows of this bot that wait for PostgreSQL.",
                self._recorded(lambda r: self._database.waiting.get(r.account.id, 0)),
            ),
            "commit_seconds": (
                "From arrival to commit, last batch with rows of this bot.",
                self._recorded(lambda r: self._database.lags_s.get(r.account.id, 0.0)),
            ),
            "redis_lag_seconds": ("From arrival to Redis, last batch.", self._recorded(lambda r: r.live.lag_s)),
            "redis_away_seconds": (
                "How long Redis has not been written.",
                self._recorded(lambda r: 0.0 if r.live.lost_since_s is None else now_s - r.live.lost_since_s),
            ),
            "audit_seconds": ("How long the last audit took.", self._recorded(lambda r: r.auditor.last_s)),
        }
        counters: dict[str, tuple[str, _Value]] = {
            "backfilled_rows": (
                "Executions stored by a read over REST.",
                self._recorded(lambda r: r.backfill.counts.inserted),
            ),
            "unseen_rows": (
                "Executions that the stream had not brought.",
                self._recorded(lambda r: r.backfill.counts.unseen),
            ),
            "duplicates": ("Executions that were pushed again.", self._recorded(lambda r: r.feed.duplicates)),
            "unread_messages": ("Messages that could not be read.", self._recorded(lambda r: r.feed.unread)),
            "audits": ("Audits that were finished.", self._recorded(lambda r: r.auditor.audits)),
            "audit_failures": ("Audits that failed.", self._recorded(lambda r: r.auditor.failures)),
            "repaired": ("Live state put right by an audit.", self._recorded(lambda r: r.auditor.repaired)),
            "old_changes_ignored": ("Changes that Redis refused as old.", self._recorded(lambda r: r.live.ignored)),
            "reconnects": ("Connections that were lost or not had.", self._recorded(lambda r: r.stream.reconnects)),
            "replaced": ("Ageing connections replaced without a gap.", self._recorded(lambda r: r.stream.replaced)),
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


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))
