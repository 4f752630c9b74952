"""What the exchange sends that its documents did not know: each kind noted once, never an error.

Readers call `note`; it costs a look into a set once a thing is known, and never raises. A service writes the notes to
`audit.venue_drift` (alpha.postgres.drift) and shows their number to Prometheus.
"""

import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

#: A place that invents names without end must not fill memory or the table.
MOST_NOTES = 500
MOST_EXAMPLE = 200
_SECRET = re.compile(r"key|secret|sign|token|passphrase|password|auth", re.IGNORECASE)


class DriftKind(StrEnum):
    """What was new."""

    FIELD = "field"
    VALUE = "value"
    CODE = "code"
    TOPIC = "topic"


@dataclass(frozen=True, slots=True)
class Drift:
    """One new thing: `place` is the kind of row, the endpoint or the stream, `name` the field, `field=value`, code or topic."""

    kind: DriftKind
    place: str
    name: str
    example: str


class DriftNotes(Collector):
    """The notes of this process. Safe to call from any thread."""

    def __init__(self, most: int = MOST_NOTES) -> None:
        self._most = most
        self._known: set[tuple[DriftKind, str, str]] = set()
        self._waiting: list[Drift] = []
        self._lock = threading.Lock()
        self.counts: Counter[DriftKind] = Counter()

    def note(self, kind: DriftKind, place: str, name: str, example: object = "") -> None:
        """Remember a new thing; the same thing again, and anything beyond the limit, is left out."""
        key = (kind, place, name)
        if key in self._known:
            return
        with self._lock:
            if key in self._known or len(self._known) >= self._most:
                return
            self._known.add(key)
            self.counts[kind] += 1
            self._waiting.append(Drift(kind, _clean(place), _clean(name), shown(name, example)))

    def take(self) -> list[Drift]:
        """What was noted since the last call; who takes it stores it, or gives it back."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, notes: Iterable[Drift]) -> None:
        """These could not be stored now."""
        with self._lock:
            self._waiting = [*notes, *self._waiting]

    def collect(self) -> Iterable[Metric]:
        """`venue_drift_total` by kind."""
        family = CounterMetricFamily(
            "venue_drift", "New fields, values, codes and topics of the exchange, each counted once.", labels=["kind"]
        )
        for kind in DriftKind:
            family.add_metric([kind.value], self.counts[kind])
        yield family


def shown(name: str, example: object) -> str:
    """An example that can be kept: short, printable, and masked where the name suggests a secret."""
    if _SECRET.search(name.partition("=")[0]):
        return "(not kept: the name suggests a secret)"
    text = _SECRET_VALUE.sub(r"\1***", _clean(repr(example) if not isinstance(example, str) else example))
    return text if len(text) <= MOST_EXAMPLE else f"{text[:MOST_EXAMPLE]}..."


#: Inside an object that is an example: a value after a name that suggests a secret.
_SECRET_VALUE = re.compile(
    r"""(["'][^"']*(?:key|secret|sign|token|passphrase|password|auth)[^"']*["']\s*:\s*)(?:"[^"]*"|'[^']*'|[^,}\s]+)""",
    re.IGNORECASE,
)


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[: 4 * MOST_EXAMPLE])


#: The notes of this process: decoding is pure functions, which nobody can hand anything.
NOTES = DriftNotes()
