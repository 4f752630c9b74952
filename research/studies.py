"""The studies of sweeps in PostgreSQL: Optuna's own tables, and tables of chunks of work, daily returns and data.

Random, quasi-random and grid trials are written in bulk, a chunk in one transaction that also ends the chunk: a worker
that is killed leaves nothing behind, and its chunk is taken by another one once its heartbeat is old.
"""

import ipaddress
import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import optuna
import psycopg
from numpy.typing import NDArray

from alpha.errors import Misconfigured, Retry
from research.data_pack import Packed
from research.evaluate import Trial
from research.space import Choice, Range, Space

if TYPE_CHECKING:
    from research.verdict import Verdict

ROLE = "optuna"
DATABASE = "optuna"
PASSWORD = "OPTUNA_DB_PASSWORD"  # noqa: S105 - the name of the variable
CHUNK = 16
LEASE_S = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS alpha_sweeps (
    study_id integer PRIMARY KEY REFERENCES studies ON DELETE CASCADE, name text NOT NULL UNIQUE, config jsonb NOT NULL,
    stopped boolean NOT NULL DEFAULT false, made_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE IF NOT EXISTS alpha_chunks (
    study_id integer NOT NULL REFERENCES alpha_sweeps ON DELETE CASCADE, first integer NOT NULL, count integer NOT NULL,
    owner text, beat_at timestamptz, done boolean NOT NULL DEFAULT false, PRIMARY KEY (study_id, first));
CREATE TABLE IF NOT EXISTS alpha_trials (
    study_id integer NOT NULL REFERENCES alpha_sweeps ON DELETE CASCADE, number integer NOT NULL, parameters jsonb NOT NULL,
    value double precision, trades integer NOT NULL, total_return double precision NOT NULL, returns bytea NOT NULL,
    why text NOT NULL, worker text NOT NULL, PRIMARY KEY (study_id, number));
CREATE TABLE IF NOT EXISTS alpha_markets (name text PRIMARY KEY, content bytea NOT NULL);
CREATE TABLE IF NOT EXISTS alpha_verdicts (
    study_id integer PRIMARY KEY REFERENCES alpha_sweeps ON DELETE CASCADE, judged_at timestamptz NOT NULL DEFAULT now(),
    trials integer NOT NULL, deflated double precision NOT NULL, overfitting double precision,
    significant boolean NOT NULL, out_of_sample_return double precision NOT NULL, report text);
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a study is. `workers` have a heartbeat that is not older than the lease."""

    wanted: int
    done: int
    failed: int
    workers: int
    stopped: bool


def check_address(url: str) -> str:
    """The address as libpq takes it. Misconfigured for one that would send a study over an open network."""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"}:
        raise Misconfigured(f"The storage must be an address such as postgresql://{ROLE}@127.0.0.1:5433/{DATABASE}.")
    if parts.password:
        raise Misconfigured(f"The address holds a password: put it into {PASSWORD}, or into a .pgpass file.")
    host = parts.hostname or ""
    mode = parse_qs(parts.query).get("sslmode", [""])[0]
    if host and not _is_local(host) and mode != "verify-full":
        raise Misconfigured(
            f"{host} is another machine: connect through a tunnel (ssh -L 5433:127.0.0.1:5433 {host}) and name 127.0.0.1, "
            "or add ?sslmode=verify-full to the address."
        )
    return url


class Studies:
    """All studies of one database."""

    def __init__(self, url: str) -> None:
        self.url = check_address(url)

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection whose transaction is committed at the end. Retry says what is wrong with the storage."""
        try:
            with psycopg.connect(self.url, password=os.environ.get(PASSWORD) or None, connect_timeout=10) as connection:
                yield connection
        except psycopg.OperationalError as fault:
            said = " ".join(str(fault).split())
            raise Retry(f"The studies at {urlsplit(self.url).netloc} cannot be reached: {said}.") from None

    @contextmanager
    def storage(self) -> Iterator[optuna.storages.RDBStorage]:
        """Optuna's storage in the same database, with heartbeats; its connections are closed at the end."""
        parts = urlsplit(self.url)
        password = os.environ.get(PASSWORD)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.RDBStorage(
                parts._replace(scheme="postgresql+psycopg").geturl(),
                engine_kwargs={"connect_args": {"password": password} if password else {}, "pool_size": 2},
                heartbeat_interval=15,
                grace_period=int(LEASE_S),
                heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(max_retry=3),
            )
        try:
            yield storage
        finally:
            storage.remove_session()
            storage.engine.dispose()

    def create(self, name: str, config: Mapping[str, Any], market: Packed, trials: int, *, chunked: bool) -> int:
        """A new study; its number. Misconfigured when the name is taken."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.storage() as storage:
            try:
                optuna.create_study(storage=storage, study_name=name, direction="maximize")
            except optuna.exceptions.DuplicatedStudyError:
                raise Misconfigured(f"There is a sweep {name!r} already: choose another name, or join it.") from None
            number = int(storage.get_study_id_from_name(name))
        with self.connect() as connection:
            _make_tables(connection)
            connection.execute(
                "INSERT INTO alpha_markets VALUES (%s, %s) ON CONFLICT DO NOTHING", (market.name, market.content)
            )
            connection.execute(
                "INSERT INTO alpha_sweeps (study_id, name, config) VALUES (%s, %s, %s)",
                (number, name, json.dumps(config)),
            )
            if chunked:
                rows = [(number, first, min(CHUNK, trials - first)) for first in range(0, trials, CHUNK)]
                with connection.cursor() as cursor:
                    cursor.executemany("INSERT INTO alpha_chunks (study_id, first, count) VALUES (%s, %s, %s)", rows)
        return number

    def find(self, name: str) -> tuple[int, dict[str, Any]]:
        """Number and configuration of a study. Misconfigured names those that there are."""
        with self.connect() as connection:
            known = connection.execute("SELECT to_regclass('alpha_sweeps')").fetchone()
            rows = (
                connection.execute("SELECT name, study_id, config FROM alpha_sweeps").fetchall()
                if known and known[0]
                else []
            )
        for found, number, config in rows:
            if found == name:
                return int(number), dict(config)
        names = ", ".join(sorted(row[0] for row in rows)) or "none"
        raise Misconfigured(f"There is no sweep {name!r}. There are: {names}.")

    def market(self, name: str) -> Packed:
        """The market of a study."""
        with self.connect() as connection:
            row = connection.execute("SELECT content FROM alpha_markets WHERE name = %s", (name,)).fetchone()
        if row is None:
            raise Misconfigured(f"The data {name[:16]} of this sweep are not in its storage: start the sweep anew.")
        return Packed(name, bytes(row[0]))

    # --- work ---------------------------------------------------------------------------------------------------

    def claim(self, number: int, owner: str, lease_s: float = LEASE_S) -> tuple[int, int] | None:
        """A chunk (first trial, count) for this worker: a new one, or one whose worker's heartbeat is too old."""
        with self.connect() as connection:
            row = connection.execute(
                """
                UPDATE alpha_chunks c SET owner = %(owner)s, beat_at = now()
                FROM (SELECT study_id, first FROM alpha_chunks
                    WHERE study_id = %(study)s AND NOT done AND (owner IS NULL OR beat_at < now() - make_interval(secs => %(lease)s))
                    ORDER BY first LIMIT 1 FOR UPDATE SKIP LOCKED) free, alpha_sweeps s
                WHERE c.study_id = free.study_id AND c.first = free.first AND s.study_id = c.study_id AND NOT s.stopped
                RETURNING c.first, c.count
                """,
                {"owner": owner, "study": number, "lease": lease_s},
            ).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))

    def beat(self, number: int, owner: str) -> None:
        """The worker lives."""
        with self.connect() as connection:
            connection.execute(
                "UPDATE alpha_chunks SET beat_at = now() WHERE study_id = %s AND owner = %s AND NOT done",
                (number, owner),
            )

    def finish(self, number: int, first: int, owner: str, trials: Sequence[Trial], space: Space) -> bool:
        """Write a chunk's trials and end it, all or nothing; False when the chunk is not this worker's any more."""
        with self.connect() as connection:
            mine = connection.execute(
                "UPDATE alpha_chunks SET done = true WHERE study_id = %s AND first = %s AND owner = %s AND NOT done RETURNING 1",
                (number, first, owner),
            ).fetchone()
            if mine is None:
                return False
            self._write(connection, number, owner, trials, space)
        return True

    def record(self, number: int, owner: str, trial: Trial) -> None:
        """Keep the returns of a trial whose bookkeeping Optuna does itself."""
        with self.connect() as connection:
            _insert(connection, number, owner, [trial])

    def _write(
        self, connection: psycopg.Connection[Any], number: int, owner: str, trials: Sequence[Trial], space: Space
    ) -> None:
        """Optuna's rows of finished trials: `create_new_trial` would take a dozen round trips for each."""
        _insert(connection, number, owner, trials)
        states = ["FAIL" if trial.why else "COMPLETE" for trial in trials]
        rows = connection.execute(
            "INSERT INTO trials (number, study_id, state, datetime_start, datetime_complete) "
            "SELECT n, %s, s::trialstate, localtimestamp, localtimestamp FROM unnest(%s::int[], %s::text[]) AS t(n, s) "
            "RETURNING trial_id, number",
            (number, [trial.number for trial in trials], states),
        ).fetchall()
        ids = {found: trial_id for trial_id, found in rows}
        kinds = {name: distribution_of(one) for name, one in space.dimensions.items()}
        texts = {name: optuna.distributions.distribution_to_json(kind) for name, kind in kinds.items()}
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) VALUES (%s, %s, %s, %s)",
                [
                    (
                        ids[trial.number],
                        name,
                        kinds[name].to_internal_repr(value_for(space.dimensions[name], text)),
                        texts[name],
                    )
                    for trial in trials
                    for name, text in trial.parameters.items()
                ],
            )
            cursor.executemany(
                "INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (%s, 0, %s, 'FINITE')",
                [(ids[trial.number], trial.value) for trial in trials if not trial.why],
            )

    # --- looking on ---------------------------------------------------------------------------------------------

    def progress(self, number: int, wanted: int) -> Progress:
        """How far it is."""
        with self.connect() as connection:
            done = connection.execute(
                "SELECT count(*), count(*) FILTER (WHERE why <> '') FROM alpha_trials WHERE study_id = %s", (number,)
            ).fetchone()
            workers = connection.execute(
                "SELECT count(DISTINCT owner) FROM alpha_chunks WHERE study_id = %s AND NOT done "
                "AND beat_at > now() - make_interval(secs => %s)",
                (number, LEASE_S),
            ).fetchone()
            stopped = connection.execute("SELECT stopped FROM alpha_sweeps WHERE study_id = %s", (number,)).fetchone()
        return Progress(
            wanted,
            int(done[0]) if done else 0,
            int(done[1]) if done else 0,
            int(workers[0]) if workers else 0,
            bool(stopped and stopped[0]),
        )

    def stop(self, number: int) -> None:
        """No further chunk is given out; trials under way are finished."""
        with self.connect() as connection:
            connection.execute("UPDATE alpha_sweeps SET stopped = true WHERE study_id = %s", (number,))

    def keep_verdict(self, number: int, verdict: "Verdict", report: str | None) -> None:
        """Keep the figures of the newest verdict; `report` is the path of its page, None leaves that of an earlier one."""
        overfit = None if verdict.overfit is None else verdict.overfit.probability
        with self.connect() as connection:
            _make_tables(connection)
            connection.execute(
                """
                INSERT INTO alpha_verdicts AS v
                    (study_id, trials, deflated, overfitting, significant, out_of_sample_return, report)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                ON CONFLICT (study_id) DO UPDATE SET judged_at = now(), trials = excluded.trials,
                    deflated = excluded.deflated, overfitting = excluded.overfitting, significant = excluded.significant,
                    out_of_sample_return = excluded.out_of_sample_return, report = coalesce(excluded.report, v.report)
                """,
                (
                    number,
                    verdict.trials,
                    verdict.deflated,
                    overfit,
                    verdict.significant,
                    verdict.out_of_sample_return,
                    report,
                ),
            )

    def trials(self, number: int) -> list[Trial]:
        """All finished trials, by number."""
        with self.connect() as connection:
            rows = connection.execute(
                "SELECT number, parameters, value, trades, total_return, returns, why FROM alpha_trials WHERE study_id = %s "
                "ORDER BY number",
                (number,),
            ).fetchall()
        return [
            Trial(int(row[0]), dict(row[1]), float("nan") if row[2] is None else float(row[2]), int(row[3]), float(row[4]),
                  _floats(row[5]), str(row[6]))
            for row in rows
        ]  # fmt: skip


def _make_tables(connection: psycopg.Connection[Any]) -> None:
    connection.execute("SELECT pg_advisory_xact_lock(4157250050)")
    connection.execute(_TABLES)


def distribution_of(one: Range | Choice) -> optuna.distributions.BaseDistribution:
    """A dimension as Optuna writes it."""
    if isinstance(one, Choice):
        return optuna.distributions.CategoricalDistribution(one.options)
    step = None if one.step is None else float(one.step)
    return optuna.distributions.FloatDistribution(float(one.low), float(one.high), log=one.log, step=step)


def value_for(one: Range | Choice, text: str) -> Any:
    """A value's text as Optuna keeps it."""
    return text if isinstance(one, Choice) else float(text)


def _insert(connection: psycopg.Connection[Any], number: int, owner: str, trials: Sequence[Trial]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO alpha_trials (study_id, number, parameters, value, trades, total_return, returns, why, worker) "
            "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (
                    number,
                    trial.number,
                    json.dumps(dict(trial.parameters)),
                    None if trial.why else trial.value,
                    trial.trades,
                    trial.total_return,
                    trial.returns.astype("<f4").tobytes(),
                    trial.why,
                    owner,
                )
                for trial in trials
            ],
        )


def _floats(content: bytes) -> NDArray[np.float32]:
    return np.frombuffer(bytes(content), dtype="<f4")


def _is_local(host: str) -> bool:
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
