"""Backup and restore with PostgreSQL's own programs on a real server."""

import asyncio
import json
import os
import shutil
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from alpha.alerts import Alerts
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.errors import Fatal, Misconfigured
from alpha.live_state import keys
from alpha.live_state.connect import RedisClients
from alpha.postgres.database import Connection, connect
from alpha.postgres.fills import insert_fills
from alpha.postgres.migrate import MIGRATIONS, migrate
from alpha.registry import SHARED_DB
from database.backup.__main__ import main
from database.backup.dump import take
from database.backup.fingerprint import fingerprint
from database.backup.restore import read_card, rehearse, restore
from database.backup.retention import BackupStore, due_at
from database.backup.service import BackupService
from database.backup.settings import BackupSettings
from demo.postgres import EmbeddedPostgres, binaries
from operations.system import SQL as SYSTEM
from tests.history.build import new_account
from tests.history.conftest import of, plain_form
from tests.history.roles import PASSWORDS
from tests.history.test_roles import log_in
from tests.support.alerts import ended_alerts, raised_alerts
from tests.support.fill_generator import some_fills

NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)  # a Monday


@pytest.fixture(autouse=True)
def own_umask() -> Iterator[None]:
    """The command sets its process's umask; here that is the tests'."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def backup_settings(history_settings: DatabaseSettings, tmp_path: Path) -> BackupSettings:
    """The service's settings for this test's database."""
    return load(
        BackupSettings,
        env_file=None,
        **history_settings.model_dump(exclude={"postgres_password"}),
        postgres_password=history_settings.postgres_password,
        backup_dir=tmp_path / "backups",
        backup_programs=binaries(),
    )


@pytest.fixture
async def filled(owner: Connection) -> Connection:
    """A database with 2,000 fills and their derived rows."""
    account = await new_account(owner)
    rows = some_fills(1, 2_000, account, "BTCUSDT")
    await insert_fills(owner, rows)
    return owner


async def test_a_backup_restores_to_the_same_figures_and_works_on(
    filled: Connection, history_settings: DatabaseSettings, backup_settings: BackupSettings
) -> None:
    before = await fingerprint(filled)
    backup = await take(backup_settings, BackupStore(backup_settings.backup_dir), NOW)
    await filled.execute("DELETE FROM trading.round_trips; DELETE FROM trading.fills")
    await filled.close()
    restored = await restore(backup_settings, backup, NOW + timedelta(hours=1))
    assert restored.former == f"{history_settings.postgres_db}_before_20260302_030000"
    again = await connect(history_settings, "tests")
    assert await fingerprint(again) == before
    # grants, triggers and ordering are restored: the listener can continue, an unauthorised role cannot
    listener = await log_in(history_settings, "alpha_listener")
    account = await listener.fetchval(
        "SELECT trading.register_account('simulated', 'shortseller_001', 'shortseller_001')"
    )
    more = some_fills(2, 300, account, "ETHUSDT")
    assert (await insert_fills(listener, more)).inserted == 300
    await listener.close()
    former = await connect(of(history_settings, restored.former), "tests")
    assert await former.fetchval("SELECT count(*) FROM trading.fills") == 0
    await former.close()
    await again.execute(f"DROP DATABASE {restored.former}")
    await again.close()


async def test_on_a_fresh_host_the_first_backup_waits_for_the_schema(
    postgres_server: EmbeddedPostgres, backup_settings: BackupSettings, tmp_path: Path
) -> None:
    empty = of(postgres_server.settings(), "fresh_host")
    owner = await connect(of(empty, "postgres"), "tests")
    await owner.execute("CREATE DATABASE fresh_host")
    await owner.close()
    settings = backup_settings.model_copy(update={"postgres_db": "fresh_host"})
    service, stop = BackupService(settings), asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    while "no schema" not in str(service.fault()):
        assert not running.done()
        await asyncio.sleep(0.01)
    connection = await connect(empty, "tests")
    first = tmp_path / "first"
    first.mkdir()
    for path in sorted(MIGRATIONS.glob("*.sql"))[:20]:
        shutil.copy(path, first)
    await migrate(connection, first)
    await asyncio.sleep(1.5)  # longer than its pause: a half migrated database is no reason to begin
    assert not service.shelves.backups()
    await migrate(connection)
    while not service.shelves.backups():
        assert not running.done()
        await asyncio.sleep(0.01)
    stop.set()
    await running
    assert await connection.fetchval("SELECT count(*) FROM audit.backups WHERE NOT ok") == 0
    await connection.close()


async def test_restore_into_an_empty_server(
    filled: Connection, backup_settings: BackupSettings, tmp_path: Path
) -> None:
    backup = await take(backup_settings, BackupStore(backup_settings.backup_dir), NOW)
    server = EmbeddedPostgres(tmp_path / "other", "another-password", durable=False)
    server.start()
    try:
        other = backup_settings.model_copy(update=server.settings().model_dump())
        other = other.model_copy(
            update={"postgres_password": SecretStr("another-password"), "postgres_db": "trading_db"}
        )
        restored = await restore(other, backup, NOW)
        assert restored.former == "trading_db_before_20260302_020000"
        connection = await connect(other, "tests")
        assert await connection.fetchval("SELECT count(*) FROM trading.fills") == 2_000
        await connection.close()
    finally:
        server.stop("immediate")


async def test_a_backup_holds_one_instant_although_fills_arrive_meanwhile(
    filled: Connection, history_settings: DatabaseSettings, backup_settings: BackupSettings
) -> None:
    account = await new_account(filled)
    rows = some_fills(3, 3_000, account, "SOLUSDT")

    async def trade() -> None:
        for start in range(0, len(rows), 10):
            await insert_fills(filled, rows[start : start + 10])

    _, backup = await asyncio.gather(trade(), take(backup_settings, BackupStore(backup_settings.backup_dir), NOW))
    assert await rehearse(backup_settings, backup) > 2_000
    server = await connect(of(history_settings, "postgres"), "tests")
    assert await server.fetchval("SELECT count(*) FROM pg_database WHERE datname LIKE '%rehearsal'") == 0
    await server.close()


async def test_backups_are_readable_by_their_owner_only_and_nothing_half_written_stays(
    filled: Connection, backup_settings: BackupSettings
) -> None:
    shelves = BackupStore(backup_settings.backup_dir)
    backup = await take(backup_settings, shelves, NOW)
    for path in (backup.path, backup.manifest):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert stat.S_IMODE(backup.path.parent.stat().st_mode) == 0o750
    # A truncated dump never becomes a backup and is removed at the next start.
    task = asyncio.create_task(take(backup_settings, shelves, NOW + timedelta(days=1)))
    partial = shelves.partial(backup_settings.postgres_db, NOW + timedelta(days=1))
    while not partial.exists() and not task.done():
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    partial.write_text("what a killed process leaves")
    assert shelves.backups() == [backup]
    shelves.prepare()
    assert not partial.exists()


async def test_a_damaged_backup_is_refused_and_the_present_database_stays(
    filled: Connection, backup_settings: BackupSettings
) -> None:
    backup = await take(backup_settings, BackupStore(backup_settings.backup_dir), NOW)
    card = read_card(backup)
    assert card is not None
    data = bytearray(backup.path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    backup.path.write_bytes(data)
    with pytest.raises(Fatal, match="its checksum differs"):
        await restore(backup_settings, backup, NOW)
    assert await filled.fetchval("SELECT count(*) FROM trading.fills") == 2_000


@plain_form
async def test_a_backup_that_lacks_a_row_fails_its_rehearsal(
    filled: Connection, backup_settings: BackupSettings
) -> None:
    backup = await take(backup_settings, BackupStore(backup_settings.backup_dir), NOW)
    card = read_card(backup)
    assert card is not None
    card["figures"]["trading.fills"]["rows"] = "2001"
    backup.manifest.write_text(json.dumps(card))
    with pytest.raises(Fatal, match=r"trading\.fills: rows is 2000, not 2001"):
        await rehearse(backup_settings, backup)


async def test_the_first_backup_of_a_week_is_rehearsed_and_everything_is_recorded(
    filled: Connection, backup_settings: BackupSettings
) -> None:
    now = NOW
    service = BackupService(backup_settings, now=lambda: now)
    assert service.fault() == "There is no backup yet."
    assert await service.once()
    now = NOW + timedelta(days=1)
    assert await service.once()
    rows = await filled.fetch("SELECT kind, ok, file FROM audit.backups ORDER BY backup_id")
    assert [(row["kind"], row["ok"]) for row in rows] == [("backup", True), ("rehearsal", True), ("backup", True)]
    assert service.fault() is None
    now = NOW + timedelta(days=1, hours=27)
    assert "more than 26 hours ago" in str(service.fault())


async def test_a_failed_backup_is_an_alert_ill_health_and_a_row(
    filled: Connection, backup_settings: BackupSettings, redis_links: RedisClients, tmp_path: Path
) -> None:
    broken = tmp_path / "programs"
    broken.mkdir()
    (broken / "pg_dump").write_text("#!/bin/sh\necho 'no space left on device' >&2\nexit 1\n")
    (broken / "pg_dump").chmod(0o755)
    settings = backup_settings.model_copy(update={"backup_programs": broken})
    service = BackupService(settings, Alerts(redis_links.database(SHARED_DB), "postgres_backup"), now=lambda: NOW)
    assert not await service.once()
    assert "no space left on device" in str(service.fault())
    assert (
        await filled.fetchval("SELECT count(*) FROM audit.backups WHERE NOT ok AND detail LIKE '%no space left%'") == 1
    )
    assert await redis_links.database(SHARED_DB).xlen(keys.ALERTS) == 1
    assert service.shelves.backups() == []
    mended = BackupService(backup_settings, now=lambda: NOW)
    assert await mended.once()
    assert mended.fault() is None


async def test_a_copy_that_fails_is_on_record_until_one_succeeds_or_nothing_is_copied_any_more(
    filled: Connection, backup_settings: BackupSettings, redis_links: RedisClients, tmp_path: Path
) -> None:
    alerts = Alerts(redis_links.database(SHARED_DB), "postgres_backup")
    hook = tmp_path / "copy.sh"
    hook.write_text(f"#!/bin/sh\n[ -e {tmp_path}/mounted ] || {{ echo 'not mounted' >&2; exit 3; }}\n")
    hook.chmod(0o755)
    copying = backup_settings.model_copy(update={"backup_hook": hook})

    async def last_copy(settings: BackupSettings, days: int) -> list[tuple[bool, str]]:
        assert await BackupService(settings, alerts, now=lambda: NOW + timedelta(days=days)).once()
        rows = await filled.fetch(SYSTEM["last_jobs"])
        assert {row["kind"]: row["ok"] for row in rows}["backup"], "the backup itself is good"
        return [(row["ok"], row["detail"]) for row in rows if row["kind"] == "copy"]

    ((well, why),) = await last_copy(copying, 0)
    assert not well
    assert "BACKUP_HOOK ended with 3" in why
    assert "not mounted" in why
    raised = await raised_alerts(redis_links.shared)
    assert [(row["key"], row["lasting"]) for row in raised] == [("backup-copy", "1")]
    assert "backup-copy" not in await ended_alerts(redis_links.shared)
    (tmp_path / "mounted").touch()
    assert await last_copy(copying, 1) == [(True, "BACKUP_HOOK has copied it.")]
    assert await ended_alerts(redis_links.shared) == ["backup-backup", "backup-rehearsal", "backup-copy"]
    (tmp_path / "mounted").unlink()
    ((well, _),) = await last_copy(copying, 2)
    assert not well
    assert await last_copy(backup_settings, 3) == [], "who copies no longer is not at fault for ever"


async def test_the_service_takes_what_is_due_and_stops_when_told(
    filled: Connection, backup_settings: BackupSettings
) -> None:
    service = BackupService(backup_settings)
    stop = asyncio.Event()
    running = asyncio.create_task(service.run(stop))
    while not service.shelves.backups("monthly"):
        assert not running.done()
        await asyncio.sleep(0.01)
    stop.set()
    await running
    assert len(service.shelves.backups()) == 1


def test_thirty_days_twelve_weeks_and_twelve_months_are_kept(tmp_path: Path) -> None:
    shelves = BackupStore(tmp_path)
    shelves.prepare()
    start = datetime(2024, 1, 1, 2, tzinfo=UTC)
    for day in range(400):
        moment = start + timedelta(days=day)
        partial = shelves.partial("trading_db", moment)
        partial.write_text(str(day))
        shelves.keep(partial, "{}", moment)
        shelves.clear({"daily": 30, "weekly": 12, "monthly": 12})
    last = start + timedelta(days=399)
    daily, weekly, monthly = (shelves.backups(shelf) for shelf in ("daily", "weekly", "monthly"))
    assert [backup.taken_at for backup in daily] == [last - timedelta(days=29 - n) for n in range(30)]
    assert len(weekly) == len(monthly) == 12
    assert {backup.taken_at.weekday() for backup in weekly} == {0}
    assert {backup.taken_at.day for backup in monthly} == {1}
    assert weekly[-1].path.read_text() == str((weekly[-1].taken_at - start).days)
    assert shelves.find("latest") == daily[-1]
    assert shelves.find(monthly[0].name) == monthly[0]
    with pytest.raises(Misconfigured, match="'list' shows what there is"):
        shelves.find("nothing")


@pytest.mark.parametrize(
    ("newest", "now", "due"),
    [
        (None, "2026-03-02T13:00", "2026-03-02T13:00"),
        ("2026-03-02T02:00", "2026-03-02T13:00", "2026-03-03T02:00"),
        ("2026-03-01T02:00", "2026-03-02T01:59", "2026-03-02T02:00"),
        ("2026-03-01T02:00", "2026-03-02T02:00", "2026-03-02T02:00"),
        ("2026-02-27T02:00", "2026-03-02T13:00", "2026-03-02T13:00"),
        ("2026-03-02T13:00", "2026-03-02T14:00", "2026-03-03T02:00"),
    ],
)
def test_a_missed_backup_is_due_at_once_and_the_next_one_at_two(newest: str | None, now: str, due: str) -> None:
    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert due_at(None if newest is None else at(newest), at(now), time(2)) == at(due)


def test_the_command_says_in_one_sentence_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTGRES_PASSWORD", PASSWORDS["alpha_c2"])
    assert main(["restore"]) == 2
    assert capsys.readouterr().err.startswith("There is no backup in database/backups/postgres.")
    monkeypatch.setenv("POSTGRES_HOST", "127.0.0.1")
    monkeypatch.setenv("POSTGRES_PORT", "1")
    assert main(["now"]) == 1
    assert "PostgreSQL at 127.0.0.1:1 cannot be reached" in capsys.readouterr().err


def test_runs_by_hand_use_up_none_of_the_daily_ones(tmp_path: Path) -> None:
    shelves = BackupStore(tmp_path)
    shelves.prepare()
    last = datetime(2025, 6, 30, 2, tzinfo=UTC)
    for day in range(40):
        for hour in range(5):  # the nightly one and four manual ones
            moment = last - timedelta(days=39 - day) + timedelta(hours=hour)
            partial = shelves.partial("trading_db", moment)
            partial.write_bytes(b"dump")
            shelves.keep(partial, "{}", moment)
            shelves.clear({"daily": 30, "weekly": 12, "monthly": 12})
    days = [backup.taken_at.date() for backup in shelves.backups()]
    assert sorted(set(days)) == [(last - timedelta(days=29 - n)).date() for n in range(30)]
    assert len(days) == 28 + 2 * 5, "one of each day, of the last two all"
