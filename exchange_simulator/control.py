"""`/_sim/`: the exchange's internal state, and controls that only a simulation has."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from aiohttp import web

from exchange_simulator.clock import FreeClock, StepClock
from exchange_simulator.engine import corporate, liquidation, price_moves
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ClosedPnl, Execution, LedgerLine, Order, Refused
from exchange_simulator.exchange import Exchange
from exchange_simulator.faults import Fault, Faults
from exchange_simulator.keys import BadAccount, parse_account
from exchange_simulator.maintenance import Window
from exchange_simulator.market.model import LiveMarket
from exchange_simulator.render import (
    Row,
    closed_row,
    execution_row,
    ledger_row,
    order_row,
    position_row,
    text,
    wallet_row,
)
from exchange_simulator.rest.limits import Limits

PAGE = 1_000
Query = dict[str, str]
Action = Callable[[Query, dict[str, Any]], Awaitable[Row]]


class Control:
    """Handlers under `/_sim/`. Requests that change state are refused unless enabled at startup."""

    def __init__(
        self,
        exchange: Exchange,
        step: StepClock | None,
        free: FreeClock | None,
        limits: Limits,
        faults: Faults | None,
    ) -> None:
        self.exchange = exchange
        self.step = step
        self.free = free
        self.limits = limits
        self.faults = faults
        self.actions: dict[tuple[str, str], Action] = {
            ("GET", "/_sim/state"): self._state,
            ("GET", "/_sim/ledger"): self._ledger,
            ("GET", "/_sim/executions"): self._executions,
            ("GET", "/_sim/orders"): self._orders,
            ("GET", "/_sim/closed-pnl"): self._closed_pnl,
            ("GET", "/_sim/transactions"): self._transactions,
            ("GET", "/_sim/point"): self._point,
            ("POST", "/_sim/pause"): self._pause,
            ("POST", "/_sim/resume"): self._resume,
            ("POST", "/_sim/speed"): self._speed,
            ("POST", "/_sim/advance"): self._advance,
            ("POST", "/_sim/clients"): self._clients,
            ("POST", "/_sim/evaluated"): self._evaluated,
            ("GET", "/_sim/faults"): self._list_faults,
            ("POST", "/_sim/faults"): self._add_fault,
            ("DELETE", "/_sim/faults"): self._remove_faults,
            ("POST", "/_sim/adl"): self._adl,
            ("POST", "/_sim/liquidate"): self._liquidate,
            ("POST", "/_sim/limits"): self._set_limits,
            ("POST", "/_sim/keys"): self._add_key,
            ("POST", "/_sim/instrument"): self._change_instrument,
            ("POST", "/_sim/maintenance"): self._announce,
            ("POST", "/_sim/mark"): self._put_mark,
            ("POST", "/_sim/split"): self._split,
            ("POST", "/_sim/fees"): self._set_fees,
            ("POST", "/_sim/drawdown"): self._set_drawdown,
        }

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path, _, query = request.raw_path.partition("?")
        action = self.actions.get((request.method, path))
        if action is None:
            return _answer({"error": f"{request.method} {path} is not a control call of this exchange"}, 404)
        try:
            raw = await request.read()
            body = msgspec.json.decode(raw) if raw else {}
            if not isinstance(body, dict):
                raise ValueError("the body is not a JSON object")
            return _answer(await action(dict(parse_qsl(query)), body))
        except Refused as refusal:
            return _answer({"error": refusal.message}, 400)
        except (ValueError, KeyError, TypeError, ArithmeticError, msgspec.MsgspecError) as error:
            return _answer({"error": f"bad request: {error}"}, 400)

    # --- state --------------------------------------------------------------------------------------------------

    async def _state(self, query: Query, body: dict[str, Any]) -> Row:
        exchange = self.exchange
        return {
            "now_ms": exchange.now_ms,
            "bar_start_ms": exchange.timeline.bar_start,
            "base_ms": exchange.timeline.base_ms,
            "point": exchange.timeline.points_done,
            "point_of_bar": exchange.timeline.point,
            "ended": exchange.timeline.ended,
            "clock": "step" if self.step is not None else "free",
            "speed": self.free.speed if self.free is not None else 0,
            "seed": exchange.setup.seed,
            "path": exchange.setup.path,
            "pushed": exchange.hub.pushed,
            "insurance": text(exchange.engine.insurance),
            "prices": {symbol: text(book.last) for symbol, book in exchange.engine.books.items() if book.last},
            "accounts": [key.uid for key in exchange.keys.values()],
            "waiting_for": self.step.owing() if self.step is not None else {},
        }

    def _uid(self, query: Query) -> int | None:
        if "key" in query:
            key = self.exchange.keys.get(query["key"])
            if key is None:
                raise ValueError("no account has this key")
            return key.uid
        return int(query["uid"]) if "uid" in query else None

    async def _ledger(self, query: Query, body: dict[str, Any]) -> Row:
        """Current accounts and a page of executions."""
        exchange, uid = self.exchange, self._uid(query)
        accounts = []
        for account in exchange.engine.accounts.values():
            if uid is not None and account.uid != uid:
                continue
            totals = account.totals
            accounts.append(
                {
                    "uid": account.uid,
                    "keys": [key.api_key for key in exchange.keys.values() if key.uid == account.uid],
                    "wallet_balance": text(account.wallet),
                    "equity": text(exchange.engine.equity(account)),
                    "deposits": text(totals.deposits),
                    "gross": text(totals.gross),
                    "fees": text(totals.fees),
                    "funding": text(totals.funding),
                    "coins": {
                        coin: {
                            "wallet_balance": text(account.balances[coin]),
                            "deposits": text(sums.deposits),
                            "gross": text(sums.gross),
                            "fees": text(sums.fees),
                            "funding": text(sums.funding),
                        }
                        for coin, sums in account.sums.items()
                    },
                    "executions": exchange.storage.count("executions", account.uid),
                    "wallet": wallet_row(exchange.engine.wallet_view(account)),
                    "positions": [
                        position_row(exchange.engine.position_view(account, position)) for position in account.held()
                    ],
                    "orders": [order_row(order) for order in account.orders.values()],
                }
            )
        return {"now_ms": exchange.now_ms, "accounts": accounts, **await self._executions(query, body)}

    def _rows(self, query: Query, table: str, kind: type[Any], render: Callable[[Any], Row], name: str) -> Row:
        limit = min(int(query.get("limit", PAGE)), 10_000)
        found = self.exchange.storage.after(table, self._uid(query), int(query.get("after", 0)), limit, kind)
        rows = [{"n": n, "uid": row.uid, **render(row)} for n, row in found]
        return {name: rows, "next": found[-1][0] if len(found) == limit else None}

    async def _executions(self, query: Query, body: dict[str, Any]) -> Row:
        return self._rows(query, "executions", Execution, lambda row: execution_row(row, stream=True), "executions")

    async def _orders(self, query: Query, body: dict[str, Any]) -> Row:
        return self._rows(query, "orders", Order, order_row, "orders")

    async def _closed_pnl(self, query: Query, body: dict[str, Any]) -> Row:
        return self._rows(query, "closed_pnl", ClosedPnl, closed_row, "closed_pnl")

    async def _transactions(self, query: Query, body: dict[str, Any]) -> Row:
        return self._rows(query, "ledger", LedgerLine, ledger_row, "transactions")

    # --- free clock ---------------------------------------------------------------------------------------------

    async def _pause(self, query: Query, body: dict[str, Any]) -> Row:
        """Stops time; requests are still answered and orders still match."""
        return self._set_paused(True)

    async def _resume(self, query: Query, body: dict[str, Any]) -> Row:
        return self._set_paused(False)

    async def _speed(self, query: Query, body: dict[str, Any]) -> Row:
        """`speed`: business seconds per wall-clock second from now on, above 0."""
        if self.free is None:
            raise ValueError("the clock is in step mode: it moves only with /_sim/advance")
        speed = float(body["speed"])
        if not 0 < speed <= 1_000_000:
            raise ValueError(f"speed {speed:g} is not between 0 and 1,000,000")
        self.free.speed = speed
        return {"speed": speed, "now_ms": self.exchange.now_ms}

    def _set_paused(self, paused: bool) -> Row:
        if self.free is None:
            raise ValueError("the clock is in step mode: it moves only with /_sim/advance")
        self.free.paused = paused
        return {"paused": paused, "now_ms": self.exchange.now_ms}

    # --- step clock ---------------------------------------------------------------------------------------------

    def _stepping(self) -> StepClock:
        if self.step is None:
            raise ValueError("the clock runs freely: start the exchange with --step")
        return self.step

    async def _advance(self, query: Query, body: dict[str, Any]) -> Row:
        """`points` (default 1), `bars`, or `to_ms`; `timeout_s` for the clients waited for."""
        step = self._stepping()
        timeline = self.exchange.timeline
        to_ms = int(body["to_ms"]) if body.get("to_ms") is not None else None
        if body.get("bars") is not None:
            to_ms = timeline.bar_start + int(body["bars"]) * timeline.base_ms
        owed = await step.advance(int(body.get("points", 1)), to_ms, float(body.get("timeout_s", 30)))
        return {
            "now_ms": self.exchange.now_ms,
            "point": timeline.points_done,
            "point_of_bar": timeline.point,
            "bar_start_ms": timeline.bar_start,
            "ended": timeline.ended,
            "waiting_for": owed,
        }

    async def _point(self, query: Query, body: dict[str, Any]) -> Row:
        """Answers once a point later than `after` has been taken; for clients that act on every point."""
        step = self._stepping()
        await step.after(int(query.get("after", -1)), float(query.get("timeout_s", 30)))
        return await self._state(query, body)

    async def _clients(self, query: Query, body: dict[str, Any]) -> Row:
        """Clients the step clock waits for: `client`, `symbols`, `interval`, `points`; `remove` unregisters."""
        step = self._stepping()
        client = str(body["client"])
        if body.get("remove"):
            step.forget(client)
        else:
            symbols = tuple(str(symbol) for symbol in body.get("symbols", ()))
            step.expect(client, symbols, str(body.get("interval", "5")), bool(body.get("points", False)))
        return {"clients": sorted(step.waiters)}

    async def _evaluated(self, query: Query, body: dict[str, Any]) -> Row:
        """`client`, with `symbol` and `start_ms` of the candle it evaluated, or the `point` it has acted on."""
        step = self._stepping()
        client = str(body["client"])
        if client not in step.waiters:
            raise ValueError(f"{client} is not a client the clock waits for: name it to /_sim/clients first")
        if body.get("point") is not None:
            step.seen(client, int(body["point"]))
        if body.get("symbol") is not None:
            step.evaluated(client, str(body["symbol"]), int(body["start_ms"]))
        return {"waiting_for": step.owing()}

    # --- faults and events --------------------------------------------------------------------------------------

    def _asked_for(self) -> Faults:
        if self.faults is None:
            raise ValueError("start the exchange with --faults (or SIM_FAULTS=1) to allow this")
        return self.faults

    async def _list_faults(self, query: Query, body: dict[str, Any]) -> Row:
        return {"faults": [msgspec.to_builtins(fault) for fault in self._asked_for().active.values()]}

    async def _add_fault(self, query: Query, body: dict[str, Any]) -> Row:
        faults = self._asked_for()
        fault = msgspec.convert(body, Fault)
        return {"id": faults.add(fault), "struck": fault.struck}

    async def _remove_faults(self, query: Query, body: dict[str, Any]) -> Row:
        self._asked_for().remove(int(query["id"]) if "id" in query else None)
        return {"faults": []}

    def _named_account(self, body: dict[str, Any]) -> Account:
        key = self.exchange.keys.get(str(body["key"]))
        if key is None:
            raise ValueError("no account has this key")
        return self.exchange.account(key)

    async def _adl(self, query: Query, body: dict[str, Any]) -> Row:
        """Auto-deleverages `qty` of the position of `key` in `symbol`, at `price` or the mark price."""
        self._asked_for()
        symbol = str(body["symbol"])
        price = Decimal(str(body["price"])) if "price" in body else self.exchange.engine.books[symbol].mark
        account = self._named_account(body)
        legs = [p for p in account.legs(symbol) if p.idx == int(body.get("idx", p.idx))]
        position = next((p for p in legs if p.size), account.legs(symbol)[0])
        liquidation.close_by_adl(self.exchange.engine, account, position, Decimal(str(body["qty"])), price)
        self.exchange.commit()
        return {}

    async def _liquidate(self, query: Query, body: dict[str, Any]) -> Row:
        """Takes over every position of `key`, as in a liquidation."""
        self._asked_for()
        liquidation.take_over(self.exchange.engine, self._named_account(body))
        self.exchange.commit()
        return {}

    async def _set_limits(self, query: Query, body: dict[str, Any]) -> Row:
        """Rate limits: `enabled`, `factor` (whole number that multiplies them), `pardon` (lifts bans)."""
        self._asked_for()
        self.limits.enabled = bool(body.get("enabled", self.limits.enabled))
        self.limits.factor = int(body.get("factor", self.limits.factor))
        if body.get("pardon"):
            self.limits.pardon()
        return {"enabled": self.limits.enabled, "factor": self.limits.factor}

    async def _add_key(self, query: Query, body: dict[str, Any]) -> Row:
        """Adds a key, in the syntax of `--account`."""
        self._asked_for()
        try:
            key = parse_account(str(body["account"]))
        except BadAccount as error:
            raise ValueError(str(error)) from None
        self.exchange.add_key(key)
        self.exchange.commit()
        return {"uid": key.uid}

    async def _announce(self, query: Query, body: dict[str, Any]) -> Row:
        """Announces a maintenance in `system/status`: `id`, `title`, `state`, `begin_ms`, `end_ms`. With `carry_out`
        calls are refused and streams cut while it lasts. The market keeps running.
        """
        self._asked_for()
        window = Window(
            id=str(body.get("id", "1")),
            title=str(body["title"]),
            begin_ms=int(body["begin_ms"]),
            end_ms=int(body["end_ms"]),
            state=str(body.get("state", "scheduled")),
            carried_out=bool(body.get("carry_out")),
        )
        self.exchange.maintenance.windows[window.id] = window
        self.exchange.maintenance.look()
        self.exchange.feed.refresh(candles=False)
        return {"id": window.id}

    async def _split(self, query: Query, body: dict[str, Any]) -> Row:
        """Splits `symbol`: one becomes `ratio` (2, or 0.5 for a reverse split). Its orders are cancelled."""
        self._asked_for()
        symbol, ratio = str(body["symbol"]), Decimal(str(body["ratio"]))
        exchange = self.exchange
        instrument = exchange.engine.instruments[symbol]
        if ratio not in corporate.RATIOS:
            raise ValueError(f"a split of {ratio} is not supported: use one of {', '.join(map(str, corporate.RATIOS))}")
        exchange.replace_instrument(corporate.split_instrument(instrument, ratio))
        corporate.split(exchange.engine, symbol, ratio)
        exchange.commit()
        return {"symbol": symbol, "last": text(exchange.engine.books[symbol].last)}

    async def _set_fees(self, query: Query, body: dict[str, Any]) -> Row:
        """`mnt`: whether the account of `key` pays fees in MNT from now on."""
        self._asked_for()
        account = self._named_account(body)
        account.mnt_fees = bool(body["mnt"])
        self.exchange.save()
        return {"mnt": account.mnt_fees}

    async def _set_drawdown(self, query: Query, body: dict[str, Any]) -> Row:
        """`pnl_ratio`: the drawdown of `symbol` that `adlAlert` shows, e.g. -0.28."""
        self._asked_for()
        symbol, ratio = str(body["symbol"]), Decimal(str(body["pnl_ratio"]))
        if symbol not in self.exchange.market.instruments or not ratio.is_finite():
            raise ValueError(f"{symbol} has no drawdown of {ratio}")
        self.exchange.drawdowns[symbol] = ratio
        return {"symbol": symbol}

    async def _put_mark(self, query: Query, body: dict[str, Any]) -> Row:
        """Fixes the mark price of `symbol` at `price`; null lets it follow the last price again."""
        self._asked_for()
        symbol = str(body["symbol"])
        if isinstance(self.exchange.market, LiveMarket):
            raise ValueError("the marks of this market are upstream's")
        price = Decimal(str(body["price"])) if body["price"] is not None else None
        if price is not None and not (price.is_finite() and price > 0):
            raise ValueError(f"price {price} is not above 0")
        price_moves.set_mark_price(self.exchange.engine, symbol, price)
        self.exchange.commit()
        return {"symbol": symbol, "mark": text(self.exchange.engine.books[symbol].mark)}

    async def _change_instrument(self, query: Query, body: dict[str, Any]) -> Row:
        """Announces the end of `symbol` (`delivery_ms`), makes its `qty_step` or `tick_size` coarser, or restricts it
        to reduce-only orders (`reduce_only`), from now on.
        """
        self._asked_for()
        engine, symbol = self.exchange.engine, str(body["symbol"])
        changes: dict[str, Any] = {}
        if "delivery_ms" in body:
            changes["delivery_ms"] = int(body["delivery_ms"])
        if "qty_step" in body:
            changes["qty_step"] = changes["min_order_qty"] = Decimal(str(body["qty_step"]))
        if "tick_size" in body:
            changes["order_tick"] = Decimal(str(body["tick_size"]))
        if body.get("reduce_only"):
            engine.closing_only.add(symbol)
        elif "reduce_only" in body:
            engine.closing_only.discard(symbol)
        self.exchange.change_instrument(symbol, **changes)
        return {"symbol": symbol}


def _answer(body: Row, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
