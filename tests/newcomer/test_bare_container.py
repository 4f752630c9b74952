"""The README's two commands in a bare `python:3.13-slim`. Prints the time to the first fill.

make test-containers ARGS='-m "containers and long" tests/newcomer'
"""

import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.containers.compose import engine_answers
from tests.newcomer.readme import ROOT

IMAGE = "python:3.13-slim"
LIMIT_S = 900
pytestmark = [pytest.mark.containers, pytest.mark.long, pytest.mark.timeout(2 * LIMIT_S)]


def test_two_commands_in_a_bare_container(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`python:3.13-slim` and `make`, nothing else."""
    if not engine_answers():
        pytest.skip("no Docker engine answers")
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    script = (
        "set -e; mkdir /Alpha; tar -x -C /Alpha; cd /Alpha;"
        " apt-get update -qq >/dev/null; apt-get install -y -qq --no-install-recommends make >/dev/null 2>&1;"
        " date +began=%s; make demo"
    )
    began = None
    name = f"alpha-newcomer-{os.getpid()}"
    process = subprocess.Popen(
        ["docker", "run", "--rm", "-i", "--name", name, "-e", "DEMO_SECONDS=30", IMAGE, "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    said: list[str] = []
    first = None
    try:
        process.stdin.write(archive)
        process.stdin.close()
        for raw in process.stdout:
            line = raw.decode(errors="replace")
            said.append(line)
            if line.startswith("began="):
                began = time.monotonic()
            if first is None and " fill " in line and began is not None:
                first = time.monotonic() - began
        assert process.wait(LIMIT_S) == 0, "".join(said)[-3000:]
    finally:
        if process.poll() is None:
            subprocess.run(["docker", "rm", "-f", name], check=False, capture_output=True)
        process.stdout.close()
    assert "The books agree" in said[-1]
    with capsys.disabled():
        print(f"\ntime to the first fill in {IMAGE}, with downloads: {first or float('nan'):.0f} s")
