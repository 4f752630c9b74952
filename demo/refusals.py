"""Which processes of the demo refuse their settings, in their own words."""

from alpha.clock import wall_ms
from alpha.errors import Misconfigured
from demo.processes import STEADY_S, Process, State, Supervisor


class Refusals:
    """Reads from a supervisor which processes end with the exit code of a wrong setting."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._said: set[str] = set()

    def new(self) -> list[str]:
        """A sentence for each process that refuses and was not named before."""
        refusing = [name for name in self._refusing() if name not in self._said]
        self._said.update(refusing)
        return [self._sentence(name) for name in refusing]

    def lasting(self) -> list[str]:
        """A sentence for each process that still refuses."""
        return [self._sentence(name) for name in self._refusing()]

    def _refusing(self) -> list[str]:
        return [name for name, process in self._supervisor.processes.items() if _refuses(process)]

    def _sentence(self, name: str) -> str:
        process = self._supervisor.processes[name]
        words: list[str] = []
        for line in reversed(self._supervisor.tail(name, 20).splitlines()):
            if line.startswith("{"):
                if words:
                    break
                continue  # logged after its last words
            words.insert(0, line.strip())
        said = " ".join(dict.fromkeys(words)) or "it said nothing."
        return f"{name} does not run: {said} Its log is {process.log_path}."


def _refuses(process: Process) -> bool:
    """True after an end with the exit code of a wrong setting, until it has run for a while."""
    if not process.wanted.is_set() or process.exit_code != Misconfigured.exit_code:
        return False
    return process.state is not State.RUNNING or wall_ms() - (process.started_ms or 0) < STEADY_S * 1_000
