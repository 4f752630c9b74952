"""Contracts settled in USDC: their own wallet entry, and profit realised by each session."""

import pytest

from exchange_simulator.engine import funding, price_moves, settings
from exchange_simulator.engine.account import Account
from exchange_simulator.engine.model import ClosedPnl, LedgerLine, Refused, SessionSettled
from exchange_simulator.engine.settings import HEDGE
from exchange_simulator.render import closed_row, execution_row, ledger_row, position_row, settlement_row, wallet_row
from exchange_simulator.tests.engine.floor import BTC, PERP, D, Floor


def floor_with(usdt: str = "0", usdc: str = "100000") -> Floor:
    floor = Floor(deposit=usdt)
    floor.engine.transfer(floor.account, D(usdc), "USDC")
    floor.listen()
    return floor


def balance(account: Account, coin: str) -> str:
    return str(account.balances[coin].normalize())


def test_trades_move_the_balance_of_their_own_coin() -> None:
    floor = floor_with(usdt="1000")
    floor.market("Buy", "1", symbol=PERP)
    assert floor.account.balances == {"USDT": 1_000, "USDC": D("99972.5")}
    floor.market("Buy", "0.1")
    assert floor.account.balances["USDT"] == D("997.25")
    first, second = floor.executions()
    assert [execution_row(row)["feeCurrency"] for row in (first, second)] == ["USDC", "USDT"]
    currencies = [ledger_row(line)["currency"] for line in floor.told if isinstance(line, LedgerLine)]
    assert currencies == ["USDT", "USDC", "USDC", "USDT"]


def test_a_session_realises_the_profit_and_leaves_the_entry_price() -> None:
    floor = floor_with()
    floor.market("Buy", "1", symbol=PERP)
    floor.move("51000", symbol=PERP)
    funding.charge(floor.engine, PERP, D("0.0001"))
    events = floor.listen()
    position = floor.account.position(PERP)
    row = position_row(floor.engine.position_view(floor.account, position))
    assert (row["avgPrice"], row["sessionAvgPrice"], row["unrealisedPnl"]) == ("50000", "51000", "0")
    assert floor.account.balances["USDC"] == D("99972.5") + 1_000 - D("5.1")
    (settled,) = [e for e in events if isinstance(e, SessionSettled)]
    assert settlement_row(settled)["realisedPnl"] == "1000"
    (closed,) = [closed_row(e) for e in events if isinstance(e, ClosedPnl)]
    assert (closed["execType"], closed["side"], closed["closedPnl"]) == ("SessionSettlePnL", "", "1000")
    (line,) = [ledger_row(e) for e in events if isinstance(e, LedgerLine)]
    assert (line["type"], line["cashFlow"], line["funding"], line["change"]) == ("SETTLEMENT", "1000", "-5.1", "994.9")
    floor.market("Sell", "1", symbol=PERP)
    assert floor.executions()[-1].pnl == 0
    assert floor.account.totals.gross == 1_000


def test_a_reversal_after_a_session_adds_up() -> None:
    floor = floor_with()
    floor.market("Sell", "1", symbol=PERP)
    floor.move("49000", symbol=PERP)
    funding.charge(floor.engine, PERP, D(0))
    floor.market("Sell", "1", symbol=PERP)
    floor.move("48000", symbol=PERP)
    assert floor.account.position(PERP).average == D(49_500)
    assert floor.account.position(PERP).session_average == D(49_000)
    floor.market("Buy", "3", symbol=PERP)
    assert floor.account.totals.gross == 3_000
    assert floor.account.position(PERP).average == 48_000


def test_both_coins_back_everything_in_cross_margin_and_each_its_own_in_isolated() -> None:
    floor = floor_with(usdt="6000", usdc="100")
    floor.market("Buy", "1", symbol=PERP)
    assert floor.account.balances["USDC"] == D("72.5")
    floor = floor_with(usdt="6000", usdc="100")
    settings.set_margin_mode(floor.engine, floor.account, "ISOLATED_MARGIN")
    with pytest.raises(Refused) as caught:
        floor.market("Buy", "1", symbol=PERP)
    assert caught.value.code == 110007
    floor.market("Buy", "1")


def test_a_loss_beyond_the_usdc_is_owed_while_the_other_coin_covers_it() -> None:
    floor = floor_with(usdt="6000", usdc="100")
    floor.market("Buy", "1", symbol=PERP)
    floor.move("49000", symbol=PERP)
    floor.market("Sell", "1", symbol=PERP)
    row = wallet_row(floor.engine.wallet_view(floor.account))
    coins = {coin["coin"]: coin for coin in row["coin"]}
    assert D(coins["USDC"]["walletBalance"]) == -D(coins["USDC"]["borrowAmount"]) < -900
    assert D(row["totalEquity"]) == floor.engine.equity(floor.account)


def test_usdc_contracts_have_no_hedge_mode() -> None:
    floor = floor_with()
    with pytest.raises(Refused) as caught:
        settings.switch_mode(floor.engine, floor.account, PERP, HEDGE)
    assert caught.value.code == 110029
    settings.switch_coin(floor.engine, floor.account, "USDT", HEDGE)
    assert PERP not in floor.account.hedged
    assert BTC in floor.account.hedged


def test_a_usdc_position_is_liquidated_and_never_leaves_a_debt() -> None:
    floor = floor_with(usdc="6000")
    floor.market("Buy", "1", symbol=PERP)
    price_moves.move(floor.engine, PERP, D(30_000), jump=True)
    floor.listen()
    assert floor.account.size(PERP) == 0
    assert floor.account.wallet >= 0
    assert min(floor.account.balances.values()) >= 0
