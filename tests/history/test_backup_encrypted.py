"""Encrypted backups: rehearsed before, unreadable without the operator's key, read with it in a drill, copied by a hook."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alpha.alerts import Alert, Alerts
from alpha.config.loader import load
from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from alpha.postgres.fills import insert_fills
from database.backup.__main__ import _rehearse, _restore
from database.backup.encryption import last_drill, readable
from database.backup.retention import BackupStore
from database.backup.service import BackupService
from database.backup.settings import BackupSettings
from demo.postgres import binaries
from tests.history.build import new_account
from tests.support.fill_generator import some_fills

NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)
pytestmark = pytest.mark.skipif(shutil.which("age") is None, reason="the program age is not on this machine")


class Kept(Alerts):
    """Alerts that are only kept."""

    def __init__(self) -> None:
        self.raised: list[Alert] = []
        self.over: set[str] = set()

    async def resolve(self, key: str, now_ms: int, *, bot: str = "") -> None:
        """Keep its key."""
        self.over.add(key)

    async def raise_alert(self, alert: Alert, now_ms: int, *, again_after_ms: int = 0) -> None:
        """Keep it."""
        self.raised.append(alert)


def new_identity(path: Path) -> str:
    """Make a private key; returns its public one."""
    subprocess.run(["age-keygen", "-o", str(path)], check=True, capture_output=True)
    made = subprocess.run(["age-keygen", "-y", str(path)], check=True, capture_output=True, text=True)
    return made.stdout.strip()


def settings_of(history_settings: DatabaseSettings, folder: Path, **more: str) -> BackupSettings:
    """The service's settings for this test's database."""
    return load(
        BackupSettings,
        env_file=None,
        **history_settings.model_dump(exclude={"postgres_password"}),
        postgres_password=history_settings.postgres_password,
        backup_dir=folder / "backups",
        backup_programs=binaries(),
        **more,
    )


async def test_a_night_with_a_recipient_and_the_months_drill(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path
) -> None:
    await insert_fills(owner, some_fills(1, 500, await new_account(owner), "BTCUSDT"))
    public = new_identity(tmp_path / "key")
    hook = tmp_path / "copy.sh"
    hook.write_text(f'#!/bin/sh\ncp "$1" "$2" {tmp_path}/elsewhere/\n', encoding="utf-8")
    hook.chmod(0o755)
    (tmp_path / "elsewhere").mkdir()
    settings = settings_of(history_settings, tmp_path, backup_age_recipients=public, backup_hook=str(hook))
    alerts = Kept()
    service = BackupService(settings, alerts, lambda: NOW)
    service.shelves.prepare()
    assert await service.once(), service.fault()

    backup = service.shelves.newest()
    assert backup is not None
    assert backup.encrypted
    # no plain file is left on any shelf; the copy elsewhere is the encrypted one with its manifest
    assert not list(settings.backup_dir.rglob("*.dump"))
    assert [len(service.shelves.backups(shelf)) for shelf in ("daily", "weekly", "monthly")] == [1, 1, 1]
    assert sorted(path.name for path in (tmp_path / "elsewhere").iterdir()) == sorted(
        [backup.manifest.name, backup.path.name]
    )
    rows = await owner.fetch("SELECT kind, ok FROM audit.backups ORDER BY backup_id")
    assert [tuple(row) for row in rows] == [("rehearsal", True), ("backup", True), ("copy", True)], (
        "rehearsed before it was encrypted"
    )
    assert alerts.over == {"backup-rehearsal", "backup-backup", "backup-copy"}
    assert [(alert.key, alert.lasting) for alert in alerts.raised] == [("backup-drill", True)]

    assert await _rehearse(settings, "latest", tmp_path / "key", drill=True) == 0
    assert last_drill(service.shelves) is not None
    assert not list(settings.backup_dir.glob(".drill-*")), "nothing decrypted is left"
    await service._remind(datetime.now(UTC) + timedelta(days=30))
    assert len(alerts.raised) == 1
    await service._remind(datetime.now(UTC) + timedelta(days=32))
    assert len(alerts.raised) == 2

    await owner.execute("DELETE FROM trading.round_trips; DELETE FROM trading.fills")
    await owner.close()
    assert await _restore(settings, "latest", tmp_path / "key") == 0


async def test_without_the_key_or_with_another_nothing_is_read(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path
) -> None:
    public = new_identity(tmp_path / "key")
    new_identity(tmp_path / "other")
    settings = settings_of(history_settings, tmp_path, backup_age_recipients=public)
    service = BackupService(settings, None, lambda: NOW)
    service.shelves.prepare()
    assert await service.once(), service.fault()
    backup = BackupStore(settings.backup_dir).find("latest")
    for identity, said in ((None, "--identity"), (tmp_path / "none", "not a file"), (tmp_path / "other", "age failed")):
        with pytest.raises(Exception, match=said):
            async with readable(settings, backup, identity):
                pass
    assert not list(settings.backup_dir.glob(".drill-*"))


@pytest.mark.parametrize(("program", "said"), [("age-that-is-not-there", "cannot be run"), ("false", "age failed")])
async def test_what_cannot_be_encrypted_is_a_fault_and_the_good_backup_stays(
    owner: Connection, history_settings: DatabaseSettings, tmp_path: Path, program: str, said: str
) -> None:
    public = new_identity(tmp_path / "key")
    settings = settings_of(history_settings, tmp_path, backup_age_recipients=public, backup_age_program=program)
    service = BackupService(settings, Kept(), lambda: NOW)
    service.shelves.prepare()
    assert not await service.once()
    assert said in (service.fault() or "")
    newest = service.shelves.newest()
    assert newest is not None
    assert not newest.encrypted
