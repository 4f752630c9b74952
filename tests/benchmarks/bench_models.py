"""What a request to the model server costs, beside onnxruntime alone in the same run, and the memory of the server.

python -m tests.benchmarks.bench_models [--requests 2000] [--trees 300]
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import psutil

from alpha.scoring.local import Session
from alpha.scoring.manifest import Manifest, digest, read_artefact, write_artefact
from bot_runner.model_client import ModelClient
from demo.ports import free_port
from research.models.booster import fit
from research.models.export import onnx_scores, to_onnx
from research.models.proof import train_on_made
from tests.support.world import ROOT

ROWS, FEATURES = 33, 50
MEMORY_MB = 150


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2_000)
    parser.add_argument("--trees", type=int, default=300)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        _measure(Path(folder), asked.requests, asked.trees)


def _artefact(models: Path, trees: int) -> Session:
    """A model of 50 features with so many trees of 31 leaves."""
    from alpha.scoring.features import FORMULAS_BY_NAME, FeatureSet

    names = [f"change({n})" for n in range(1, 26)] + [f"volume({n})" for n in range(1, 26)]
    assert len(names) == FEATURES
    assert FORMULAS_BY_NAME
    draw = np.random.default_rng(1)
    rows = draw.normal(size=(20_000, FEATURES)).astype(np.float32)
    target = (rows[:, 0] + draw.normal(size=20_000) * 3 > 0).astype(np.float64)
    chosen = {"num_leaves": 31, "learning_rate": 0.05, "min_rows_in_leaf": 20, "l2": 1.0, "rounds": trees}
    model = to_onnx(fit(rows, target, chosen, regression=False, seed=1), "bench", FEATURES)
    base = train_on_made(1, 0.0, models, bars=2_500).manifest
    import msgspec

    content = msgspec.to_builtins(base)
    content |= {
        "name": "bench",
        "features": names,
        "schema": FeatureSet(names, "5").schema,
        "onnx_sha256": digest(model),
        "reference": {"rows": rows[:200].tolist(), "scores": onnx_scores(model, rows[:200]).astype(float).tolist()},
    }
    return Session(read_artefact(write_artefact(models, msgspec.convert(content, Manifest), model)))


def _percentiles(call: Callable[[int], object], count: int) -> tuple[float, float]:
    """Median and 99th percentile in microseconds."""
    for number in range(50):
        call(number)
    took = np.empty(count)
    for number in range(count):
        began = time.perf_counter()
        call(number)
        took[number] = time.perf_counter() - began
    median, late = np.percentile(took, (50, 99))
    return float(median) * 1e6, float(late) * 1e6


def _measure(models: Path, requests: int, trees: int) -> None:
    import asyncio

    session = _artefact(models, trees)
    rows = np.random.default_rng(2).normal(size=(ROWS, FEATURES)).astype(np.float32)
    port = free_port()
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
        "PYTHONPATH": str(ROOT),
        "MODELS_DIR": str(models),
        "MODELS_PORT": str(port),
        "OMP_NUM_THREADS": "1",
    }
    server = subprocess.Popen([sys.executable, "-m", "model_server"], env=environment, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    client = ModelClient(f"http://127.0.0.1:{port}", 10.0)
    try:
        _wait(port)
        version, schema = session.artefact.version, session.manifest.schema
        now_ms = session.manifest.trained_to_ms

        def ask(_: int) -> object:
            return loop.run_until_complete(client.scores("bench", version, schema, now_ms, rows))

        answer, _ = loop.run_until_complete(client.scores("bench", version, schema, now_ms, rows))
        assert answer.tobytes() == session.scores(rows).tobytes()
        # interleaved in halves, so that a busy moment of the machine hits both
        bare = [_percentiles(lambda _: session.scores(rows), requests // 2)]
        served = [_percentiles(ask, requests // 2)]
        bare.append(_percentiles(lambda _: session.scores(rows), requests // 2))
        served.append(_percentiles(ask, requests // 2))
        memory = psutil.Process(server.pid).memory_info().rss / 1e6
        loop.run_until_complete(client.close())
    finally:
        server.terminate()
        server.wait()
        loop.close()
    rows_text = [("onnxruntime alone", bare), ("request of a bot", served)]
    print(f"{trees} trees of 31 leaves, {ROWS} rows x {FEATURES} features, {requests} requests")
    for name, found in rows_text:
        median, late = (sum(one[place] for one in found) / len(found) for place in (0, 1))
        print(f"  {name:<20} median {median:8.0f} us   p99 {late:8.0f} us")
    ratio = sum(one[1] for one in served) / sum(one[1] for one in bare)
    print(f"  p99: {ratio:.1f} times onnxruntime alone; the server holds {memory:.0f} MB (at most {MEMORY_MB})")


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/v2/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the model server did not become ready")


if __name__ == "__main__":
    main()
