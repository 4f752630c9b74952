"""Reads another exchange that speaks Bybit's API: public REST calls, and conversion of rows to instruments and bars."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from exchange_simulator.market import catalogue
from exchange_simulator.market.model import Bar, Instrument, MarketError, RiskTier

BYBIT = "wss://stream.bybit.com"
_REST_OF_BYBIT = {
    "stream.bybit.com": "https://api.bybit.com",
    "stream-testnet.bybit.com": "https://api-testnet.bybit.com",
}
Row = Mapping[str, Any]


def addresses(upstream: str) -> tuple[str, str]:
    """Returns the public stream URL and the REST base URL of an upstream given as `ws://host:port` or `wss://host`."""
    parts = urlsplit(upstream)
    if parts.scheme not in ("ws", "wss") or not parts.netloc:
        raise MarketError(f"The upstream {upstream!r} must be a WebSocket address such as {BYBIT}.")
    stream = f"{parts.scheme}://{parts.netloc}/v5/public/linear"
    scheme = "https" if parts.scheme == "wss" else "http"
    return stream, _REST_OF_BYBIT.get(parts.netloc, f"{scheme}://{parts.netloc}")


class Upstream:
    """Public REST calls of one exchange. Every failure raises `MarketError`."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self._base_url = base_url
        self._session = session

    async def get(self, path: str, **query: str | int) -> Row:
        """The `result` of a GET."""
        url = f"{self._base_url}{path}"
        try:
            async with self._session.get(url, params=query, timeout=aiohttp.ClientTimeout(total=15)) as reply:
                body = await reply.read()
                if reply.status != 200:
                    raise MarketError(f"The upstream {url} answered HTTP {reply.status}.")
            answer = msgspec.json.decode(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise MarketError(
                f"The upstream {url} cannot be reached ({_why(error)}): check address and network."
            ) from None
        except msgspec.DecodeError:
            raise MarketError(f"The upstream {url} does not answer JSON: is it a Bybit-speaking exchange?") from None
        if not isinstance(answer, dict) or answer.get("retCode") != 0:
            code = answer.get("retCode") if isinstance(answer, dict) else None
            text = answer.get("retMsg") if isinstance(answer, dict) else None
            raise MarketError(f"The upstream {url} refused with code {code}: {text}.")
        result: Row = answer["result"]
        return result

    async def instruments(self) -> dict[str, Instrument]:
        """All trading USDT perpetuals, each with only its first risk tier."""
        found: dict[str, Instrument] = {}
        cursor = ""
        while True:
            query = {"cursor": cursor} if cursor else {}
            page = await self.get("/v5/market/instruments-info", category="linear", limit=1000, **query)
            for row in page["list"]:
                if row["settleCoin"] == "USDT" and row["contractType"] == "LinearPerpetual":
                    found[row["symbol"]] = instrument(row)
            cursor = page.get("nextPageCursor") or ""
            if not cursor or not page["list"]:
                return found

    async def risk_tiers(self, symbol: str) -> tuple[RiskTier, ...]:
        """The risk limits of a symbol."""
        page = await self.get("/v5/market/risk-limit", category="linear", symbol=symbol)
        return tuple(
            RiskTier(
                id=int(row["id"]),
                limit_value=Decimal(row["riskLimitValue"]),
                maintenance_margin=Decimal(row["maintenanceMargin"]),
                initial_margin=Decimal(row["initialMargin"]),
                max_leverage=Decimal(row["maxLeverage"]),
                mm_deduction=Decimal(row.get("mmDeduction") or 0),
            )
            for row in page["list"]
        )

    async def tickers(self) -> dict[str, Row]:
        """The latest ticker of every symbol."""
        page = await self.get("/v5/market/tickers", category="linear")
        return {row["symbol"]: row for row in page["list"]}

    async def klines(self, known: Instrument, interval: str, start_ms: int, end_ms: int) -> list[Bar]:
        """Candles with `start_ms <= start <= end_ms`, at most the latest 1000, oldest first; the
        last may be forming.
        """
        page = await self.get(
            "/v5/market/kline",
            category="linear",
            symbol=known.symbol,
            interval=interval,
            start=start_ms,
            end=end_ms,
            limit=1000,
        )
        return [
            bar(known, int(start), opened, high, low, close, volume)
            for start, opened, high, low, close, volume, _ in reversed(page["list"])
        ]

    async def funding(self, symbol: str) -> dict[int, Decimal]:
        """The last 200 funding rates by time."""
        page = await self.get("/v5/market/funding/history", category="linear", symbol=symbol, limit=200)
        return {int(row["fundingRateTimestamp"]): Decimal(row["fundingRate"]) for row in page["list"]}


def _why(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError):
        return error.strerror or str(error.os_error)
    return str(error) or type(error).__name__


def bar(known: Instrument, start_ms: int, opened: str, high: str, low: str, close: str, volume: str) -> Bar:
    """Converts a candle of decimal strings to a bar; volumes are rounded to the step (upstream sums may be finer)."""
    tick = known.tick_size
    return Bar(
        start_ms,
        units(opened, tick),
        units(high, tick),
        units(low, tick),
        units(close, tick),
        units(volume, known.qty_step),
    )


def units(value: str, unit: Decimal) -> int:
    """Converts a decimal string to whole units, rounded to nearest."""
    return int((Decimal(value) / unit).to_integral_value())


def instrument(row: Row) -> Instrument:
    """Converts a row of `instruments-info`. Its only risk tier is the one implied by the leverage filter."""
    prices, lots, leverage = row["priceFilter"], row["lotSizeFilter"], row["leverageFilter"]
    tick, most = Decimal(prices["tickSize"]), Decimal(leverage["maxLeverage"])
    risk = row.get("riskParameters") or {}
    first = RiskTier(1, Decimal(10) ** 9, 1 / most / 2, 1 / most, most, Decimal(0))
    return Instrument(
        symbol=row["symbol"],
        base_coin=row["baseCoin"],
        quote_coin=row["quoteCoin"],
        settle_coin=row["settleCoin"],
        tick_size=tick,
        min_price=Decimal(prices["minPrice"]),
        max_price=Decimal(prices["maxPrice"]),
        qty_step=Decimal(lots["qtyStep"]),
        min_order_qty=Decimal(lots["minOrderQty"]),
        max_order_qty=Decimal(lots["maxOrderQty"]),
        max_mkt_order_qty=Decimal(lots["maxMktOrderQty"]),
        min_notional=Decimal(lots.get("minNotionalValue") or 5),
        min_leverage=Decimal(leverage["minLeverage"]),
        max_leverage=most,
        leverage_step=Decimal(leverage["leverageStep"]),
        launch_ms=int(row["launchTime"]),
        delivery_ms=int(row["deliveryTime"] or 0),
        funding_interval_min=int(row["fundingInterval"]),
        upper_funding_rate=Decimal(row.get("upperFundingRate") or "0.02"),
        lower_funding_rate=Decimal(row.get("lowerFundingRate") or "-0.02"),
        price_limit_ratio_x=Decimal(risk.get("priceLimitRatioX") or "0.05"),
        price_limit_ratio_y=Decimal(risk.get("priceLimitRatioY") or "0.1"),
        price_scale=int(row.get("priceScale") or catalogue.decimals(tick)),
        symbol_id=int(row.get("symbolId") or 0),
        risk_tiers=(first,),
    )
