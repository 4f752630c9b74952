"""A command whose packages are not installed says what to install."""

import subprocess
import sys

import pytest

from alpha_cli.missing_package import advice_for

#: Without `missing`, as after the setup of the README, where only the lock of the demo is installed.
WITHOUT = "import sys; sys.modules['{missing}'] = None; from alpha_cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("optuna", "sweep h1 --strategy momentum --space x.toml --data x"),
        ("optuna", "sweep join postgresql://alpha_research@127.0.0.1:9/alpha_research h1"),
        ("numba", "portfolio momentum=x"),
    ],
)
def test_a_command_without_its_packages_names_the_lock(missing: str, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(missing=missing), *words.split()],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (
        2,
        f"This command needs the package {missing}, which is not installed here. "
        "Install it: python locks/install.py locks/research.lock.\n",
    )


def test_a_module_of_our_own_that_is_missing_stays_a_defect() -> None:
    assert advice_for(ModuleNotFoundError("no", name="alpha.nowhere")) is None
    assert "whole project" in (advice_for(ModuleNotFoundError("no", name="tox_of_nobody")) or "")
