"""To which moment the database can be brought back: by the archive of the log, or by the newest dump."""

from dataclasses import dataclass
from datetime import datetime

from alpha.postgres.sql import queries
from operations.context import Operations

SQL = queries(__file__)

#: A piece of the log is archived every 30 s while anything is written (ARCHIVE_TIMEOUT_S); ten of them missing is a fault.
OLD_S = 300.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """`age_s` is how old the newest moment is that the archive has; None before the first piece, or without an archive.

    `dump` is when the newest good dump was taken.
    """

    archives: bool
    age_s: float | None
    failing: bool
    dump: datetime | None

    @property
    def well(self) -> bool:
        """Whether nothing more than OLD_S would be lost; without an archive that is not promised."""
        return not self.archives or (self.age_s is not None and self.age_s <= OLD_S)

    @property
    def sentence(self) -> str:
        """The same for people."""
        dump = "no dump yet" if self.dump is None else f"the dump of {self.dump:%Y-%m-%d %H:%M} UTC"
        if not self.archives:
            return f"To {dump}; the archive of the log is off."
        if self.age_s is None:
            return f"The archive of the log is empty; to {dump}. Look at the log of PostgreSQL."
        why = " The last piece of the log could not be archived." if self.failing else ""
        return f"To any moment up to {self.age_s:.0f} s ago.{why}"


async def recovery(platform: Operations) -> Recovery:
    """Ask PostgreSQL what is archived, and the record of dumps. Raises Retry."""
    (row,) = await platform.history.rows(SQL["archiver"])
    dump = await platform.history.value(SQL["last_backup"])
    return Recovery(row["archives"], row["age_s"], row["failing"], dump)
