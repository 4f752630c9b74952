"""In an announced maintenance a sync that fails is no alert; what still fails afterwards is one, once."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import pytest
from prometheus_client import CollectorRegistry

from alpha.clock import Clock
from alpha.errors import Retry
from trade_sync_service.metrics import Metrics
from trade_sync_service.service import RUNS_BEFORE_ALERT, Service


class _Ended(Exception):
    """Ends the loop of the test."""


async def test_a_sync_that_fails_in_a_maintenance_window_is_told_only_when_it_outlasts_it() -> None:
    house: Any = MagicMock()
    house.settings.sync_interval_s = 60
    house.alert = AsyncMock()
    ongoing = '{"windows": [], "ongoing": true}'
    house.redis.shared.get = AsyncMock(return_value=ongoing)
    runs = 0

    async def pause(_seconds: float) -> None:
        nonlocal runs
        runs += 1
        if runs == 3 * RUNS_BEFORE_ALERT:
            house.alert.assert_not_awaited()
            house.redis.shared.get.return_value = None  # the window is over
        if runs == 5 * RUNS_BEFORE_ALERT:
            raise _Ended

    service = Service(house, Metrics(CollectorRegistry()), clock=Clock(sleep=pause))
    service.once = AsyncMock(side_effect=Retry("Bybit does not answer."))  # type: ignore[method-assign]
    with pytest.raises(_Ended):
        await service._keep(SimpleNamespace(id="lxalgo_001"))  # type: ignore[arg-type]
    house.alert.assert_awaited_once()
    assert house.alert.await_args.args[0].key == "sync-failed:lxalgo_001"
    assert house.alert.await_args.args[0].lasting
