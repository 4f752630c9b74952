"""What the start of each service imports, in CPU: `python -m tests.benchmarks.bench_imports [--before CHECKOUT]`.

User and system time of an interpreter that imports the entry module of a service, less that of a bare one; the least of
several runs, because other load only ever adds. With `--before` an older checkout is measured in turn with this one.
"""

import argparse
import os
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: Service to the module that its start imports whole.
ENTRIES = {
    "websocket_listener": "websocket_listener.__main__",
    "trade_sync_service": "trade_sync_service.cli",
    "risk_guard": "risk_guard.__main__",
    "telegram_manager": "telegram_manager.app",
    "dashboard": "dashboard.__main__",
    "api_server": "api_server.__main__",
    "tick_recorder": "tick_recorder.__main__",
    "analysis_service": "analysis_service.__main__",
    "model_server": "model_server.__main__",
    "a bot": "bot_runner.main",
    "a shared container": "bot_runner.shared",
    "migrate": "alpha.postgres.migrate",
    "exchange_simulator": "exchange_simulator.__main__",
    "alpha": "alpha_cli.main",
}
#: What telegram_manager's entry does before it imports its application.
_FIRST = "import importlib.util as u\nif u.find_spec('alpha.imports'):\n from alpha.imports import without\n with without('click'): import httpx\n"


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cpu_ms(checkout: Path, code: str) -> float:
    """CPU of one interpreter that runs this code in a checkout, in ms."""
    before = _used()
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], cwd=checkout, env=environment, check=True)
    return (_used() - before) * 1000


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description="CPU of each service's imports.")
    parser.add_argument("--before", type=Path, help="an older checkout to compare with")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--only", default="", help="services whose name holds this word")
    words = parser.parse_args()
    checkouts = [*([words.before.resolve()] if words.before else []), ROOT]
    bare = min(cpu_ms(ROOT, "pass") for _ in range(words.runs))
    print(f"bare interpreter {bare:.0f} ms of CPU; each row without it; least of {words.runs} runs\n")
    print(
        "| service | " + ("before, ms | " if words.before else "") + "now, ms |" + (" ratio |" if words.before else "")
    )
    print("|---|" + "---:|" * (3 if words.before else 1))
    for service, module in ENTRIES.items():
        if words.only not in service:
            continue
        code = (_FIRST if service == "telegram_manager" else "") + f"import {module}"
        rounds = [[cpu_ms(checkout, code) for checkout in checkouts] for _ in range(words.runs)]
        least = [min(each) - bare for each in zip(*rounds, strict=True)]
        ratio = f" {least[1] / least[0]:.2f} |" if words.before else ""
        print(f"| {service} | " + " | ".join(f"{each:.0f}" for each in least) + f" |{ratio}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
