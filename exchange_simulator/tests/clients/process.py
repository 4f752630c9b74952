"""The exchange as a separate process, as clients see it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.forkserver import popen

KEY = "client-key"
SECRET = "client-secret"


@dataclass(frozen=True)
class Simulator:
    """Addresses of a running exchange."""

    rest_url: str
    ws_url: str


@contextmanager
def running(*arguments: str) -> Iterator[Simulator]:
    """A simulator with these arguments on a free port; stopped with SIGTERM, after which it must exit with 0."""
    with tempfile.TemporaryFile("w+") as errors:
        process = popen(["-m", "exchange_simulator", "--port", "0", *arguments], errors=errors)
        try:
            assert process.stdout is not None
            words = [process.stdout.readline().split()[-1:] for _ in range(2)]
            if not all(words):
                process.wait()
                errors.seek(0)
                raise AssertionError(f"the exchange did not start: {errors.read()}")
            yield Simulator(rest_url=words[0][0], ws_url=words[1][0])
        finally:
            process.terminate()
            code = process.wait(timeout=20)
            if process.stdout is not None:
                process.stdout.close()
            errors.seek(0)
            said = errors.read()
        assert code == 0, f"the exchange ended with {code}: {said}"
