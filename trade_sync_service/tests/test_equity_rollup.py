"""Each run thins snapshots of equity that are older than a week; that it cannot is no fault of the run."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

from prometheus_client import CollectorRegistry

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import Connection
from trade_sync_service.io.store import AccountStore
from trade_sync_service.metrics import Metrics
from trade_sync_service.service import Service

BOT = "shortseller_001"
_COUNT = "SELECT count(*) FROM trading.equity_snapshots"


async def test_a_run_thins_what_is_older_than_a_week_with_the_services_own_role(
    sync_settings: DatabaseSettings, owner: Connection
) -> None:
    store = await AccountStore.open(sync_settings, BOT, "simulated", "1001")
    link: Any = SimpleNamespace(bot=SimpleNamespace(id=BOT), store=store)
    service = Service(MagicMock(), Metrics(CollectorRegistry()))
    insert = (
        "INSERT INTO trading.equity_snapshots SELECT $1, t, 100, 100, 100, 0 "
        "FROM generate_series($2::text::timestamptz, $2::text::timestamptz + interval '59 min', interval '1 min') AS t"
    )
    await owner.execute(insert, store.account_id, "2025-01-01 10:00+00")
    await owner.execute(insert, store.account_id, "2025-06-01 10:00+00")
    await service._roll_up(link)
    assert await owner.fetchval(_COUNT) == 2 + 60
    # later runs look at the last two weeks only, which is cheap
    await owner.execute(insert, store.account_id, "2025-06-09 10:00+00")
    await service._roll_up(link)
    assert await owner.fetchval(_COUNT) == 2 + 2 + 60
    await owner.execute("DROP FUNCTION trading.roll_up_equity")
    await service._roll_up(link)
    await store.close()
