"""The chart process ends with the command centre."""

import subprocess
import sys
import time

import psutil

_CENTRE = """
import asyncio, os
from telegram_manager.chart_worker import ChartWorker

async def main():
    painter = ChartWorker()
    await painter.open()
    print(*(child.pid for child in __import__("psutil").Process().children()), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_a_killed_command_centre_leaves_no_drawing_process_behind() -> None:
    with subprocess.Popen([sys.executable, "-c", _CENTRE], stdout=subprocess.PIPE, text=True) as centre:
        assert centre.stdout is not None
        children = [psutil.Process(int(pid)) for pid in centre.stdout.readline().split()]
        centre.kill()
    assert children
    deadline = time.monotonic() + 60
    while any(_lives(child) for child in children):
        assert time.monotonic() < deadline, "a drawing process outlived the command centre"
        time.sleep(0.05)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
