"""An exchange with a state file is killed while orders flow: nothing it has acknowledged is lost."""

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import httpx

from exchange_simulator.tests.clients.process import KEY, SECRET, Simulator
from exchange_simulator.tests.clients.signed import Signed
from tests.support.forkserver import Forked, popen

LINEAR = {"category": "linear", "symbol": "BTCUSDT"}


@contextmanager
def started(file: Path) -> Iterator[tuple["Forked | subprocess.Popen[str]", Simulator]]:
    """A running exchange with a state file; killed at the end if it still runs."""
    process = popen(
        [
            "-m", "exchange_simulator", "--port", "0", "--data", str(file), "--no-rate-limits",
            "--account", f"{KEY}:{SECRET}:100000", "--symbols", "BTCUSDT", "--speed", "200",
        ],
    )  # fmt: skip
    assert process.stdout is not None
    rest, stream = (process.stdout.readline().split()[-1] for _ in range(2))
    with process:
        try:
            yield process, Simulator(rest, stream)
        finally:
            process.kill()


def trade_until_it_dies(simulator: Simulator, life: int, enough: threading.Event) -> list[str]:
    """Sends orders until the exchange is gone; returns the ids of the acknowledged ones."""
    answered: list[str] = []
    with Signed(simulator) as client:
        while True:
            link = f"life-{life}-{len(answered)}"
            side = "Buy" if len(answered) % 2 else "Sell"
            body = {**LINEAR, "side": side, "orderType": "Market", "qty": "0.01", "orderLinkId": link}
            try:
                answer = client.call("POST", "/v5/order/create", body).json()
            except httpx.HTTPError:
                return answered
            assert answer["retCode"] == 0, answer
            answered.append(link)
            if len(answered) == 40:
                enough.set()


def test_killed_again_and_again_it_keeps_every_order_it_has_answered(tmp_path: Path) -> None:
    file = tmp_path / "exchange.sqlite"
    answered: list[str] = []
    for life in range(3):
        with started(file) as (process, simulator):
            enough = threading.Event()
            killer = threading.Thread(target=lambda e=enough, p=process: (e.wait(30), p.kill()))
            killer.start()
            answered += trade_until_it_dies(simulator, life, enough)
            killer.join()
    with started(file) as (process, simulator):
        ledger = httpx.get(f"{simulator.rest_url}/_sim/ledger?limit=10000").json()
        fills = [row["orderLinkId"] for row in ledger["executions"]]
        assert set(answered) <= set(fills)
        assert len(fills) == len(set(fills))
        assert len({row["execId"] for row in ledger["executions"]}) == len(fills)
        (account,) = ledger["accounts"]
        parts = [Decimal(account[name]) for name in ("deposits", "gross", "fees", "funding")]
        assert Decimal(account["wallet_balance"]) == parts[0] + parts[1] - parts[2] + parts[3]
        size = sum(Decimal(row["execQty"]) * (1 if row["side"] == "Buy" else -1) for row in ledger["executions"])
        held = sum(Decimal(row["size"]) * (1 if row["side"] == "Buy" else -1) for row in account["positions"])
        assert size == held
        times = [int(row["execTime"]) for row in ledger["executions"]]
        assert times == sorted(times)
        assert ledger["now_ms"] >= max(times)
        process.terminate()
        assert process.wait(timeout=20) == 0
