"""Giving memory back: glibc keeps a heap per thread, and what a start has read stays with them for good."""

import ctypes
import sys

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def few_heaps(count: int = 1) -> None:
    """Let all threads share so many heaps. Before the first thread is started; does nothing without glibc."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).mallopt(_ARENA_MAX, count)
        except (OSError, AttributeError):
            return


def give_back() -> None:
    """Return free memory to the system; does nothing without glibc."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            return
