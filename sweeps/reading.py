"""All that Optuna keeps of trials, read from PostgreSQL in one statement where its own reading takes six.

In the course of a trial Optuna reads eleven times, and a statement costs more than what it brings.
"""

from types import SimpleNamespace
from typing import Any, cast

from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial
from sqlalchemy import ColumnElement, func, select

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


def read_trials(storage: RDBStorage, which: ColumnElement[bool]) -> list[FrozenTrial]:
    """The trials for which a condition on Optuna's TrialModel holds, in the order of their ids."""
    columns = (TRIAL.trial_id, TRIAL.number, TRIAL.state, TRIAL._datetime_start_utc, TRIAL._datetime_complete_utc)
    statement = select(*columns, *map(_part, PARTS)).where(which).order_by(TRIAL.trial_id)
    with storage.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        return [_trial(storage, row._asdict()) for row in connection.execute(statement)]


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
