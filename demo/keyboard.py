"""Reads single keys from a terminal, without Return and without echo."""

import asyncio
import os
import sys
import termios
import tty
from types import TracebackType

#: Prefix of the sequences sent by arrow keys and similar.
_ESCAPE = "\x1b"


class Keyboard:
    """Puts the terminal into raw key mode while open and restores it afterwards. Does nothing without a terminal."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._before: list[int | list[bytes | int]] | None = None

    def __enter__(self) -> "Keyboard":
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
            asyncio.get_running_loop().add_reader(sys.stdin, self._read)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._before is not None:
            asyncio.get_running_loop().remove_reader(sys.stdin)
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)
            self._before = None

    async def next(self) -> str:
        """The next key, in lower case; waits forever without a terminal."""
        return await self._queue.get()

    def _read(self) -> None:
        typed = os.read(sys.stdin.fileno(), 64).decode(errors="ignore")
        if not typed:
            asyncio.get_running_loop().remove_reader(sys.stdin)
        elif not typed.startswith(_ESCAPE):
            for key in typed.lower():
                self._queue.put_nowait(key)
