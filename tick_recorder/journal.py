"""Rows that are durable but not in a part yet: `.journal/<number>-<n>.<kind>.arrow`, uncompressed.

A part of few rows costs more than its rows, so parts hold up to a minute; what came since the last one is here, at a tenth
of a part's price. The next start makes parts of what a killed process left (`Writer.recover`).
"""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from alpha.logs import logger
from tick_recorder.columns import OWNER
from tick_recorder.schema import SCHEMAS, Key, Kind
from tick_recorder.store import save

log = logger(__name__)
FOLDER = ".journal"
_SYMBOL, _HOUR = "_symbol", "_hour"
_NAME = re.compile(rf"(\d{{6}})-\d{{3}}\.({'|'.join(Kind)})\.arrow")


class Journal:
    """The journal of the tick folder `root`, for one process."""

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._number = max((number for number, _, _ in self._files()), default=0)

    def add(self, frames: Sequence[tuple[Kind, pl.DataFrame]], keys: Sequence[Key]) -> None:
        """Store rows, gaps first, durable on return. OSError if the write fails.

        The column `OWNER` of each frame says to which of `keys` a row belongs.
        """
        self._number += 1
        symbols, hours = pl.Series(_SYMBOL, [key[1] for key in keys]), pl.Series(_HOUR, [key[2] for key in keys])
        for number, (kind, frame) in enumerate(sorted(frames, key=lambda one: one[0] is not Kind.GAPS)):
            owners = frame[OWNER]
            made = io.BytesIO()
            frame.drop(OWNER).hstack([symbols.gather(owners), hours.gather(owners)]).write_ipc(made)
            save(self.folder / f"{self._number:06d}-{number:03d}.{kind}.arrow", made.getbuffer())

    def read(self) -> Iterator[tuple[Key, pl.DataFrame]]:
        """Its rows, oldest first. A damaged file is set aside and logged: its rows fall into the gap of the restart."""
        for _, kind, path in self._files():
            try:
                found = pl.read_ipc(path)
                parts = found.partition_by(_SYMBOL, _HOUR, as_dict=True, maintain_order=True)
                rows = [((kind, str(of[0]), int(of[1])), frame.select(*SCHEMAS[kind])) for of, frame in parts.items()]
            except (OSError, pl.exceptions.PolarsError) as fault:
                log.warning("journal_not_read", file=str(path), why=str(fault).splitlines()[0][:200])
                path.rename(path.with_name(f"{path.name}.unreadable"))
                continue
            yield from rows

    def clear(self) -> None:
        """Delete its files: their rows are in parts now."""
        for _, _, path in self._files():
            path.unlink(missing_ok=True)
        self._number = 0

    def _files(self) -> list[tuple[int, Kind, Path]]:
        """Number, kind and path of each file, in the order in which they were written. Foreign files are ignored."""
        with suppress(OSError):
            found = (_NAME.fullmatch(name) for name in sorted(os.listdir(self.folder)))
            return [(int(match[1]), Kind(match[2]), self.folder / match[0]) for match in found if match]
        return []
