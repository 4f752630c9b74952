"""`alpha init` loses no secret: killed at any write, on a full disk, in a folder owned by another user."""

import errno
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alpha.registry import load_registry
from alpha.services import SERVICES
from alpha_cli.installation import layout
from alpha_cli.installation.layout import given
from alpha_cli.installation.write import read_env
from alpha_cli.main import main

ROOT = Path(__file__).resolve().parents[3]
_WRITES = os.O_WRONLY | os.O_RDWR
NOBODY = 65534
#: Exit code: it finished although something was refused.
ALL_THE_SAME = 55
#: A secret added to an installation that already has its secrets in files.
LATER = "C2_TELEGRAM_BOT_TOKEN"


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can access."""
    # Two services instead of all: still covers every kind of write.
    few = tuple(service for service in SERVICES if service.name in {"websocket_listener", "risk_guard"})
    monkeypatch.setattr(layout, "SERVICES", few)
    # in memory if possible: hundreds of runs, each of which syncs to disk
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="alpha-init-", dir=memory if os.access(memory, os.W_OK) else None))
    folder.chmod(0o755)
    # Here, so that no child has to load the modules and another user need not be able to read them.
    warm = folder / "warm"
    checkout(warm)
    assert init(warm) == 0
    yield folder
    shutil.rmtree(folder)


def checkout(folder: Path, without: str = "") -> dict[str, str]:
    """A checkout with a plain `.env`; returns the secrets in it."""
    folder.mkdir()
    shutil.copy(ROOT / ".env.example", folder)
    # one bot is enough to cover every write
    (folder / "bots.toml").write_text("[[bot]]" + (ROOT / "bots.toml").read_text().split("[[bot]]")[1])
    names = (*given(load_registry(folder / "bots.toml")), "POSTGRES_PASSWORD", "REDIS_PASSWORD")
    secrets = {name: f"of-{name}" for name in names if name != without}
    text = (folder / ".env.example").read_text()
    for name, value in secrets.items():
        text = text.replace(f"\n{name}=\n", f"\n{name}={value}\n")
    (folder / ".env").write_text(text)
    return {name: value for name, value in secrets.items() if f"{name}={value}\n" in text}


def in_child(work: Callable[[], int], said: Path) -> int:
    """Run in a child process, its output in `said`; returns the exit code, or minus the signal."""
    reading, writing = os.pipe()  # a pipe accepts output even when no file does
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            sys.stdout = sys.stderr = os.fdopen(writing, "w")
            code = work()
            sys.stderr.flush()
            os._exit(code)
        finally:
            os._exit(99)
    os.close(writing)
    with os.fdopen(reading) as words:
        said.write_text(words.read())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def init(folder: Path) -> int:
    return main(["init", "--folder", str(folder), "--yes"])


def at_write(folder: Path, number: int, act: Callable[[], None]) -> Callable[[], bool]:
    """Call `act` in place of the `number`th change of a file or folder of the checkout; returns whether it occurred."""
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event not in {"open", "os.rename", "os.remove", "os.mkdir", "os.chmod"}:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        if isinstance(arguments[0], int) or not str(arguments[0]).startswith(str(folder)):
            return
        left -= 1
        if left == 0:
            act()

    sys.addaudithook(hook)
    return lambda: left <= 0


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def refuse() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def no_more_bytes() -> None:
    """Prevent files from growing: writes fail, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def found(folder: Path) -> dict[str, str]:
    """Every secret in `.env` and the list in `secrets/` combined."""
    ledger = folder / "secrets/installation.json"
    return {**read_env(folder / ".env"), **(json.loads(ledger.read_text()) if ledger.exists() else {})}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("act", [kill, refuse, no_more_bytes])
def test_an_end_at_any_write_loses_no_secret(place: Path, act: Callable[[], None], tmp_path: Path) -> None:
    said = tmp_path / "said"
    # the second run has a list in secrets/, so that its replacement is covered as well
    for again in (False, True):
        for number in range(1, 1000, 1 if act is kill else 4):
            folder = place / f"{again}-{number}"
            secrets = checkout(folder, LATER if again else "")
            if again:
                assert in_child(partial(init, folder), said) == 0, said.read_text()
                made = found(folder)
                with (folder / ".env").open("a") as env:
                    env.write(f"{LATER}=of-later\n")
                secrets = {
                    LATER: "of-later",
                    **secrets,
                    **{name: made[name] for name in ("POSTGRES_PASSWORD", "DASHBOARD_TOKEN")},
                }

            def work(folder: Path = folder, number: int = number) -> int:
                met = at_write(folder, number, act)
                return init(folder) or (ALL_THE_SAME if met() else 0)

            code = in_child(work, said)
            kept = found(folder)
            assert {name: kept.get(name) for name in secrets} == secrets, (number, code, said.read_text())
            if code == 0:
                break
            if code == ALL_THE_SAME:  # an existing folder need not be created
                shutil.rmtree(folder)
                continue
            assert code in {2, -signal.SIGKILL}, (number, code, said.read_text())
            assert "Traceback" not in said.read_text()
            assert (code == 2) == ("cannot be written" in said.read_text()), said.read_text()
            if number % 20 > 1:
                shutil.rmtree(folder)
                continue
            # and the next run finishes it
            assert in_child(partial(init, folder), said) == 0, said.read_text()
            assert {name: found(folder).get(name) for name in secrets} == secrets
            assert "of-" not in (folder / ".env").read_text()
            assert not (folder / "secrets/.env.before").exists()
            assert (folder / "secrets/risk_guard/postgres_password").stat().st_mode & 0o777 == 0o444
            shutil.rmtree(folder)
        else:
            pytest.fail("it never came to an end")
        assert number > 20, "the writes were met"


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["readable", "hidden"])
def test_a_folder_of_secrets_that_belongs_to_root_is_named_with_its_remedy(
    place: Path, tmp_path: Path, mode: int
) -> None:
    folder = place / "checkout"
    secrets = checkout(folder)
    before = (folder / ".env").read_text()
    for name in ("postgres", "risk_guard", "shortseller"):
        (folder / "secrets" / name).mkdir(parents=True)
    (folder / "secrets").chmod(mode)
    user = os.geteuid()
    if user == 0:
        user = NOBODY
        for path in (folder, *folder.glob("*"), *folder.glob(".env*")):
            if path.name != "secrets":
                os.chown(path, user, user)
    else:
        (folder / "secrets").chmod(0o555)
    said = tmp_path / "said"

    def work() -> int:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return init(folder)

    code = in_child(work, said)
    assert code == 2, said.read_text()
    assert "Traceback" not in said.read_text()
    assert "secrets" in said.read_text()
    if os.geteuid() == 0:
        assert "sudo chown -R" in said.read_text()
    assert (folder / ".env").read_text() == before
    assert {name: found(folder)[name] for name in secrets} == secrets


def test_two_values_of_one_secret_are_for_the_operator_to_choose_from(place: Path, tmp_path: Path) -> None:
    folder = place / "checkout"
    checkout(folder)
    said = tmp_path / "said"
    assert in_child(partial(init, folder), said) == 0
    with (folder / ".env").open("a") as env:
        env.write("POSTGRES_PASSWORD=another\n")
    before = (folder / ".env").read_text(), (folder / "secrets/installation.json").read_text()
    assert in_child(partial(init, folder), said) == 2
    assert "POSTGRES_PASSWORD stands in .env and, with another value, in secrets/" in said.read_text()
    assert "another\n" not in said.read_text()
    assert ((folder / ".env").read_text(), (folder / "secrets/installation.json").read_text()) == before
