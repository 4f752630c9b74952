"""The short form of `python -m telegram_manager.tests.fuzz`."""

import asyncio
import os
import sys
from typing import Any

from operations.storable import storable
from telegram_manager.rate_limit import RateLimit
from telegram_manager.tests.conftest import ADMIN, GROUP, OPERATOR, STRANGER, TOPIC, VIEWER, Centre
from telegram_manager.tests.fuzz import DirectRequest, Updates, run
from tests.support.bot_api import BotApi

COUNT, SEED = int(os.environ.get("FUZZ_UPDATES", "600")), int(os.environ.get("FUZZ_SEED", "7"))


class Unhurried(RateLimit):
    """No real chats: nothing has to wait."""

    def wait_ms(self, chat: int, now_ms: int, *, urgent: bool = False) -> int:
        return 0


async def test_no_update_stops_the_command_centre(api: BotApi, make_centre: Any) -> None:
    centre: Centre = await make_centre()
    # the updates are made here, and the answers go straight to the checks of the tests' Bot API
    centre.polling.cancel()
    await asyncio.wait({centre.polling})
    for opened in centre.setup.bot._request:
        await opened.shutdown()
    request = DirectRequest(api)
    centre.setup.bot._request = (request, request)
    centre.setup.outbox._pace = Unhurried()
    api._flood = lambda _chat: None  # type: ignore[method-assign, assignment]
    strangers = [STRANGER + number for number in range(50)]
    places = [(GROUP, TOPIC), (GROUP, None), (-1002, None), (ADMIN, None)]
    now_ms = centre.platform.wall_ms
    updates = Updates(SEED, [ADMIN, OPERATOR, VIEWER, *strangers], places, lambda: now_ms() // 1000)
    await run(centre.desk, centre.poller, updates, api, COUNT, lambda line: print(line, file=sys.stderr))
    assert request.refused == []
    rows = await centre.platform.history.rows(
        "SELECT issuer, name, coalesce(answer, '') AS answer, arguments::text AS words FROM audit.commands"
    )
    assert len(rows) > 50
    for row in rows:
        for text in (row["issuer"], row["name"], row["answer"]):
            assert storable(text) == text
            assert len(text) <= 2_000
        assert len(row["words"]) < 12_000
    assert not any("unforeseen" in row["answer"] for row in rows)
    # nobody without a role got an answer or an effect
    known = {str(person) for person in (ADMIN, OPERATOR, VIEWER)}
    done = await centre.platform.history.rows("SELECT DISTINCT issuer FROM audit.commands WHERE outcome <> 'refused'")
    assert {row["issuer"] for row in done} <= known
    assert not await centre.platform.live.shared.xlen("control:guard")
    await centre.end()
