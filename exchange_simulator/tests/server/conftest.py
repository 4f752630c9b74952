"""What the tests of the server share."""

import pytest


@pytest.fixture(autouse=True)
def _answers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pause before the answer to a subscription is for clients that break without it; these do not."""
    monkeypatch.setattr("exchange_simulator.ws.session.SUBSCRIBE_DELAY_S", 0.0)
