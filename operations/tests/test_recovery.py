"""To which moment the database can be brought back, as /health says it."""

from datetime import UTC, datetime

import pytest

from operations import health
from operations.context import Operations
from operations.recovery import Recovery, recovery

DUMP = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("found", "well", "sentence"),
    [
        (Recovery(False, None, False, DUMP), True, "To the dump of 2026-11-30 02:00 UTC; the archive of the log is off."),
        (Recovery(True, 12.4, False, DUMP), True, "To any moment up to 12 s ago."),
        (Recovery(True, 301.0, True, None), False, "To any moment up to 301 s ago. The last piece of the log could not be archived."),
        (Recovery(True, None, False, None), False, "The archive of the log is empty; to no dump yet. Look at the log of PostgreSQL."),
    ],
)  # fmt: skip
def test_it_says_the_moment_and_whether_that_is_well(found: Recovery, well: bool, sentence: str) -> None:
    assert (found.well, found.sentence) == (well, sentence)


async def test_the_command_centre_may_ask_and_health_shows_it(platform: Operations) -> None:
    assert not (await recovery(platform)).archives
    row = next(row for row in await health.health(platform) if row.part == "recovery")
    assert row.well
    assert row.detail == "To no dump yet; the archive of the log is off."
