"""Tests of the cache of a report: unchanged runs are not read again, and everything works without it."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from studies import make_run, make_study, write_scores

from analysis.report import runs
from analysis.report.runs import read_runs
from introvae.runs.folder import METRICS, PARAMS, MetricsLog
from introvae.runs.record import SCORES
from introvae.training.metrics import COLUMNS


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return make_study(tmp_path / tmp_path.name)  # each study has its own name in the cache


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the folders whose files are read and of the pictures that are."""
    names: list[str] = []
    for function in ("read_config", "thumbnail"):
        original = getattr(runs, function)

        def noted(path: Path, original: Callable[[Path], object] = original) -> object:
            names.append(path.name)
            return original(path)

        monkeypatch.setattr(runs, function, noted)
    return names


def test_only_changed_runs_are_read_again(study: Path, read: list[str]) -> None:
    first = read_runs(study)
    assert len(read) == 7 + 6
    read.clear()
    assert read_runs(study) == first
    assert read == ["bad"]  # it may have become readable without a change of its files
    read.clear()
    write_scores(study / "study" / "trial-003", {"state": "diverged", "score": 0.0, "reason": "other"})
    MetricsLog(study / "running", COLUMNS, [dict.fromkeys(COLUMNS, 30.0)])
    make_run(study / "new")
    shutil.rmtree(study / "alone")
    found = {run.name: run for run in read_runs(study)}
    assert read == ["bad", "new", "step-000020.png", "running", "step-000020.png", "trial-003", "step-000020.png"]
    assert "alone" not in found and found["new"].scores.score == 0.5
    assert found["running"].reason == "step 30 of 40" and found["study/trial-003"].reason == "other"
    assert read_runs(study) == list(found.values())


def test_files_of_the_same_size_and_time_are_not_read_again(study: Path) -> None:
    first = read_runs(study)
    for name in (PARAMS, METRICS, SCORES, "images/step-000020.png"):
        path = study / "alone" / name
        found = path.stat()
        path.write_bytes(bytes(found.st_size))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert read_runs(study) == first


def cache_file(cache_folder: Path, root: Path) -> Path:
    (path,) = cache_folder.glob(f"runs-{root.name}-*")
    return path


def foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE runs (x)")
    database.close()


def garbled(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("UPDATE runs SET content = '{'")
    database.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"junk" * 1000),
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b""),
        foreign,
        garbled,
    ],
)
def test_a_damaged_cache_is_written_again(
    study: Path, cache_folder: Path, damage: Callable[[Path], object], read: list[str]
) -> None:
    first = read_runs(study)
    damage(cache_file(cache_folder, study))
    read.clear()
    assert read_runs(study) == first and len(read) == 13
    read.clear()
    assert read_runs(study) == first and read == ["bad"]


def test_a_report_works_without_a_cache(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(study / "bad" / PARAMS))
    assert len(read_runs(study)) == 7
    error = capsys.readouterr().err
    assert error.startswith("warning: ") and "set XDG_CACHE_HOME" in error and error.count("\n") == 1


def test_reports_at_the_same_time_read_the_same(study: Path, read: list[str]) -> None:
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            first, *rest = pool.map(read_runs, [study] * 4)
        assert all(found == first for found in rest)
        read.clear()
        assert read_runs(study) == first and read == ["bad"]
        write_scores(study / "alone", {"state": "complete", "score": 0.1})


def test_the_cache_forgets_removed_runs(study: Path, cache_folder: Path) -> None:
    read_runs(study)
    shutil.rmtree(study / "study")
    read_runs(study)
    with sqlite3.connect(cache_file(cache_folder, study)) as database:
        rows = database.execute("SELECT name, content FROM runs ORDER BY name").fetchall()
    database.close()
    assert [name for name, _ in rows] == ["alone", "running"]
    assert json.loads(rows[0][1])["record"]["state"] == "complete"
