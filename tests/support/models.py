"""Trained models for tests: made once per process and kind, then copied."""

import functools
import importlib.util
import shutil
import tempfile
from pathlib import Path

import pytest

from alpha.config.services import DatabaseSettings
from alpha.postgres.database import connect
from alpha.scoring.manifest import read_artefact, record_of

PACKAGES = ("lightgbm", "onnxmltools", "onnxruntime")
needs_training_packages = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES),
    reason="the packages of the extra `train` are not installed: python locks/install.py locks/train.lock",
)


@functools.cache
def _trained(effect: float) -> Path:
    from research.models.proof import train_on_made
    from research.models.train import save

    models = Path(tempfile.mkdtemp(prefix="alpha-models-"))
    return save(train_on_made(1, effect, models), models)


def artefact(models: Path, *, effect: float = 0.0) -> Path:
    """The folder of a small trained model called `proof`, below `models`; with an effect it passed."""
    made = _trained(effect)
    folder = models / "proof" / made.name
    shutil.copytree(made, folder)
    return folder


async def register(database: DatabaseSettings, folder: Path, *, stage: str = "shadow") -> str:
    """Put an artefact on record in this stage, whatever it is worth; returns its version."""
    artefact = read_artefact(folder)
    connection = await connect(database, "test")
    try:
        await connection.fetchval(
            "SELECT trading.register_model($1, $2, 'test')", artefact.version, record_of(artefact.manifest)
        )
        await connection.execute("UPDATE trading.models SET stage = $2 WHERE version = $1", artefact.version, stage)
    finally:
        await connection.close()
    return artefact.version
