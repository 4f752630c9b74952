"""What `.env` sets reaches the container that reads it: compose passes on what its file names, and nothing else."""

import re

import pytest

from alpha.config.loader import Settings
from alpha.postgres.migrate import ROLES
from analysis_service.settings import AnalysisSettings
from api_server.settings import ApiSettings
from bot_runner.settings import BotSettings
from dashboard.settings import DashboardSettings
from database.backup.settings import BackupSettings
from model_server.settings import ModelServerSettings
from risk_guard.settings import GuardSettings
from telegram_manager.settings import CommandCentreSettings
from tests.support.world import ROOT
from tests.test_keys_apart import PRODUCTION, filled, services
from tick_recorder.settings import RecorderSettings
from trade_sync_service.settings import SyncSettings
from websocket_listener.settings import ListenerSettings

#: The same in every container, by its image; a step clock is for tests.
BY_IMAGE = {
    "ALPHA_BOTS_FILE", "HEALTH_HOST", "HEALTH_PORT", "LOG_FORMAT", "BACKUP_DIR", "BACKUP_PROGRAMS", "BACKUP_AGE_PROGRAM", "ALPHA_STEP_URL", "TICKS_DIR",
    "ANALYSIS_FILE", "MODELS_DIR", "MODELS_HOST", "MODELS_PORT", "DASHBOARD_STEERING_DB", "DASHBOARD_STEERING_USER",
    "DASHBOARD_STEERING_REDIS_USER",
}  # fmt: skip
OWN = (
    "GUARD_",
    "LISTENER_",
    "SYNC_",
    "RECONCILE_",
    "C2_",
    "BACKUP_",
    "ALPHA_MAX_",
    "ALPHA_LEASE_",
    "ALPHA_CANDLE_",
    "TICKS_",
    "INFLUX_",
    "ANALYSIS_",
    "MODEL_",
    "MODELS_",
    "API_REQUESTS",
    "API_FAILURES",
    "API_HOSTS",
    "DASHBOARD_STEERING",
    "DASHBOARD_PUBLIC",
    "DASHBOARD_SESSION",
    "DASHBOARD_FAILURES",
)


@pytest.mark.parametrize(
    ("service", "kind"),
    [
        ("risk_guard", GuardSettings),
        ("websocket_listener", ListenerSettings),
        ("trade_sync_service", SyncSettings),
        ("telegram_manager", CommandCentreSettings),
        ("postgres_backup", BackupSettings),
        ("api_server", ApiSettings),
        ("dashboard", DashboardSettings),
        ("tick_recorder", RecorderSettings),
        ("analysis_service", AnalysisSettings),
        ("model_server", ModelServerSettings),
        ("shortseller", BotSettings),
        ("lxalgo", BotSettings),
        ("momentum", BotSettings),
    ],
)
def test_every_setting_of_a_service_reaches_its_container(service: str, kind: type[Settings]) -> None:
    environment = services(PRODUCTION)[service]["environment"]
    names = [name.upper() for name in kind.model_fields if name.upper().startswith(OWN)]
    wanted = [name for name in names if name not in BY_IMAGE]
    assert wanted
    reached = {name for name in wanted if filled(str(environment.get(name, "")), {name: "as set"}) == "as set"}
    assert set(wanted) - reached == set()


def test_the_pooler_lets_in_every_role() -> None:
    listed = re.search(
        r"^for role in (.*); do$", (ROOT / "pgbouncer/start.sh").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed is not None
    assert listed[1].split() == [role.upper() for role in ROLES]
