"""Studies: created or continued with their settings, sampler and pruner.

Seeds and the sampler's draws follow from the study's seed and a trial's slot, so a slot whose trial was cut off is
filled as if nothing had happened.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from introvae.config import differences
from introvae.data.image_set import ImageSet
from introvae.errors import UserError
from introvae.runs.folder import PARAMS
from sweeps.config import StudyConfig
from sweeps.search.pruning import HalvingPruner
from sweeps.search.samplers import SlotSampler
from sweeps.workers.storage import open_database

DATABASE = "study.db"


def open_study(
    folder: Path,
    settings: dict[str, Any],
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    url: str | None = None,
    grace: int = StudyConfig.grace,
) -> optuna.Study:
    """Open the study named as its folder, in a database there or at `url`, or create it with these plain settings.

    Raises:
        UserError: If the study has other settings, with the differences; if the database cannot be reached; and if
            the folder holds runs without their database, as in a repository.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        if not (folder / DATABASE).exists() and any(folder.glob(f"trial-*/{PARAMS}")):
            raise UserError(f"{folder} holds runs without the study that made them; --study NEW begins another one")
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{(folder / DATABASE).absolute()}"
    study = optuna.create_study(
        storage=open_database(url, grace), study_name=folder.name, direction="maximize", load_if_exists=True,
        sampler=sampler or SlotSampler(0), pruner=pruner or HalvingPruner(),
    )  # fmt: skip
    if "settings" not in study.user_attrs:
        study.set_user_attr("settings", settings)
    known = study.user_attrs["settings"]  # those of another machine, if two began at once
    if known != settings:
        found = "; ".join(differences(known, settings))
        raise UserError(f"the study {folder} has other settings ({found}); --study NAME begins another one")
    return study


def fingerprint(images: ImageSet) -> str:
    """Return a hash of the sizes and of up to 1,000 images each of the training and the validation set."""
    digest = hashlib.sha256()
    for part in (images.train, images.validation):
        digest.update(repr(tuple(part.shape)).encode())
        digest.update(part[torch.linspace(0, len(part) - 1, min(len(part), 1000)).long()].numpy().tobytes())
    return digest.hexdigest()[:16]


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the highest score, or None; Study.best_trial raises where there is none."""
    complete = (trial for trial in trials if trial.state == TrialState.COMPLETE)
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)
