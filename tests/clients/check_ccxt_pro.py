"""ccxt.pro: public and private streams, and a topic that is left and taken again."""

import asyncio
from collections.abc import Awaitable, Callable

import ccxt.pro

from tests.clients.checks import KEY, REST, SECRET, WS, report

SYMBOL = "BTC/USDT:USDT"


def make() -> ccxt.pro.bybit:
    kinds = ("spot", "linear", "inverse", "option")
    streams = {
        "public": {kind: f"{WS}/v5/public/{kind}" for kind in kinds},
        "private": {
            name: {"unified": f"{WS}/v5/private", "contract": f"{WS}/v5/private"}.get(name) for name in ("contract",)
        },
    }
    exchange = ccxt.pro.bybit(
        {
            "apiKey": KEY,
            "secret": SECRET,
            "options": {"defaultType": "swap", "adjustForTimeDifference": True},
            "urls": {"api": dict.fromkeys(("spot", "futures", "v2", "public", "private"), REST)},
        }
    )
    exchange.urls["api"]["ws"] = streams
    return exchange


async def traded(exchange: ccxt.pro.bybit, watch: Callable[[], Awaitable[object]]) -> None:
    """A private topic pushes while something is traded."""
    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(1)
    for _ in range(20):
        await exchange.create_order(SYMBOL, "market", "buy", 0.01)
        await exchange.create_order(SYMBOL, "market", "sell", 0.01, params={"reduceOnly": True})
        done, _ = await asyncio.wait({watching}, timeout=1)
        if done:
            watching.result()
            return
    watching.cancel()
    raise TimeoutError("nothing was pushed")


async def again(exchange: ccxt.pro.bybit) -> None:
    await exchange.watch_ticker(SYMBOL)
    await exchange.un_watch_ticker(SYMBOL)
    await exchange.watch_ticker(SYMBOL)


async def main() -> None:
    exchange = make()
    checks: tuple[tuple[str, Callable[[], Awaitable[object]]], ...] = (
        ("markets", exchange.load_markets),
        ("ticker", lambda: exchange.watch_ticker(SYMBOL)),
        ("tickers", lambda: exchange.watch_tickers([SYMBOL, "ETH/USDT:USDT"])),
        ("candles", lambda: exchange.watch_ohlcv(SYMBOL, "1m")),
        ("order book", lambda: exchange.watch_order_book(SYMBOL, 50)),
        ("public trades", lambda: exchange.watch_trades(SYMBOL)),
        ("a topic left and taken again", lambda: again(exchange)),
        ("orders", lambda: traded(exchange, lambda: exchange.watch_orders(SYMBOL))),
        ("own trades", lambda: traded(exchange, lambda: exchange.watch_my_trades(SYMBOL))),
        ("positions", lambda: traded(exchange, lambda: exchange.watch_positions([SYMBOL]))),
        ("balance", lambda: traded(exchange, lambda: exchange.watch_balance())),
    )
    for name, act in checks:
        try:
            await asyncio.wait_for(act(), 60)
        except Exception as error:  # noqa: BLE001 (what went wrong is the reason that is printed)
            report(name, False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        else:
            report(name, True)
    await exchange.close()


asyncio.run(main())
