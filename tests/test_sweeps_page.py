"""The dashboard's page of sweeps, over a real study in PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import psycopg
import pytest
from aiohttp.test_utils import TestServer

from alpha.config.loader import load
from alpha.errors import Misconfigured
from alpha.live_state.connect import RedisClients
from alpha.registry import Registry
from alpha_cli.main import main
from backtester.candle_files import write_file
from bot_control.no_control import NoControl
from dashboard.app import Dashboard
from dashboard.settings import DashboardSettings
from demo.postgres import EmbeddedPostgres
from operations.context import History, Operations
from research.data_pack import Packed
from research.database import READER, prepare
from research.studies import PASSWORD, Studies
from tests.support.toy_strategies import random_bars

SECRET, READS, TOKEN = "a-password-of-the-tests", "another-password-of-the-tests", "a-token-of-the-tests-that-is-long"
TOY = "tests.support.toy_strategies:Crossing"
HOSTILE = "<script>alert(1)</script>"
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def studies(postgres_server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Studies:
    """Studies with a role that reads them."""
    monkeypatch.setenv(PASSWORD, SECRET)
    monkeypatch.setenv("ALPHA_CACHE", str(tmp_path / "cache" / "candles"))
    return Studies(prepare(postgres_server.settings(), SECRET, READS))


def settings_for(url: str) -> DashboardSettings:
    """The dashboard's settings with this address of studies."""
    return load(
        DashboardSettings,
        env_file=None,
        postgres_password="unused",
        redis_password="unused",
        dashboard_token=TOKEN,
        dashboard_studies=url,
        dashboard_studies_password=READS,
    )


@pytest.fixture
async def pages(
    studies: Studies, registry: Registry, redis_links: RedisClients, postgres_server: EmbeddedPostgres
) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that is logged in at a dashboard with a page of sweeps."""
    settings = settings_for(studies.url.replace("optuna@", f"{READER}@"))
    stored = settings.studies_database()
    assert stored is not None
    history, own = History(stored, "test"), History(postgres_server.settings(), "test")
    dashboard = Dashboard(settings, Operations(registry, redis_links, own, NoControl()), studies=history)
    async with (
        TestServer(dashboard.app()) as server,
        httpx.AsyncClient(base_url=str(server.make_url("/")), follow_redirects=True) as client,
    ):
        assert (await client.get("/sweeps", params={"token": TOKEN})).status_code == 200
        yield client
    await history.close()
    await own.close()


async def test_the_page_shows_each_study_and_its_verdict(
    pages: httpx.AsyncClient, studies: Studies, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    write_file(tmp_path / "data" / "XUSDT.parquet", random_bars(1, 24 * 120, "XUSDT"))
    (tmp_path / "space.toml").write_text(
        "[parameters]\nfast = { low = 2, high = 12 }\nslow = { low = 14, high = 60 }\n"
    )
    common = ["--strategy", TOY, "--space", str(tmp_path / "space.toml"), "--data", str(tmp_path / "data")]
    common += ["--symbols", "all", "--train", "40d", "--test", "20d", "--trials", "20", "--storage", studies.url]
    assert main(["sweep", "run", "page", *common, "--report", str(tmp_path / "out")]) == 0
    assert main(["sweep", "run", HOSTILE, *common, "--workers", "0"]) == 0

    number, _ = studies.find("page")
    with studies.connect() as connection:
        best, deflated, pbo = connection.execute(
            "SELECT (SELECT max(value) FROM alpha_trials WHERE study_id = v.study_id), deflated, overfitting "
            "FROM alpha_verdicts v WHERE study_id = %s",
            (number,),
        ).fetchone() or (0, 0, 0)
    text = (await pages.get("/sweeps")).text
    row = next(part for part in text.split("<tr>") if ">page<" in part)
    for shown in ("20 of 20", f"{best:+.3f} sharpe", f"{deflated:.3f}", f"{pbo:.2f}", str(tmp_path / "out/sweep.html")):
        assert f">{shown}<" in row, shown
    assert ">done<" in row
    assert 'href="/sweeps"' in text

    assert HOSTILE not in text
    waiting = next(part for part in text.split("<tr>") if "&lt;script&gt;alert(1)" in part)
    for shown in ("no worker", "0 of 20", "not judged yet"):
        assert f">{shown}<" in waiting

    other, _ = studies.find(HOSTILE)
    assert studies.claim(other, "a-worker") == (0, 16)
    waiting = next(part for part in (await pages.get("/sweeps")).text.split("<tr>") if "&lt;script&gt;" in part)
    assert ">running<" in waiting
    assert ">16<" in waiting

    # a later verdict without a page keeps the path of the earlier one
    assert main(["sweep", "report", "page", "--storage", studies.url]) == 0
    assert str(tmp_path / "out/sweep.html") in (await pages.get("/sweeps")).text


def test_the_reader_reads_studies_and_nothing_else(studies: Studies, postgres_server: EmbeddedPostgres) -> None:
    studies.create("readable", {"trials": 1}, Packed("market", b""), 1, chunked=True)
    url = studies.url.replace("optuna@", f"{READER}@")
    with psycopg.connect(url, password=READS) as connection:
        connection.execute("SELECT count(*) FROM alpha_sweeps")
        connection.execute("SET default_transaction_read_only = off")
        connection.commit()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE alpha_sweeps SET stopped = true")
    trading = url.rsplit("/", 1)[0] + f"/{postgres_server.settings().postgres_db}"
    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(trading, password=READS)


async def test_there_is_no_page_without_the_setting(
    registry: Registry, redis_links: RedisClients, postgres_server: EmbeddedPostgres
) -> None:
    settings = settings_for("")
    assert settings.studies_database() is None
    own = History(postgres_server.settings(), "test")
    dashboard = Dashboard(settings, Operations(registry, redis_links, own, NoControl()))
    async with TestServer(dashboard.app()) as server, httpx.AsyncClient(base_url=str(server.make_url("/"))) as client:
        await client.get("/", params={"token": TOKEN})
        assert (await client.get("/sweeps")).status_code == 404
    await own.close()


@pytest.mark.parametrize(
    "url", ["mysql://a@b/c", "postgresql://a:secret@b/c", "postgresql://a@b", "postgresql://a@b/c?x=1"]
)
def test_an_address_that_is_wrong_is_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="DASHBOARD_STUDIES"):
        settings_for(url)
