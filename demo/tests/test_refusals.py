import sys
from pathlib import Path

import pytest

from alpha.errors import Misconfigured
from demo.processes import Spec, Supervisor, base_environment
from demo.refusals import Refusals
from demo.run import run_demo
from demo.tests.test_processes import supervisor, until

__all__ = ["supervisor"]


async def test_a_process_that_refuses_its_settings_is_named_in_its_own_words(supervisor: Supervisor) -> None:
    code = "import sys; print('{}'); sys.stderr.write('NAME is wrong: set it.\\n'); sys.exit({})"
    for name, end in (("refuses", 2), ("dies", 1)):
        supervisor.add(
            Spec(name, "service", [sys.executable, "-c", code.replace("exit({})", f"exit({end})")], base_environment())
        )
    await until(lambda: all(process.restarts for process in supervisor.processes.values()))
    refusals = Refusals(supervisor)
    log = supervisor.processes["refuses"].log_path
    (sentence,) = refusals.new()
    assert sentence == f"refuses does not run: NAME is wrong: set it. Its log is {log}."
    assert refusals.new() == []
    assert refusals.lasting() == [sentence]


@pytest.mark.parametrize("url", ["", "http://desk.example"])
async def test_the_demo_does_not_start_with_a_dashboard_that_would_refuse(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    monkeypatch.setenv("DEMO_STATE", str(tmp_path))
    monkeypatch.setenv("DASHBOARD_STEERING", "true")
    monkeypatch.setenv("DASHBOARD_PUBLIC_URL", url)
    with pytest.raises(Misconfigured, match="DASHBOARD_PUBLIC_URL"):
        await run_demo(tmp_path, asyncio.Event())
