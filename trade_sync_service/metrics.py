"""The service's Prometheus metrics."""

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge

from trade_sync_service.account import RunResult


class Metrics:
    """The service's metrics, one series per bot."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        bot = ["bot"]
        self._last_success = Gauge(
            "sync_last_success_timestamp_seconds", "When a run last ended well, wall clock.", bot, registry=registry
        )
        self._runs = Counter("sync_runs", "Runs by how they ended.", ["bot", "outcome"], registry=registry)
        self._rows_read = Counter("sync_rows_read", "Closed-P&L rows that the exchange sent.", bot, registry=registry)
        self._rows_new = Counter("sync_rows_new", "Closed trades that were new.", bot, registry=registry)
        self._corrected = Counter("sync_rows_corrected", "Closed trades that were corrected.", bot, registry=registry)
        self._closes_left = Gauge(
            "sync_closes_without_trade", "Closing orders of our fills without a closed trade.", bot, registry=registry
        )
        self._issues = Gauge(
            "sync_open_differences", "Differences between our books and the exchange's.", bot, registry=registry
        )

    def ran(self, bot: str, result: RunResult, at_s: float) -> None:
        """Record a successful run."""
        self._runs.labels(bot, "done").inc()
        self._last_success.labels(bot).set(at_s)
        self._rows_read.labels(bot).inc(result.rows_read)
        self._rows_new.labels(bot).inc(result.rows_new)
        self._corrected.labels(bot).inc(result.corrected)
        self._closes_left.labels(bot).set(result.closes_left)

    def failed(self, bot: str) -> None:
        """Record a failed run."""
        self._runs.labels(bot, "failed").inc()

    def differences(self, bot: str, count: int) -> None:
        """Set the number of open differences."""
        self._issues.labels(bot).set(count)
