"""What the start of a service may import: heavy packages only where they are used."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from alpha.services import SERVICES
from tests.benchmarks.bench_imports import ENTRIES

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {
    *("rich", "pygments", "attr", "click", "typer", "websocket", "Crypto", "apprise", "matplotlib", "polars", "numpy"),
    *(
        "pybit",
        "requests",
        "httpx",
        "aiohttp",
        "websockets",
        "picows",
        "fastapi",
        "uvicorn",
        "mcp",
        "telegram",
        "docker",
    ),
    *("onnxruntime", "optuna", "numba", "scipy", "jinja2", "psutil", "sqlalchemy"),
}
_GATEWAY = {"pybit", "requests"}
#: The heavy packages that each service uses from its start on; every other one is imported where it is used.
USED = {
    "websocket_listener": {*_GATEWAY, "picows"},
    "trade_sync_service": _GATEWAY,
    "risk_guard": {*_GATEWAY, "httpx"},
    "telegram_manager": {"telegram", "httpx"},
    "dashboard": {"aiohttp", "attr", "httpx"},
    "api_server": {"fastapi", "uvicorn", "mcp", "httpx", "click", "rich", "pygments", "attr"},
    "tick_recorder": {*_GATEWAY, "picows", "polars", "httpx"},
    "analysis_service": {*_GATEWAY, "picows", "numpy"},
    "model_server": {"aiohttp", "attr", "numpy"},
    "a bot": {*_GATEWAY, "numpy", "httpx"},
    "a shared container": {*_GATEWAY, "numpy", "httpx"},
    "migrate": set(),
    "exchange_simulator": {"aiohttp", "attr", "numpy"},
    "alpha": {"typer"},
}
#: What most have in common is imported once; each entry is then imported by a forked process of its own.
_IMPORT = """
import importlib, json, os, sys
entries, heavy = json.loads(sys.argv[1]), set(json.loads(sys.argv[2]))
import alpha.process, alpha.health, alpha.live_state.connect, alpha.postgres.database
assert not heavy & set(sys.modules), heavy & set(sys.modules)
for service, module in entries.items():
    reader, writer = os.pipe()
    if os.fork() == 0:
        if service == "telegram_manager":
            from alpha.imports import without
            with without("click"):
                import httpx
        importlib.import_module(module)
        os.write(writer, json.dumps(sorted(heavy & set(sys.modules))).encode())
        os._exit(0)
    os.close(writer)
    print(service, os.read(reader, 65536).decode(), sep="=")
    os.wait()
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    """The heavy packages that each entry imports."""
    words = [sys.executable, "-c", _IMPORT, json.dumps(ENTRIES), json.dumps(sorted(HEAVY))]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = (line.split("=") for line in done.stdout.splitlines())
    return {service: set(json.loads(found)) for service, found in rows}


def test_every_resident_service_is_looked_at() -> None:
    assert {service.name for service in SERVICES if service.resident} <= set(ENTRIES)
    assert set(USED) == set(ENTRIES)


@pytest.mark.parametrize("service", ENTRIES)
def test_a_service_imports_no_heavy_package_that_it_does_not_use(service: str, imported: dict[str, set[str]]) -> None:
    assert imported[service] <= USED[service]
