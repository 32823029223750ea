"""Studies: created or continued with their settings and sampler, in an SQLite database in their folder.

Seeds and the sampler's draws follow from the study's seed and a trial's number, so a trial that was cut off continues
as if nothing had happened.
"""

import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy.exc import SQLAlchemyError

from introvae.config import differences
from introvae.errors import StoppedError, UserError
from sweeps.search.samplers import NumberedSampler
from sweeps.tasks.outcome import FINISHED

DATABASE = "study.db"
NETWORK = ("nfs", "cifs", "smb", "lustre", "ceph", "gpfs", "beegfs", "fuse", "9p")  # of machines that share a disk


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors alone meanwhile."""
    usual = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(usual)


def open_study(folder: Path, settings: dict[str, Any], sampler: BaseSampler | None = None) -> optuna.Study:
    """Open the study in a folder, whatever it was called when it began, or create it with these plain settings.

    Raises:
        UserError: If the study has other settings, with the differences; if an earlier version made it; if the folder
            holds runs without their database, as in a repository; and if its database holds several studies.
    """
    path = folder / DATABASE
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path} is a link to nothing; remove it")
    runs = any(folder.glob("trial-*/*"))
    alone = UserError(f"{folder} holds runs without the study that made them; --study NEW begins another one")
    if runs and not path.exists():
        raise alone
    folder.mkdir(parents=True, exist_ok=True)
    connect = functools.partial(_connect, path.absolute())  # as a path with ? or % would be another one in a URL
    storage = RDBStorage(f"sqlite:///{DATABASE}", {"creator": connect})
    name = _name_in(storage, folder)
    if name is None and runs:
        raise alone
    if name is None:
        name = folder.name
        optuna.create_study(storage=storage, study_name=name, direction="maximize")
    study = optuna.load_study(
        study_name=name, storage=OwnedStorage(storage, name), sampler=sampler or NumberedSampler(0)
    )
    kept = study.user_attrs.get("settings", settings)
    if kept != settings:
        found = "; ".join(differences(kept, settings))
        raise UserError(f"the study {folder} has other settings ({found}); --study NAME begins another one")
    if any(trial.state == TrialState.FAIL for trial in study.get_trials(deepcopy=False)):
        raise UserError(f"the study {folder} holds trials that FAILED, which this version never leaves; --study NAME")
    if "settings" not in study.user_attrs:
        study.set_user_attr("settings", settings)
    return study


def _name_in(storage: BaseStorage, folder: Path) -> str | None:
    """Return the name of a folder's study in its database, which is another one if the folder was renamed since."""
    summaries = optuna.get_all_study_summaries(storage, include_best_trial=False)
    if folder.name in [study.study_name for study in summaries]:
        return folder.name
    ours = [study.study_name for study in summaries if "settings" in study.user_attrs]
    if len(ours) > 1:
        raise UserError(
            f"{folder / DATABASE} holds several studies ({', '.join(ours)}); --study NEW begins another one"
        )
    return ours[0] if ours else None


def _written_first(name: str) -> Callable[..., Any]:
    """Return the method of this name of `OwnedStorage`, which changes a trial."""

    def write(self: "OwnedStorage", trial_id: int, *values: Any, **named: Any) -> Any:
        getattr(self.database, name)(self.ids[trial_id], *values, **named)
        return getattr(InMemoryStorage, name)(self, trial_id, *values, **named)

    return write


class OwnedStorage(InMemoryStorage):
    """Storage of one study that nobody else may write to: read from memory, written to a database as well.

    Optuna's own storages ask the database at each look at a running trial, as any process might have written to it.
    Either notes by its own clock when a trial begins and ends, milliseconds apart.

    Args:
        database: The database.
        name: Name of the study.
    """

    def __init__(self, database: BaseStorage, name: str) -> None:
        super().__init__()
        self.database, self.study = database, database.get_study_id_from_name(name)
        held = super().create_new_study(database.get_study_directions(self.study), name)
        for key, value in database.get_study_user_attrs(self.study).items():
            super().set_study_user_attr(held, key, value)
        for key, value in database.get_study_system_attrs(self.study).items():
            super().set_study_system_attr(held, key, value)
        self.ids: list[int] = []  # of the trials in the database, by their numbers, which are their ids here
        for trial in database.get_all_trials(self.study, deepcopy=False):
            self.ids.append(trial._trial_id)
            super().create_new_trial(held, trial)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.database.set_study_user_attr(self.study, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.database.set_study_system_attr(self.study, key, value)
        super().set_study_system_attr(study_id, key, value)

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        template = template_trial or create_trial(state=TrialState.RUNNING)  # so that both know the same time
        self.ids.append(self.database.create_new_trial(self.study, template))
        return super().create_new_trial(study_id, template)

    set_trial_system_attr = _written_first("set_trial_system_attr")
    set_trial_state_values = _written_first("set_trial_state_values")
    set_trial_param = _written_first("set_trial_param")
    set_trial_intermediate_value = _written_first("set_trial_intermediate_value")
    set_trial_user_attr = _written_first("set_trial_user_attr")


def _connect(path: Path) -> sqlite3.Connection:
    """Connect with a write-ahead log, which lets others read meanwhile and is quick, unless machines share the disk.

    A power cut may then lose the last transactions, whose trials continue from their checkpoints.
    """
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    mounts = Path("/proc/mounts")
    if not file_system(path, mounts.read_text() if mounts.exists() else "").startswith(NETWORK):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def file_system(path: Path, mounts: str) -> str:
    """Return the type of the file system that a path lies on, by the content of /proc/mounts; "" if unknown."""
    fields = [line.split() for line in mounts.splitlines()]
    above = [(len(point), kind) for _, point, kind, *_ in fields if path.is_relative_to(point)]
    return max(above, default=(0, ""))[1]


@contextmanager
def database_errors(folder: Path) -> Iterator[None]:
    """Raise StoppedError, in one line, where a study's database cannot be used, such as on a full disk."""
    try:
        yield
    except (StorageInternalError, SQLAlchemyError) as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, sqlite3.Error):
            cause = cause.__cause__
        if cause is None:
            raise
        path = folder / DATABASE
        raise StoppedError(f"{path} cannot be used ({cause}); fix it, then rerun the same command") from error


def missing_trials(study: optuna.Study, total: int) -> list[int]:
    """Return the numbers among 0..total-1 of trials that have not ended."""
    ended = {trial.number for trial in study.get_trials(deepcopy=False, states=FINISHED)}
    return [number for number in range(total) if number not in ended]


def leading_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the trial with the highest score of those that have come furthest, the first of several; or None."""
    scored = (trial for trial in trials if trial.intermediate_values)
    return max(scored, key=lambda trial: max(trial.intermediate_values.items()), default=None)


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the highest score, or None; Study.best_trial raises where there is none."""
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)
