"""Trials in a study's database, written and read in one statement each where Optuna takes up to five and six.

A trial writes fifteen times and reads eleven times, and the way to a server costs more than what is brought.
Readings are PostgreSQL's alone: SQLite's JSON rounds numbers.
"""

import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Executable, Integer, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

PARTS: dict[str, tuple[Any, tuple[str, ...]]] = {  # of a trial: relationship -> table, and its columns that are read
    "params": (models.TrialParamModel, ("param_id", "param_name", "param_value", "distribution_json")),
    "values": (models.TrialValueModel, ("objective", "value", "value_type")),
    "user_attributes": (models.TrialUserAttributeModel, ("key", "value_json")),
    "system_attributes": (models.TrialSystemAttributeModel, ("key", "value_json")),
    "intermediate_values": (
        models.TrialIntermediateValueModel,
        ("step", "intermediate_value", "intermediate_value_type"),
    ),
}
KINDS: dict[str, Any] = {
    "value_type": models.TrialValueModel.TrialValueType,
    "intermediate_value_type": models.TrialIntermediateValueModel.TrialIntermediateValueType,
}
TRIAL = models.TrialModel
INSERT: dict[str, Callable[[Any], Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def read_trials(storage: RDBStorage, ids: list[int], study: int | None = None, beyond: int = 0) -> list[FrozenTrial]:
    """The trials of these ids, and those of a study whose id is greater than `beyond`, in the order of their ids."""
    given = {"ids": ids, "study": study, "beyond": beyond}
    with _transaction(storage) as connection:
        return [_trial(storage, row._asdict()) for row in connection.execute(_reading(), given)]


def write_row(storage: RDBStorage, model: Any, row: dict[str, Any]) -> bool:
    """Put a row into a table of Optuna's, in place of the one that is equal in the first two columns given.

    The first is the trial's id. False, and nothing is written, if there is no such trial or it has ended.
    """
    given = {f"new_{name}": value for name, value in row.items()}
    with _transaction(storage) as connection:
        return connection.execute(_writing(storage.engine.name, model, *row), given).rowcount > 0


def _transaction(storage: RDBStorage) -> Connection:
    """For one statement, without a way to the server for the beginning and one for the end."""
    return storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT", preserve_rowcount=True)


@functools.cache  # to put a statement together takes as long as the server's work on it
def _reading() -> Executable:
    columns = (TRIAL.trial_id, TRIAL.number, TRIAL.state, TRIAL._datetime_start_utc, TRIAL._datetime_complete_utc)
    named = TRIAL.trial_id == any_(bindparam("ids", type_=postgresql.ARRAY(Integer)))
    new = (TRIAL.study_id == bindparam("study")) & (TRIAL.trial_id > bindparam("beyond"))
    return select(*columns, *map(_part, PARTS)).where(named | new).order_by(TRIAL.trial_id)


@functools.cache
def _writing(dialect: str, model: Any, *names: str) -> Executable:
    new = [bindparam(f"new_{name}", type_=model.__table__.c[name].type) for name in names]
    trial = (TRIAL.trial_id == new[0]) & TRIAL.state.in_([state for state in TrialState if not state.is_finished()])
    row = INSERT[dialect](model).from_select(names, select(*new).where(trial))
    replaced = {name: row.excluded[name] for name in names}
    return row.on_conflict_do_update(index_elements=names[:2], set_=replaced)


def _part(name: str) -> Any:
    """A trial's rows of another table as a list of lists."""
    model, columns = PARTS[name]
    cells = [getattr(model, name) for name in columns]
    rows = select(func.json_agg(func.json_build_array(*cells))).where(model.trial_id == TRIAL.trial_id)
    return rows.scalar_subquery().label(name)


def _trial(storage: RDBStorage, row: dict[str, Any]) -> FrozenTrial:
    """Built by Optuna, from what has the attributes of its TrialModel."""
    for name, (_, columns) in PARTS.items():
        rows = [dict(zip(columns, cells, strict=True)) for cells in row[name] or ()]
        row[name] = [SimpleNamespace(**{k: KINDS[k][v] if k in KINDS else v for k, v in r.items()}) for r in rows]
    times = SimpleNamespace(_datetime_start_utc=row["datetime_start"], _datetime_complete_utc=row["datetime_complete"])
    row |= {name: getattr(TRIAL, name).fget(times) for name in ("datetime_start", "datetime_complete")}
    return storage._build_frozen_trial_from_trial_model(cast(Any, SimpleNamespace(**row)))
