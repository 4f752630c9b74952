"""Runs the repository's compose stacks in real containers for tests."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ONE_SHOT = {"migrate", "prepare"}
#: What BuildKit up to Docker 26 says now and then when several images with equal steps are built at once; a second build
#: goes on from what the first has finished.
BUILDKIT_FAULT = "inconsistent graph state"
#: Measurements of the tests as text, printed at the end of the run.
MEASURED: list[str] = []


def measured(words: str) -> None:
    """Print this at the end of the run, with the machine's load, without which timings are meaningless."""
    MEASURED.append(f"{words} (load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores)")


def engine_answers() -> bool:
    """Whether a Docker engine is available."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@dataclass(frozen=True, slots=True)
class Compose:
    """One compose project in `folder`, made of `files`."""

    folder: Path
    files: tuple[str, ...]

    def __call__(self, *arguments: str, timeout_s: float = 600) -> str:
        """Run `docker compose` with these arguments; returns standard output, fails with its output."""
        files = [word for name in self.files for word in ("-f", name)]
        return self.run("docker", "compose", *files, *arguments, timeout_s=timeout_s)

    def run(self, *command: str, timeout_s: float = 600, typed: str = "") -> str:
        """Run a command in the folder, with `typed` as standard input; returns standard output,
        fails with its output. A build that fails of BuildKit's own fault is done once more, as the documents say.
        """
        done = self._once(command, timeout_s, typed)
        if done.returncode and BUILDKIT_FAULT in done.stderr:
            measured(f"`{' '.join(command)}` done once more: {BUILDKIT_FAULT}")
            done = self._once(command, timeout_s, typed)
        assert done.returncode == 0, (
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )
        return done.stdout

    def _once(self, command: tuple[str, ...], timeout_s: float, typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "COMPOSE_ANSI": "never", "COMPOSE_PROGRESS": "quiet"},
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def remove(self) -> None:
        """Remove the project with every volume: without their profiles, volumes of services in a profile would stay, and
        the next run would find the data of this one in them.
        """
        self("--profile", "*", "down", "-v", "--remove-orphans")

    def states(self) -> dict[str, str]:
        """Service -> "running healthy", "exited 0" and the like."""
        rows = [json.loads(line) for line in self("ps", "-a", "--format", "json").splitlines() if line.strip()]
        return {row["Service"]: f"{row['State']} {row['Health'] or row['ExitCode']}" for row in rows}

    def wait_healthy(self, limit_s: float = 400, *, leaving: frozenset[str] = frozenset()) -> None:
        """Wait until every long-running service not left out is healthy and every one-shot service
        has exited with 0.
        """

        def settled() -> bool:
            states = {service: state for service, state in self.states().items() if service not in leaving}
            return bool(states) and all(
                state == ("exited 0" if service in ONE_SHOT else "running healthy") for service, state in states.items()
            )

        wait_for(settled, lambda: f"the stack to be healthy: {self.states()}", limit_s)


def wait_for(condition: Callable[[], object], what: Callable[[], str], limit_s: float) -> None:
    """Wait for a condition. Raises AssertionError naming it on timeout."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what()}"
        time.sleep(0.5)
