"""The fixtures that all parts share: real PostgreSQL, real Redis, the simulated exchange."""

import shutil
import tempfile

import pytest

pytest_plugins = ["tests.support.fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """A temporary folder of its own for each session.

    pytest's own is shared and closed anew (0700) by every session that starts, which takes the data folder away from a
    PostgreSQL that runs as another user in a session beside it.
    """
    if config.option.basetemp is None and not hasattr(config, "workerinput"):
        config.option.basetemp = tempfile.mkdtemp(prefix="alpha-tests-")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))
