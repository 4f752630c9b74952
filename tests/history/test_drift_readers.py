"""Everyone who talks to the exchange keeps what is new there: each service runs the keeper, and each role may store it."""

import ast
from pathlib import Path

import pydantic
import pytest

from alpha.config.services import DatabaseSettings
from alpha.drift import DriftKind, DriftNotes
from alpha.postgres.database import Connection
from alpha.postgres.drift import flush_drift
from tests.history.roles import PASSWORDS

ROOT = Path(__file__).resolve().parents[2]
READERS = {
    "websocket_listener": "alpha_listener",
    "trade_sync_service": "alpha_sync",
    "risk_guard": "alpha_guard",
    "bot_runner": "alpha_strategy",
    "tick_recorder": "alpha_ticks",
    "analysis_service": "alpha_analysis",
}
SERVICES = (*READERS, "model_server", "telegram_manager", "dashboard", "api_server")


@pytest.mark.parametrize(("service", "role"), READERS.items())
async def test_each_role_may_note_what_is_new(
    service: str, role: str, history_settings: DatabaseSettings, owner: Connection
) -> None:
    settings = history_settings.model_copy(
        update={"postgres_user": role, "postgres_password": pydantic.SecretStr(PASSWORDS[role])}
    )
    notes = DriftNotes()
    notes.note(DriftKind.FIELD, "instrument", "moonPhase", "waxing")
    await flush_drift(settings, service, notes)
    assert notes.take() == []
    assert await owner.fetchval("SELECT service FROM audit.venue_drift WHERE name = 'moonPhase'") == service


def test_who_opens_a_gateway_or_a_stream_keeps_drift_and_nobody_else_talks_to_the_exchange() -> None:
    talks, keeps = set(), set()
    for service in SERVICES:
        for path in (ROOT / service).glob("*.py"):
            names = {node.id for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Name)}
            if names & {"Gateway", "market_gateway", "Stream"}:
                talks.add(service)
            if "keep_drift" in names:
                keeps.add(service)
    assert talks == keeps == set(READERS)
