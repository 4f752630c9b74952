"""The exchange as one object that owns engine, market time, history, keys and streams.

Every caller that changes state must call `commit` afterwards, which stores and pushes the events.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any

from exchange_simulator.candles import Candles
from exchange_simulator.engine.account import MNT, Account
from exchange_simulator.engine.model import ZERO, Liquidated, Refused, Rules
from exchange_simulator.engine.settings import HEDGE, set_margin_mode, switch_coin
from exchange_simulator.engine.state import Engine
from exchange_simulator.history import HistoryBuilder
from exchange_simulator.keys import Key
from exchange_simulator.live_timeline import LiveTimeline
from exchange_simulator.maintenance import Maintenance
from exchange_simulator.market.awkward import Change
from exchange_simulator.market.model import Instrument, LiveMarket, Market, Path
from exchange_simulator.market.ticks import TickMarket
from exchange_simulator.persistence import dump, restore
from exchange_simulator.quotes import Quotes
from exchange_simulator.storage import Storage
from exchange_simulator.tick_timeline import TickTimeline
from exchange_simulator.timeline import Timeline
from exchange_simulator.ws.hub import Hub
from exchange_simulator.ws.public_feed import PublicFeed


@dataclass(frozen=True, slots=True)
class Setup:
    """Configuration of an exchange."""

    rules: Rules = field(default_factory=Rules)
    seed: int = 1
    path: Path = "toward-close"
    start_ms: int = 0
    speed: float = 1.0
    step_clock: bool = False
    data: FilePath | None = None
    rate_limits: bool = True
    faults: bool = False
    present: bool = False  # trading starts now, and business time is wall-clock time
    changes: tuple[Change, ...] = ()  # of instruments, oldest first


class Exchange:
    """The running exchange."""

    def __init__(self, market: Market, keys: Iterable[Key], setup: Setup) -> None:
        self.market = market
        self.setup = setup
        self.engine = Engine(market.instruments, setup.rules, setup.seed, self._index_price)
        self.hub = Hub()
        self.engine.has_subscribers = self.hub.private.__contains__
        kind = (
            LiveTimeline
            if isinstance(market, LiveMarket)
            else TickTimeline
            if isinstance(market, TickMarket)
            else Timeline
        )
        self.timeline = kind(self.engine, market, setup.path, setup.start_ms, self._bars_closed, self.commit)
        self.candles = Candles(market, self.timeline)
        self.quotes = Quotes(self.engine, market)
        self.builder = HistoryBuilder()
        self.feed = PublicFeed(self, setup.seed)
        if isinstance(self.timeline, TickTimeline):
            self.timeline.on_trade = self.feed.printed
            self.timeline.on_quote = self.feed.quoted
        self.storage = Storage(setup.data)
        self.keys: dict[str, Key] = {}
        self.maintenance = Maintenance(lambda: self.now_ms)
        self.drawdowns: dict[str, Decimal] = {}  # of the insurance pool in eight hours, by symbol, where set
        self.skew_ms = 0
        resume = restore(self.engine, self.storage) if setup.data is not None else None
        self._changes = list(setup.changes)
        self._change_instruments(resume or 0)
        self.timeline.begin(resume)
        for key in keys:
            self.add_key(key)
        self.commit()

    def _index_price(self, symbol: str, time_ms: int, last: Decimal) -> Decimal:
        return self.market.index_price(symbol, time_ms, self.market.instruments[symbol].ticks(last))

    # --- accounts -----------------------------------------------------------------------------------------------

    def add_key(self, key: Key) -> None:
        """Registers a key, and opens its account with the key's deposit when there is none."""
        self.keys[key.api_key] = key
        if key.uid not in self.engine.accounts:
            account = self.engine.open_account(key.uid, key.deposit)
            account.demo = key.demo
            if key.usdc or any(i.settle_coin == "USDC" for i in self.market.instruments.values()):
                account.pay("USDC", ZERO)
            if key.usdc:
                self.engine.transfer(account, key.usdc, "USDC")
            if key.mnt:
                self.engine.transfer(account, key.mnt, MNT)
                account.mnt_fees = True
            if key.hedge:
                switch_coin(self.engine, account, "USDT", HEDGE)
            if key.isolated:
                set_margin_mode(self.engine, account, "ISOLATED_MARGIN")

    def account(self, key: Key) -> Account:
        return self.engine.accounts[key.uid]

    def check_link(self, account: Account, link_id: str) -> None:
        """Refuses an orderLinkId that the account has used before."""
        if link_id and (link_id in account.links or self.storage.link_used(account.uid, link_id)):
            raise Refused(110072, "OrderLinkedID is duplicate")

    # --- time ---------------------------------------------------------------------------------------------------

    @property
    def now_ms(self) -> int:
        return self.engine.now_ms

    def _bars_closed(self, time_ms: int) -> None:
        self._change_instruments(time_ms)
        self.maintenance.look()
        self.commit()
        self.feed.bars_closed(time_ms)

    def _change_instruments(self, time_ms: int) -> None:
        """Applies the announced changes that are due."""
        while self._changes and self._changes[0].time_ms <= time_ms:
            change = self._changes.pop(0)
            self.change_instrument(change.symbol, **change.values)

    def change_instrument(self, symbol: str, **values: Any) -> None:
        """Changes fields of an instrument from now on. Raises `ValueError` if the market does not own instruments."""
        self.replace_instrument(replace(self.engine.instruments[symbol], **values))

    def replace_instrument(self, changed: Instrument) -> None:
        """Replaces a whole instrument; errors as in `change_instrument`."""
        symbol = changed.symbol
        for known in (self.market.instruments, self.engine.instruments):
            if not isinstance(known, dict):
                raise ValueError("the instruments of this market cannot be changed")
            known[symbol] = changed
        self.engine.books[symbol].instrument = changed

    # --- commit and save ----------------------------------------------------------------------------------------

    def commit(self) -> None:
        """Stores and pushes the events since the last call."""
        if not self.engine.events:
            return
        events = self.engine.drain()
        self.storage.record(events)
        self.save()
        self.hub.tell(events, self.engine.now_ms)
        for event in events:
            if isinstance(event, Liquidated):
                self.feed.liquidated(event)

    def save(self) -> None:
        """Writes history and state together, if a path is configured."""
        if self.setup.data is not None:
            self.storage.flush(dump(self.engine))

    def close(self) -> None:
        """Closes the exchange; with a path, everything is kept for the next start."""
        self.commit()
        self.save()
        self.storage.close()
