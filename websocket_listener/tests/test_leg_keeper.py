"""Every order of a hedge account is confirmed in the end, however long the history: 50 per read, the rest by 50 per audit."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock

import msgspec

from alpha.model.account import Account
from alpha.model.leg import LONG, SHORT
from websocket_listener.leg_keeper import LegKeeper
from websocket_listener.legs import Legs
from websocket_listener.tests.rows import execution


async def test_a_long_history_is_confirmed_to_its_last_order() -> None:
    legs = Legs(hedged={"BTCUSDT": True})
    base = execution()
    rows = [
        msgspec.structs.replace(
            base, symbol="BTCUSDT", exec_id=f"e{n}", order_id=f"o{n}", side="Buy", closed_size=base.qty * 0
        )
        for n in range(220)
    ]
    asked: list[str] = []

    async def order_by_id(_symbol: str, order_id: str, **_rank: object) -> Any:
        asked.append(order_id)
        # the last one is not what its fields say
        return SimpleNamespace(leg=SHORT if order_id == "o219" else LONG)

    gateway, pool, connection = MagicMock(order_by_id=order_by_id), MagicMock(), MagicMock()
    connection.fetch, connection.execute = AsyncMock(return_value=[]), AsyncMock()
    connection.fetchval = AsyncMock(return_value=None)
    pool.acquire.return_value.__aenter__ = AsyncMock(return_value=connection)
    keeper = LegKeeper(legs, MagicMock(spec=Account, id=1), gateway, pool)
    assert await keeper.legs_of(rows) == [LONG] * 220
    assert len(asked) == 50
    for audit in range(1, 5):
        assert not [call for call in connection.execute.await_args_list if "correct_leg" in call.args[0]]
        await keeper.settle()
        assert len(asked) == min(220, 50 + 50 * audit)
    assert sorted(asked) == sorted(row.order_id for row in rows)
    (corrected,) = [call.args[2:] for call in connection.execute.await_args_list if "correct_leg" in call.args[0]]
    assert corrected == ("BTCUSDT", "e219", "o219", SHORT, LONG)
    await keeper.settle()
    assert len(asked) == 220
