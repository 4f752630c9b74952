"""The wallet of one bot in memory, a line per settle coin; what is older than what is known is ignored."""

from collections.abc import Callable, Mapping
from decimal import Decimal

from msgspec import structs

from alpha.bybit.models import Wallet, WalletCoin
from alpha.live_state import keys
from alpha.model.coin import SETTLE_COINS, USDT
from websocket_listener import serialize
from websocket_listener.redis_writer import Change


class WalletState:
    """The lines of the settle coins that the account has or had."""

    def __init__(self, bot: str, put: Callable[[Change], None]) -> None:
        self.coins: dict[str, WalletCoin] = {}
        #: What is free for new positions, as the exchange last said: of the account, or of the coin in isolated margin.
        self.available: dict[str, Decimal] = {}
        #: As of when each line is, in the exchange's time.
        self.as_of_ms: dict[str, int] = {}
        self._bot = bot
        self._put = put

    def take(self, row: Wallet, at_ms: int) -> bool:
        """Take a wallet as of `at_ms` (the exchange's time). False when it is older, or says nothing new of a settle coin."""
        news = [self._take_coin(row, coin, at_ms) for coin in SETTLE_COINS]
        return any(news)

    def force(self, row: Wallet, at_ms: int) -> None:
        """Overwrite with the exchange's state although ours claims to be newer. Redis must be rewritten."""
        self.as_of_ms.clear()
        self.take(row, at_ms)

    @property
    def newest_ms(self) -> int:
        """As of when the newest line is; 0 without one."""
        return max(self.as_of_ms.values(), default=0)

    def differs(self, row: Wallet) -> bool:
        """True when a balance is not the one that the exchange states."""
        stated = {coin: line for coin in self.coins if (line := row.coin(coin)) is not None}
        return any(line.wallet_balance != self.coins[coin].wallet_balance for coin, line in stated.items())

    def mark(self, unrealised: Mapping[str, Decimal], oldest_ms: Mapping[str, int], now_ms: int) -> None:
        """Recompute equity from the unrealised P&L of each coin; `oldest_ms` is when its oldest mark came, wall clock."""
        for coin, line in self.coins.items():
            if coin not in oldest_ms and not line.unrealised_pnl:
                continue
            total = unrealised.get(coin, Decimal(0))
            self.coins[coin] = structs.replace(line, unrealised_pnl=total, equity=line.wallet_balance + total)
            self._put(
                (
                    *("MARK", keys.wallet(self._bot, coin), "equity", serialize.text(self.coins[coin].equity)),
                    *("unrealised_pnl", serialize.text(total), "marked_at", str(oldest_ms.get(coin, now_ms))),
                )
            )

    def rebuild(self) -> list[Change]:
        """The changes that write every line, whatever Redis holds."""
        return [self._change(coin, event=False) for coin in self.coins]

    def _take_coin(self, row: Wallet, name: str, at_ms: int) -> bool:
        coin, known = row.coin(name), self.coins.get(name)
        if coin is None or at_ms < self.as_of_ms.get(name, 0):
            return False
        if known is None and name != USDT and not (coin.wallet_balance or coin.equity):
            return False
        cross = name == USDT and row.total_available is not None
        available = row.total_available if cross and row.total_available is not None else coin.available
        if coin == known and available == self.available.get(name):
            return False
        # P&L that only moved with the marks is no news of the wallet: marks are written each second
        before = self.available.get(name)
        event = known is None or coin.wallet_balance != known.wallet_balance or available != before
        self.coins[name], self.available[name], self.as_of_ms[name] = coin, available, at_ms
        self._put(self._change(name, event=event))
        return True

    def _change(self, coin: str, *, event: bool) -> Change:
        as_of_ms = self.as_of_ms[coin]
        fields = serialize.wallet_fields(self.coins[coin], self.available.get(coin), as_of_ms)
        flat = [part for pair in fields.items() for part in pair]
        data = serialize.json_text(fields) if event else ""
        return ("WALLET", keys.wallet(self._bot, coin), str(as_of_ms), data, *flat)
