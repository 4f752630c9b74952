"""Models as an operator sees and steers them, over a real database."""

from datetime import timedelta
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.errors import Rejected
from alpha.scoring.manifest import read_artefact, record_of
from operations import models
from operations.arguments import Arguments, one_word
from operations.commands import BY_NAME, Command, Query
from operations.context import Operations
from tests.support.models import artefact, needs_training_packages
from tests.support.operations import NOW, run_sql

pytestmark = needs_training_packages


async def put_on_record(platform: Operations, folder: Path) -> str:
    """Register an artefact as the terminal does; returns its version."""
    found = read_artefact(folder)
    assert await models.register(platform, found.version, record_of(found.manifest), "test") == "shadow"
    assert await models.register(platform, found.version, record_of(found.manifest), "test") == "shadow", "repeatable"
    return found.version


async def say_scores(settings: DatabaseSettings, version: str, days: float, bars: int = 200) -> None:
    """Scores of a shadow over `days`, which pay where they are high, mostly."""
    step = timedelta(days=days) / (bars - 1)
    rows = ", ".join(
        f"((SELECT min(account_id) FROM trading.accounts), '{version}', 'SOLUSDT', '{(NOW + step * n).isoformat()}', "
        f"'shortseller_001', 'shadow', 'x', '{{0,0,0,0,0,0}}', {n % 10 / 10}, '', 1.5, {0.01 if n % 10 > 3 + n % 3 else -0.01})"
        for n in range(bars)
    )
    await run_sql(
        settings,
        "INSERT INTO trading.predictions (account_id, version, symbol, closed_at, bot_id, stage, features_hash, features, "
        f"score, reason, latency_ms, outcome) VALUES {rows}",
    )


async def test_a_null_model_is_never_promoted(
    platform: Operations, house_database: DatabaseSettings, tmp_path: Path
) -> None:
    version = await put_on_record(platform, artefact(tmp_path))
    await say_scores(house_database, version, 30)
    command = BY_NAME["model_promote"]
    assert isinstance(command, Command)
    args = Arguments(rest=f"proof {version[:12]}")
    assert "It is null and will be refused" in await command.warn(platform, args)
    with pytest.raises(Rejected, match="is null"):
        await models.promote(platform, "proof", None, "test")


async def test_a_model_trades_after_its_days_as_a_shadow_and_the_one_before_retires(
    platform: Operations, house_database: DatabaseSettings, tmp_path: Path
) -> None:
    version = await put_on_record(platform, artefact(tmp_path, effect=1.5))
    with pytest.raises(Rejected, match=r"shadow for 0(\.0)? days; 14 are needed"):
        await models.promote(platform, "proof", None, "test")
    await say_scores(house_database, version, 13.9)
    with pytest.raises(Rejected, match=r"13\.9 days"):
        await models.promote(platform, "proof", None, "test")
    await run_sql(house_database, "DELETE FROM trading.predictions")
    await say_scores(house_database, version, 14.1)
    assert (await models.promote(platform, "proof", version[:12], "test")).done
    seen = await models.model_detail(platform, "proof")
    assert (seen.row.stage, seen.row.stage_by, seen.live.ripe) == ("live", "test", 200)
    assert seen.live.auc is not None
    assert seen.live.auc > 0.9
    assert seen.agrees is False, "far better than training said is no agreement either"
    query = BY_NAME["model"]
    assert isinstance(query, Query)
    for words in ("", "proof", f"proof {version[:8]}"):
        page = await query.ask(platform, Arguments(rest=words or None))
        assert page.blocks
    await models.note_skew(platform, version, 10, 1, "Skew: 1 of 10 rows differ.")
    assert (await models.model_detail(platform, "proof")).skew is not None
    second = read_artefact(artefact(tmp_path / "b", effect=1.5)).manifest
    other = "f" * 64
    await models.register(platform, other, record_of(second), "test")
    rows = {row.version: row for row in await models.models(platform)}
    assert rows[other].is_null, "fewer attempts than versions on record: the list of attempts was lost"
    assert "retired" in (await models.retire(platform, "proof", version[:12], "test")).text
    with pytest.raises(Rejected, match=r"There is no model nobody\. Models: proof"):
        await models.find_model(platform, "nobody", None)


def test_a_command_of_two_words_is_read_in_one() -> None:
    assert one_word("/model promote trend abc") == "/model_promote trend abc"
    assert one_word("/Model@alpha_bot  RETIRE trend") == "/model_retire@alpha_bot trend"
    assert one_word("/model promoted") == "/model promoted"
    assert one_word("model promote x") == "model promote x"


def test_drift_is_what_lies_beyond_chance() -> None:
    ranges = {"X": {"a": {"deciles": [float(n) for n in range(1, 10)], "shares": [0.1] * 10, "noise": 0.02}}}
    manifest = {"drift_bars": 100, "ranges": ranges, "features": ["a"]}
    even = [{"symbol": "X", "features": [n % 10 + 0.5]} for n in range(100)]
    assert models.drift_rows(manifest, even)[0].index == pytest.approx(0.0, abs=1e-9)
    (row,) = models.drift_rows(manifest, [{"symbol": "X", "features": [n % 5 + 0.5]} for n in range(100)])
    assert row.excess > models.STOP
    assert models.drift_rows(manifest, even[:99]) == []
