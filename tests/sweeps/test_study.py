"""Studies are continued with their own settings only, and a database that cannot be used is named in one line."""

import sqlite3
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from studies import finished

from introvae.errors import StoppedError, UserError
from introvae.runs.folder import PARAMS
from introvae.runs.record import SCORES
from sweeps.study import DATABASE, best_trial, database_errors, file_system, missing_trials, open_study

SETTINGS = {"steps": 10, "search.alpha": [0.1, 1.0]}
MOUNTS = """\
/dev/sda1 / ext4 rw,relatime 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/local xfs rw 0 0
tmpfs /run tmpfs rw 0 0
"""


def test_complete_and_pruned_trials_have_ended(tmp_path: Path) -> None:
    study = open_study(tmp_path / "s", SETTINGS)
    assert missing_trials(study, 2) == [0, 1] and best_trial(study.trials) is None
    study.ask()
    finished(study, {5: 0.7}, pruned=True)
    assert missing_trials(study, 2) == [0] and best_trial(study.trials) is None
    study.tell(0, 0.3)
    assert missing_trials(study, 2) == [] and missing_trials(study, 3) == [2]
    best = best_trial(study.trials)
    assert best and (best.number, best.value) == (0, 0.3)


def test_a_study_continues_with_its_own_settings_only(tmp_path: Path) -> None:
    finished(open_study(tmp_path / "s", SETTINGS), {5: 0.3})
    assert len(open_study(tmp_path / "s", dict(SETTINGS)).trials) == 1
    with pytest.raises(
        UserError, match=r"other settings \(search.alpha: \[0.1, 1.0\] -> \[0.1, 2.0\]; steps: 10 -> 20\)"
    ):
        open_study(tmp_path / "s", {"steps": 20, "search.alpha": [0.1, 2.0]})


def test_a_renamed_study_is_the_same_one(tmp_path: Path) -> None:
    finished(open_study(tmp_path / "s", SETTINGS), {5: 0.3})
    (tmp_path / "s").rename(tmp_path / "moved")
    assert [trial.number for trial in open_study(tmp_path / "moved", dict(SETTINGS)).trials] == [0]
    storage = f"sqlite:///{tmp_path / 'moved' / DATABASE}"
    optuna.create_study(study_name="second", storage=storage).set_user_attr("settings", SETTINGS)
    with pytest.raises(UserError, match=r"study.db holds several studies \(s, second\); --study NEW begins"):
        open_study(tmp_path / "moved", SETTINGS)


@pytest.mark.parametrize("empty", [False, True])
def test_runs_that_are_kept_without_their_study_are_not_written_into(tmp_path: Path, empty: bool) -> None:
    kept, database = tmp_path / "s" / "trial-000" / (SCORES if empty else PARAMS), tmp_path / "s" / DATABASE
    kept.parent.mkdir(parents=True)
    kept.touch()
    if empty:
        database.touch()
    with pytest.raises(UserError, match="s holds runs without the study that made them; --study NEW begins another"):
        open_study(tmp_path / "s", SETTINGS)
    assert list((tmp_path / "s").glob("trial-*/*")) == [kept] and (tmp_path / "s" / DATABASE).exists() is empty


@pytest.mark.parametrize("name", ["q?timeout=abc", "q?plugin=foo", "p%41x", "a#b"])
def test_a_folder_s_name_is_no_part_of_a_url(name: str, tmp_path: Path) -> None:
    finished(open_study(tmp_path / name, SETTINGS), {5: 0.3})
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(open_study(tmp_path / name, dict(SETTINGS)).trials) == 1


def test_a_database_that_is_a_link_to_nothing_is_not_created(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / DATABASE).symlink_to(tmp_path / "victim.db")
    with pytest.raises(UserError, match=r"study\.db is a link to nothing; remove it"):
        open_study(tmp_path / "s", SETTINGS)
    assert not (tmp_path / "victim.db").exists()


def test_a_study_with_trials_that_only_an_earlier_version_leaves_is_refused(tmp_path: Path) -> None:
    study = open_study(tmp_path / "s", SETTINGS)
    study.tell(study.ask(), state=TrialState.FAIL)
    with pytest.raises(UserError, match=r"s holds trials that FAILED, which this version never leaves; --study NAME"):
        open_study(tmp_path / "s", SETTINGS)


@pytest.mark.parametrize(("path", "kind"), [
    ("/home/me/study.db", "nfs4"), ("/home/local/study.db", "xfs"), ("/homely/study.db", "ext4"), ("/run", "tmpfs"),
])  # fmt: skip
def test_a_path_lies_on_the_file_system_that_is_mounted_nearest_above_it(path: str, kind: str) -> None:
    assert file_system(Path(path), MOUNTS) == kind


def test_a_path_below_no_known_mount_lies_on_an_unknown_file_system() -> None:
    assert file_system(Path("/home"), "") == ""


@pytest.mark.parametrize(("kind", "mode"), [("ext4", "wal"), ("nfs4", "delete"), ("fuse.sshfs", "delete")])
def test_only_a_disk_of_this_machine_has_a_write_ahead_log(
    kind: str, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.study.file_system", lambda path, mounts: kind)
    open_study(tmp_path / "s", SETTINGS)
    with sqlite3.connect(tmp_path / "s" / DATABASE) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (mode,)
    connection.close()


def test_others_read_a_study_while_it_is_written(tmp_path: Path) -> None:
    """Without a write-ahead log the reader would be refused for as long as the lock is held."""
    open_study(tmp_path / "s", SETTINGS)
    reader = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 's' / DATABASE}")
    writer = sqlite3.connect(tmp_path / "s" / DATABASE)
    writer.execute("BEGIN EXCLUSIVE")
    assert reader.trials == []
    writer.close()


def assert_unusable(folder: Path, reason: str, use: Any) -> None:
    with pytest.raises(StoppedError) as raised, database_errors(folder):
        use()
    assert str(raised.value) == f"{folder / DATABASE} cannot be used ({reason}); fix it, then rerun the same command"


def test_a_file_that_is_no_database_stops_the_study_in_one_line(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_bytes(b"no database" * 100)
    assert_unusable(tmp_path, "file is not a database", lambda: open_study(tmp_path, SETTINGS))


def test_a_full_disk_stops_the_study_in_one_line(tmp_path: Path) -> None:
    study = open_study(tmp_path, SETTINGS)
    fill_up = "PRAGMA max_page_count = 1"  # what there is, and no more
    engine = study._storage.database.engine  # type: ignore[attr-defined]
    sqlalchemy.event.listen(engine, "checkout", lambda connection, *_: connection.execute(fill_up))
    full = "database or disk is full"
    assert_unusable(tmp_path, full, lambda: study.set_user_attr("large", "x" * 100_000))


def test_errors_of_another_kind_are_none_of_the_database(tmp_path: Path) -> None:
    with pytest.raises(StorageInternalError, match="of the caller"), database_errors(tmp_path):
        raise StorageInternalError("of the caller")
    with pytest.raises(KeyError), database_errors(tmp_path):
        optuna.load_study(study_name="unknown", storage=f"sqlite:///{tmp_path / 'other.db'}")
