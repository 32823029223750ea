"""Pictures that optuna-dashboard shows of a trial.

optuna-dashboard sqlite:///predictions/STUDY/study.db --artifact-dir predictions/STUDY/artifacts
"""

from pathlib import Path

import optuna
from optuna.artifacts import FileSystemArtifactStore, upload_artifact

from introvae.files import make_folder
from introvae.runs.pictures import last_picture

ARTIFACTS = "artifacts"  # a folder of the study's


def upload_picture(trial: optuna.Trial, run: Path) -> None:
    """Make the last picture of a run folder, if there is one, an artifact of its trial, in a folder beside the run."""
    picture = last_picture(run)
    if picture is None:
        return
    store = run.parent / ARTIFACTS
    make_folder(store)
    try:
        upload_artifact(artifact_store=FileSystemArtifactStore(store), file_path=str(picture), study_or_trial=trial)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(store)) from error
