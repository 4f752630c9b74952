"""What Prometheus sees. Read from the parts at the moment it asks; nothing is counted twice."""

from collections.abc import Callable, Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class AnalysisMetrics(Collector):
    """The metrics of the process, as functions that read them: name (without prefix) to text and value."""

    def __init__(
        self, counters: dict[str, tuple[str, Callable[[], float]]], gauges: dict[str, tuple[str, Callable[[], float]]]
    ) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        """One family after another."""
        for name, (text, value) in self._counters.items():
            yield CounterMetricFamily(f"analysis_{name}", text, value=value())
        for name, (text, value) in self._gauges.items():
            yield GaugeMetricFamily(f"analysis_{name}", text, value=value())
