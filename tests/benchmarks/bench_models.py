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


class _Timed:
    """Wall and CPU times of one kind of call, in microseconds; with a server its CPU is in it."""

    def __init__(self, server: psutil.Process | None = None) -> None:
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self._server = server

    def call(self, work: Callable[[], object]) -> None:
        """One call."""
        began, began_cpu = time.perf_counter(), self._cpu()
        work()
        self.wall.append((time.perf_counter() - began) * 1e6)
        self.cpu.append((self._cpu() - began_cpu) * 1e6)

    def _cpu(self) -> float:
        """CPU of this process and of the server, in seconds: the kernel counts the server's in nanoseconds in schedstat."""
        own = time.process_time()
        if self._server is None:
            return own
        total = 0
        for task in Path(f"/proc/{self._server.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except OSError:
                continue
        return own + total / 1e9

    def late(self, which: str) -> float:
        """The 99th percentile of `wall` or `cpu`."""
        return float(np.percentile(getattr(self, which), 99))

    def middle(self, which: str) -> float:
        """The median."""
        return float(np.percentile(getattr(self, which), 50))


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
        bare, served = _Timed(), _Timed(psutil.Process(server.pid))
        for number in range(requests + 50):
            # one of each in turn, so that a busy moment of the machine hits both
            if number == 50:
                bare, served = _Timed(), _Timed(psutil.Process(server.pid))
            bare.call(lambda: session.scores(rows))
            served.call(lambda: ask(0))
        memory = psutil.Process(server.pid).memory_info().rss / 1e6
        loop.run_until_complete(client.close())
    finally:
        server.terminate()
        server.wait()
        loop.close()
    print(f"{trees} trees of 31 leaves, {ROWS} rows x {FEATURES} features, {requests} requests, one of each in turn")
    for name, found in (("onnxruntime alone", bare), ("request of a bot", served)):
        for which in ("wall", "cpu"):
            print(f"  {name:<20} {which:<4}  median {found.middle(which):8.0f} us   p99 {found.late(which):8.0f} us")
    for which in ("wall", "cpu"):
        print(f"  p99 by {which}: {served.late(which) / bare.late(which):.1f} times onnxruntime alone (aim 3)")
    print(f"  CPU counts client and server; the server holds {memory:.0f} MB (at most {MEMORY_MB})")


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
