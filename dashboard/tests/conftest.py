"""Fixtures: the complete system, and a dashboard that steers it."""

from collections.abc import AsyncIterator

import pytest

from alpha.config.services import DatabaseSettings
from alpha.live_state.connect import RedisClients
from operations.context import Operations
from tests.support.dashboard import Desk, steering_desk
from tests.support.operations import house_database, house_template, platform, supervisor

__all__ = ["house_database", "house_template", "platform", "supervisor"]


@pytest.fixture
async def desk(
    house_database: DatabaseSettings, redis_links: RedisClients, platform: Operations
) -> AsyncIterator[Desk]:
    """A dashboard that steers, over the complete system."""
    async with steering_desk(house_database, redis_links, platform) as made:
        yield made
