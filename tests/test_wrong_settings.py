"""What every service says about a setting that is wrong, whatever is in it."""

import pytest

from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha.strategy.parameters import load_parameters
from risk_guard.settings import GuardSettings
from tests.support.toy_bot import ToyParameters
from trade_sync_service.settings import SyncSettings


def test_a_wrong_value_is_not_shown_at_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARD_PATROL_S", "x" * 100_000)
    with pytest.raises(Misconfigured, match=r"GUARD_PATROL_S is 'x+\.\.\. \(100,002 characters\):") as fault:
        load(GuardSettings, env_file=None)
    assert len(max(str(fault.value).splitlines(), key=len)) < 400
    with pytest.raises(Misconfigured) as fault:
        load_parameters(ToyParameters, overrides={"stop": "x" * 100_000})
    assert len(str(fault.value)) < 400
    with pytest.raises(Misconfigured) as fault:
        load_parameters(ToyParameters, environment={"TOY_PARAMETERS": "x" * 100_000}, prefix="TOY")
    assert len(str(fault.value)) < 400


@pytest.mark.parametrize("text", ["inf", "-inf", "nan", "Infinity"])
def test_a_duration_is_finite(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("SYNC_INTERVAL_S", text)
    monkeypatch.setenv("GUARD_ANSWER_S", text)
    with pytest.raises(Misconfigured, match=f"SYNC_INTERVAL_S is '{text}': input should be a finite number"):
        load(SyncSettings, env_file=None)
    with pytest.raises(Misconfigured, match=f"GUARD_ANSWER_S is '{text}': input should be a finite number"):
        load(GuardSettings, env_file=None)
    with pytest.raises(Misconfigured, match="finite number"):
        load_parameters(ToyParameters, overrides={"stop": text})
