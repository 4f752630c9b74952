"""The next run removes what a killed run left behind, and nothing else."""

import subprocess
import sys
import uuid

import pytest

from tests.history.services.conftest import Seventeen
from tests.support.docker_env import LABEL, docker, sweep

pytestmark = [pytest.mark.containers, pytest.mark.timeout(120)]


def test_only_what_a_dead_run_left_is_swept(seventeen: Seventeen) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = f"alpha-test-{uuid.uuid4().hex[:8]}"
    docker("network", "create", "--label", f"{LABEL}={dead.pid}", left)
    try:
        assert sweep() == [left]
        known = docker("network", "ls", "--format", "{{.Name}}").split()
        assert left not in known
        assert seventeen.room.network in known
    finally:
        docker("network", "rm", left, check=False)
