"""Shared fixtures of the server tests."""

import pytest


@pytest.fixture(autouse=True)
def _answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the acknowledgement delay of subscriptions, which exists for clients that break without it."""
    monkeypatch.setattr("exchange_simulator.ws.session.SUBSCRIBE_DELAY_S", 0.0)
