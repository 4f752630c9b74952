"""A result written down for programs: `result.json`, `trades.parquet`, `equity.parquet`, `orders.parquet`."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any

from alpha.model.money import plain
from alpha.model.timestamp import at
from backtester.command import Outcome
from backtester.confidence import confidence
from backtester.metrics import by_month, by_reason, by_symbol, by_year, measure
from backtester.regimes import SLIPPAGES_BPS, by_regime, doubled, held, with_costs

SCHEMA = 1
ROOT = Path(__file__).resolve().parents[1]
#: What a back-test's figures depend on, beside the strategy's own package.
CODE = ("alpha/strategy", "alpha/indicators", "alpha/timeframes", "alpha/model", "backtester")
LIBRARIES = ("numpy", "polars", "msgspec", "pydantic")


def record_of(outcome: Outcome) -> dict[str, Any]:
    """Every figure of an outcome and what produced it, as JSON values. Amounts are texts with every digit."""
    result, description = outcome.result, outcome.description
    costs = description.costs
    return {
        "schema": SCHEMA,
        "strategy": description.strategy,
        "parameters": dict(description.parameters),
        "changed": list(description.changed),
        "command": description.command,
        "symbols": list(description.symbols),
        "interval_ms": result.interval_ms,
        "from": at(result.from_ms).isoformat(),
        "to": at(result.to_ms).isoformat(),
        "cash": plain(result.cash),
        "end_equity": plain(result.end_equity),
        "costs": plainly(costs),
        "funding": description.funding,
        "operator": description.operator,
        "fingerprints": {"data": description.fingerprint, "code": code_fingerprint(description.module)},
        "versions": versions(),
        "figures": plainly(measure(result)),
        "confidence": confidence(result).as_dict(),
        "held": plainly(held(result, outcome.data)),
        "costs_doubled_net": doubled(result, costs),
        "net_by_slippage_bps": {str(bps): with_costs(result, costs, slippage_bps=bps) for bps in SLIPPAGES_BPS},
        "regimes": plainly(by_regime(result, outcome.data)),
        "by_symbol": plainly(by_symbol(result.trades)),
        "by_reason": plainly(by_reason(result.trades)),
        "by_month": plainly(by_month(result)),
        "by_year": plainly(by_year(result)),
        "refusals": dict(result.skipped),
        "limit_hits": [{"time": at(hit.time_ms).isoformat(), "text": hit.text} for hit in result.limit_hits],
        "open_at_end": plainly(result.open_at_end),
    }


def write_record(outcome: Outcome, folder: Path) -> None:
    """Write the four files into `folder`, which exists."""
    from backtester.frames import equity_frame, orders_frame, trades_frame

    text = json.dumps(record_of(outcome), indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "result.json").write_text(text + "\n", encoding="utf-8")
    trades_frame(outcome.result).write_parquet(folder / "trades.parquet")
    equity_frame(outcome.result).write_parquet(folder / "equity.parquet")
    orders_frame(outcome.result).write_parquet(folder / "orders.parquet")


def code_fingerprint(strategy_module: str = "", root: Path = ROOT) -> str:
    """Sixteen hex digits that name the code a back-test runs: the packages of `CODE` and the strategy's own, tests left out."""
    folders = [root / name for name in CODE]
    if strategy_module:
        own = root / Path(*strategy_module.split(".")[:-1])
        if own.is_dir() and own != root:
            folders.append(own)
    digest = hashlib.sha256()
    for path in sorted({path for folder in folders for path in folder.rglob("*.py") if "tests" not in path.parts}):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Python, Alpha, and the libraries that figures depend on."""
    found = {"python": platform.python_version()}
    for name in ("alpha-trading", *LIBRARIES):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def plainly(value: Any) -> Any:
    """Dataclasses, Decimals, enums and NaN as JSON values."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plainly(one) for name, one in asdict(value).items()}
    if isinstance(value, Decimal):
        return plain(value)
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    if isinstance(value, Mapping):
        return {str(key): plainly(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plainly(one) for one in value]
    return getattr(value, "value", value)
