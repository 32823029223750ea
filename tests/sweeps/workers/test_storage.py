"""Databases of a study: hidden passwords, servers that go away, machines that begin at once."""

import functools
import multiprocessing
import sqlite3
import subprocess
import threading
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from helpers import exit_code
from optuna.exceptions import StorageInternalError
from postgresql import PASSWORD, QUOTED, PostgreSQL

from introvae.errors import StoppedError, UserError
from sweeps.cli import main
from sweeps.study import open_study
from sweeps.workers.redact import hide_password
from sweeps.workers.slots import DRAWN, Filler
from sweeps.workers.storage import Database, open_database


@pytest.mark.parametrize(("text", "shown"), [
    ("postgresql+psycopg://u:p@h/d", "postgresql+psycopg://u:***@h/d"),
    ("postgresql://u:p@ss:w@h:1/d", "postgresql://u:***@h:1/d"),
    ("bad --storge=postgresql://u:p@h/d here", "bad --storge=postgresql://u:***@h/d here"),
    ("postgresql://u@h/d?password=p&x=1", "postgresql://u@h/d?password=***&x=1"),
    ("sqlite:////tmp/a@b:c.db", "sqlite:////tmp/a@b:c.db"),
])  # fmt: skip
def test_passwords_are_not_shown(text: str, shown: str) -> None:
    assert hide_password(text) == shown


@pytest.mark.parametrize("url", [
    "nonsense", "mysql://u:hush@h/d", "postgresql+nothing://u:hush@h/d", "postgresql+psycopg://u:hush@h:12x/d",
    "postgresql+psycopg://u:hush@127.0.0.1:1/d", "postgresql+psycopg://u@127.0.0.1:1/d?password=hush",
    "sqlite:////nowhere/x.db",
])  # fmt: skip
def test_a_database_that_is_not_there_is_refused_in_one_line(url: str) -> None:
    with pytest.raises(UserError, match=r"--storage|cannot reach") as raised:
        open_database(url, 300)
    assert "hush" not in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(("flag", "url"), [
    ("--storge", "postgresql://u:hush@h/d"), ("--storage", "postgresql+psycopg://u:hush@127.0.0.1:1/d"),
])  # fmt: skip
def test_the_command_shows_no_password(flag: str, url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--out", str(tmp_path), "--image-size", "16", "--widths", "8,8", "--trials", "1", "--device", "cpu"]
    assert exit_code(main, [*words, flag, url]) == 2
    error = capsys.readouterr().err
    assert "u:***@" in error and "hush" not in error


def test_a_password_is_written_nowhere(postgres: PostgreSQL, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = postgres.url("password")
    study = open_study(tmp_path / "s", {"steps": 1}, url=url)
    filler = Filler(study, 1, lambda slot: tmp_path / "s" / f"trial-{slot}", lambda *_: 0.5, one_machine=False)
    filler.fill(lambda *_: None)
    postgres.stop()
    try:
        with pytest.raises(UserError) as raised:
            open_database(url, 300)
        study._storage._backend.patience = 0.1  # type: ignore[attr-defined]
        with pytest.raises(StoppedError) as stopped:
            study.set_user_attr("a", 1)
    finally:
        postgres.start()
    study = open_study(tmp_path / "s", {"steps": 1}, url=url)
    dump = [str(postgres.programs / "pg_dump"), url.replace("+psycopg", "")]
    stored = subprocess.run(dump, capture_output=True, text=True, check=True).stdout
    printed = capfd.readouterr()
    texts = [stored, printed.out, printed.err, str(raised.value), str(stopped.value), repr(study.trials)]
    texts += [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert "tester" in str(raised.value) and not any(secret in text for text in texts for secret in (PASSWORD, QUOTED))


@pytest.mark.parametrize("seconds", [1.5, pytest.param(60, marks=pytest.mark.slow)])
def test_a_server_that_is_away_is_waited_for(
    seconds: float, postgres: PostgreSQL, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        trial.set_user_attr(DRAWN, trial.suggest_float("x", 0, 1))
        if slot == 1:
            postgres.stop()
            threading.Timer(seconds, postgres.start).start()
        trial.report(0.5, 1)
        return 0.5

    study = open_study(tmp_path / "s", {}, url=postgres.url(f"away{seconds:.0f}"))
    Filler(study, 3, lambda slot: tmp_path / "s" / f"trial-{slot}", run, one_machine=False).fill(lambda *_: None)
    assert [trial.value for trial in study.trials] == [0.5, 0.5, 0.5]
    shown = capfd.readouterr().err.splitlines()
    assert len(shown) == 2 and "does not answer (" in shown[0] and shown[1].endswith(" answers again")


def test_a_server_that_stays_away_stops_the_worker(postgres: PostgreSQL, tmp_path: Path) -> None:
    url = postgres.url("away")

    def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
        if slot == 1 and not reported:
            trial.report(0.5, 1)
            postgres.stop()
            trial.report(0.5, 2)
        return 0.5

    study = open_study(tmp_path / "s", {}, url=url)
    filler = Filler(study, 2, lambda slot: tmp_path / "s" / f"trial-{slot}", run, one_machine=False)
    study._storage._backend.patience = 0.5  # type: ignore[attr-defined]
    try:
        with pytest.raises(StoppedError, match=r"has not answered for .*; rerun the same command to resume"):
            filler.fill(lambda *_: None)
    finally:
        postgres.start()
    study = open_study(tmp_path / "s", {}, url=url)
    Filler(study, 2, filler.folder, run, one_machine=False).fill(lambda *_: None)
    assert [trial.value for trial in study.trials] == [0.5, None, 0.5]


def test_a_full_disk_stops_the_worker_in_one_line(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 's.db'}", 300)
    study = optuna.create_study(storage=database)
    fill_up = "PRAGMA max_page_count = 1"  # what there is, and no more
    sqlalchemy.event.listen(database.engine, "checkout", lambda connection, *_: connection.execute(fill_up))
    with pytest.raises(StoppedError, match="is full; free some space, then rerun the same command"):
        study.set_user_attr("large", "x" * 100_000)


def test_errors_of_another_kind_are_not_waited_for(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 's.db'}", 300)
    assert database.outage(StorageInternalError("of the caller")) is None
    with pytest.raises(KeyError):
        Database.get_study_id_from_name(database, "unknown")


def create(url: str, folder: Path) -> None:
    open_study(folder, {"steps": 1}, url=url)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_machines_that_begin_at_once_share_one_study(kind: str, postgres: PostgreSQL, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}" if kind == "sqlite" else postgres.url("race")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=create, args=(url, tmp_path / "s")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert optuna.get_all_study_names(open_database(url, 300)) == ["s"]


class Busy(sqlite3.Connection):
    """Connection refused the first time, as one of two that turn on WAL at once is, however long its timeout."""

    refused = False

    def execute(self, *words: Any) -> sqlite3.Cursor:
        if not Busy.refused:
            Busy.refused = True
            raise sqlite3.OperationalError("database is locked")
        return super().execute(*words)


def test_a_file_that_another_process_opens_at_the_same_time_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "connect", functools.partial(sqlite3.connect, factory=Busy))
    open_study(tmp_path / "s", {})
    assert Busy.refused
