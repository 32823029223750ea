"""Attributes and artifacts that optuna-dashboard shows of a trial.

optuna-dashboard sqlite:///predictions/STUDY/study.db --artifact-dir predictions/STUDY/artifacts
"""

from collections.abc import Container
from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from introvae.runs.pictures import last_picture

ARTIFACTS = "artifacts"  # a folder of the study's


def constrain(trial: optuna.Trial, name: str, value: float, known: Container[str] = ()) -> None:
    """Set a named constraint, unless it is known, met if the value is at most 0.

    It becomes an attribute as well, since dashboards show no other.
    """
    if name not in known:
        trial.set_constraint(name, value)
    trial.set_user_attr(f"constraint {name}", value)


def upload_picture(trial: optuna.Trial, run: Path) -> None:
    """Make the last picture of a run folder, if there is one, an artifact of its trial, in a folder beside the run."""
    picture = last_picture(run)
    if picture is None:
        return
    store = run.parent / ARTIFACTS
    store.mkdir(exist_ok=True)
    try:
        upload_artifact(artifact_store=FileSystemArtifactStore(store), file_path=str(picture), study_or_trial=trial)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(store)) from error
