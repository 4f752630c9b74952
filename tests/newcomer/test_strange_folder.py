"""The demo in an unusual place: a path with a space, an umlaut and an apostrophe, no .git, LANG=C,
umask 077, no root.
"""

import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.newcomer.readme import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
USER = "nobody"


@pytest.fixture
def strange() -> Iterator[Path]:
    """The committed state, exported without history into a folder with a difficult name."""
    above = Path(tempfile.mkdtemp(prefix="alpha-newcomer-"))
    above.chmod(0o755)
    home = above / "it's a höuse"
    checkout = home / "Alpha"
    checkout.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(checkout)], input=archive, check=True)
    if ordinary_user() is not None:
        subprocess.run(["chown", "-R", f"{USER}:", str(home)], check=True)
    yield checkout
    shutil.rmtree(above, ignore_errors=True)


def ordinary_user() -> pwd.struct_passwd | None:
    """The user for commands when root runs the tests; None: the current user, also if Python is in root's home."""
    if os.geteuid() != 0:
        return None
    program = Path(sys.executable).resolve()
    reached = all(folder.stat().st_mode & stat.S_IXOTH for folder in program.parents)
    return pwd.getpwnam(USER) if reached else None


def typed(checkout: Path, command: str, limit_s: float = 900, **more: str) -> str:
    """Run a command there as an ordinary user."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_"))}
    user = ordinary_user()
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=checkout,
        env={**kept, "PATH": os.environ["PATH"], "HOME": str(checkout.parent), "LANG": "C", **more},
        user=None if user is None else user.pw_uid,
        group=None if user is None else user.pw_gid,
        extra_groups=None if user is None else (),
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=limit_s,
    )
    said = (done.stdout + done.stderr).decode(errors="replace")
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{said[-3000:]}"
    assert "Traceback" not in said
    return said


def test_the_demo_trades_and_the_command_works_there(strange: Path) -> None:
    said = typed(strange, "make demo", DEMO_SECONDS="20")
    assert said.strip().splitlines()[-1].startswith("The books agree: ")
    assert "row" in typed(strange, """make psql ARGS='-c "SELECT count(*) FROM trading.fills"'""")
    assert "doctor" in typed(strange, ".venv/bin/alpha --help")
    typed(strange, "make alpha && .venv/bin/alpha init --yes")
    assert (strange / ".env").stat().st_mode & 0o777 == 0o600
    assert (strange / "secrets").stat().st_mode & 0o777 == 0o700
