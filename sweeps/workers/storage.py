"""Storage of a study: SQLite in its folder, or a PostgreSQL server that many machines share.

Workers wait for a database that goes away, so that a restart of the server does not end a study.
"""

import functools
import random
import sqlite3
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import sqlalchemy
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError

from introvae.errors import StoppedError, UserError
from sweeps.workers.redact import hide_password

PATIENCE = 300.0  # seconds to wait for a database
BEAT_EVERY = 60  # seconds between the signs of life of a running trial
TAKES = "--storage takes postgresql+psycopg://USER@HOST/DATABASE or sqlite:///FILE"
ATTEMPTS = 20  # to create the tables, while other machines do the same
DISK_FULL = "53100"  # PostgreSQL's SQLSTATE
TRANSACTIONS = (
    "create_new_study", "delete_study", "set_study_user_attr", "set_study_system_attr", "get_study_id_from_name",
    "get_study_name_from_id", "get_study_directions", "get_study_user_attrs", "get_study_system_attrs",
    "get_all_studies", "create_new_trial", "_create_new_trial", "set_trial_param", "_set_trial_param",
    "get_trial_id_from_study_id_trial_number", "get_best_trial", "set_trial_state_values",
    "set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr", "get_trial", "_get_trials",
    "_get_stale_trial_ids",
)  # fmt: skip


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    """Repeat a transaction while the database does not answer."""

    @functools.wraps(method)
    def wrapper(self: "Database", *args: Any, **kwargs: Any) -> Any:
        if self.given_up:
            raise StoppedError(self.given_up)
        start, waiting = time.monotonic(), False
        while True:
            try:
                result = method(self, *args, **kwargs)
            except (StorageInternalError, SQLAlchemyError) as error:
                reason = self.outage(error)
                if reason is None:
                    raise
                if time.monotonic() - start > self.patience:
                    silence = f"has not answered for {self.patience:g} s ({reason})"
                    self.given_up = f"{self.shown} {silence}; rerun the same command to resume"
                    raise StoppedError(self.given_up) from None
                if not waiting:
                    print(f"{self.shown} does not answer ({reason}); waiting for it", file=sys.stderr, flush=True)
                waiting = True
                time.sleep(min(1.0, self.patience / 10))
                continue
            if waiting:
                print(f"{self.shown} answers again", file=sys.stderr, flush=True)
            return result

    return wrapper


class Database(RDBStorage):
    """Optuna's storage with patience; raises StoppedError if the database stays away or its disk is full."""

    patience = PATIENCE

    def __init__(self, url: str, grace: int) -> None:
        self.shown = f"the database {hide_password(url)}"
        self.one_machine = url.startswith("sqlite")
        self.given_up = ""
        template = url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
        beat = min(BEAT_EVERY, max(1, grace // 3))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            try:
                super().__init__(template, engine_options(url), heartbeat_interval=beat, grace_period=grace)
            except Exception:
                self.engine.dispose()
                raise
        weakref.finalize(self, self.engine.dispose)  # which tells the server

    def outage(self, error: BaseException) -> str | None:
        """Return why the database does not answer, in one line; None for an error of another kind."""
        refused = next((e for e in causes(error) if isinstance(e, OperationalError | InterfaceError)), None)
        if refused is None:
            return None
        reason = _reason(refused)
        if "disk is full" in reason or getattr(refused.orig, "sqlstate", None) == DISK_FULL:
            text = f"the disk of {self.shown} is full; free some space, then rerun the same command"
            raise StoppedError(text) from None
        if self.one_machine and "locked" not in reason:
            raise StoppedError(f"{self.shown} cannot be used ({reason}); fix it, then rerun the same command")
        return reason

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a sign of life, unless that fails: the grace period bears several that are missing."""
        with suppress(StorageInternalError, SQLAlchemyError):
            super().record_heartbeat(trial_id)


for _name in TRANSACTIONS:
    setattr(Database, _name, _patient(getattr(Database, _name)))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Iterate over an error, the one that caused it, and so on."""
    while error:
        yield error
        error = error.__cause__ or error.__context__


def open_database(url: str, grace: int) -> Database:
    """Open the database; Optuna's tables are created in it if need be, by any number of machines at once.

    Raises:
        UserError: If the URL leads to no database; the message never shows a password.
    """
    _reach(url)
    for _ in range(ATTEMPTS - 1):
        with suppress(SQLAlchemyError, StorageInternalError, AssertionError):  # somebody else was quicker
            return Database(url, grace)
        time.sleep(random.uniform(0.1, 0.5))
    return Database(url, grace)


def engine_options(url: str) -> dict[str, Any]:
    """Return the arguments of sqlalchemy.create_engine for a URL."""
    address = sqlalchemy.make_url(url)
    if address.get_backend_name() == "sqlite":
        return {"creator": functools.partial(_connect_sqlite, address.database or "")}
    arguments = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {"pool_size": 2, "connect_args": arguments}  # one for the signs of life


def _connect_sqlite(path: str) -> sqlite3.Connection:
    """Connect with WAL, which lets workers read while one writes, and NORMAL, which is quick and survives a kill.

    A power cut may lose the last transactions, whose trials then continue from their checkpoints.
    """
    connection = sqlite3.connect(path, timeout=60, check_same_thread=False)
    start = time.monotonic()
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            return connection
        except sqlite3.OperationalError as error:  # of two that begin at once SQLite refuses one without waiting
            if "locked" not in str(error) or time.monotonic() > start + 60:
                connection.close()
                raise
            time.sleep(random.uniform(0.01, 0.1))


def _reach(url: str) -> None:
    try:
        address = sqlalchemy.make_url(url)
        if address.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError
    except (SQLAlchemyError, ValueError):
        raise UserError(f"--storage is no such URL; {TAKES}") from None
    try:
        engine = sqlalchemy.create_engine(url, **engine_options(url))
        with engine.connect():
            pass
        engine.dispose()
    except ImportError as error:
        raise UserError(f"--storage needs {error.name}; pip install 'introvae[postgres]'") from None
    except SQLAlchemyError as error:
        reason = _reason(error) if isinstance(error, DBAPIError) else type(error).__name__
        raise UserError(f"cannot reach the database {hide_password(url)} ({reason}); {TAKES}") from None


def _reason(error: DBAPIError) -> str:
    return hide_password(" ".join(str(error.orig).split()))[:300]
