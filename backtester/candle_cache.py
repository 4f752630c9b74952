"""Candle files read once: their columns as they are in memory, in a cache folder, named by the content of the file.

A file whose content is known is mapped from there instead of being parsed. The cache holds nothing that is not in the file;
it may be deleted at any time, and where it cannot be written nothing changes but the time. `ALPHA_CACHE` names another
folder, and `off` none.
"""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from alpha.strategy.bars import Bars
from backtester.candles import COLUMNS, column

VERSION = 1
VARIABLE = "ALPHA_CACHE"


def cache_folder() -> Path | None:
    """Where columns are kept; None when the cache is off."""
    wanted = os.environ.get(VARIABLE, "")
    if wanted.lower() == "off":
        return None
    if wanted:
        return Path(wanted)
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "alpha" / "candles"


def content_name(path: Path) -> str:
    """The SHA-256 of a file, with the version of this cache."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}-{VERSION}"


def cached(name: str, symbol: str) -> Bars | None:
    """The candles of a file with this content, if they were kept; columns are mapped and cannot be written to."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        about = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        table = np.load(folder / f"{name}.npy", mmap_mode="r")
        times = np.load(folder / f"{name}.times.npy", mmap_mode="r")
        if table.shape != (len(COLUMNS), len(times)):
            return None
        return Bars(symbol, int(about["interval_ms"]), times, *table)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(name: str, bars: Bars) -> None:
    """Keep the candles of a file with this content. What cannot be written is not kept."""
    folder = cache_folder()
    if folder is None or not len(bars):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(folder / f"{name}.npy", np.array([column(bars, one) for one in COLUMNS]))
        _write(folder / f"{name}.times.npy", bars.start_ms)
        about = folder / f"{name}.json"
        partial = about.with_name(f"{about.name}.{os.getpid()}.part")
        partial.write_text(json.dumps({"interval_ms": bars.interval_ms}), encoding="utf-8")
        partial.replace(about)
    except OSError:
        return


def _write(path: Path, values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        np.save(file, values)
    Path(file.name).replace(path)
