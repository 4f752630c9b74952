"""What an account must be before a bot trades on it; the simulated exchange knows one mode only, so answers are scripted."""

from decimal import Decimal
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from alpha.registry import load_registry
from bot_runner.broker import Broker
from bot_runner.checks import check_account
from tests.support import bybit_samples
from tests.support.faulty_exchange import FaultyExchange, Reply, faulty_exchange, gateway_to, ok
from tests.support.strategy_samples import instrument

BOT = load_registry(Path(__file__).resolve().parents[2] / "bots.toml").find("shortseller_001")


def position(**more: object) -> Reply:
    return ok({"list": [{**bybit_samples.POSITION_REST, "side": "", "size": "0", **more}], "nextPageCursor": ""})


def margin_mode(name: str) -> Reply:
    return ok({"unifiedMarginStatus": 6, "marginMode": name})


async def check(exchange: FaultyExchange) -> None:
    async with gateway_to(exchange) as gateway:
        await check_account(gateway, Broker(gateway, BOT, "live:1"), BOT, ["BTCUSDT"], Decimal(10))


async def test_hedge_mode_is_refused_with_a_sentence_that_says_what_to_do() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("position/list", position(positionIdx=1))
        with pytest.raises(Misconfigured, match=r"hedge mode \(BTCUSDT\).*one-way mode"):
            await check(exchange)
        assert exchange.count("position/set-leverage") == 0


async def test_another_leverage_and_margin_mode_are_set_and_looked_at_again() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("position/list", position(leverage="5"))
        exchange.script("position/set-leverage", ok({}))
        exchange.script("account/info", margin_mode("ISOLATED_MARGIN"), margin_mode("REGULAR_MARGIN"))
        exchange.script("account/set-margin-mode", ok({"reasons": []}))
        await check(exchange)
        (request,) = [seen for seen in exchange.seen if seen.path == "position/set-leverage"]
        assert request.body["buyLeverage"] == request.body["sellLeverage"] == "10"
        assert exchange.count("account/set-margin-mode") == 1


async def test_a_margin_mode_that_stays_is_refused() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("position/list", position(leverage="10"))
        exchange.script("account/info", margin_mode("PORTFOLIO_MARGIN"))
        exchange.script("account/set-margin-mode", ok({"reasons": [{"reasonCode": "3400000", "reasonMsg": "open"}]}))
        with pytest.raises(Misconfigured, match="stays in margin mode PORTFOLIO_MARGIN"):
            await check(exchange)
        assert exchange.count("position/set-leverage") == 0


async def test_the_leverage_of_what_is_held_is_left_as_it_is() -> None:
    async with faulty_exchange() as exchange:
        exchange.script("position/list", position(leverage="5", side="Buy", size="1"))
        exchange.script("account/info", margin_mode("REGULAR_MARGIN"))
        await check(exchange)
        assert exchange.count("position/set-leverage") == 0


async def test_a_leverage_above_what_an_instrument_allows_is_refused_with_the_maximum() -> None:
    async with faulty_exchange() as exchange, gateway_to(exchange) as gateway:
        broker = Broker(gateway, BOT, "live:1")
        broker.instruments["BTCUSDT"] = instrument(max_leverage=Decimal(25))
        with pytest.raises(Misconfigured, match=r"leverage of shortseller_001 is 100, and BTCUSDT allows 25 at most"):
            await check_account(gateway, broker, BOT, ["BTCUSDT"], Decimal(100))
        assert not exchange.seen, "nothing was asked of the account"
