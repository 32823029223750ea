"""Create or continue a study: its settings, sampler and pruner.

Seeds and the sampler's draws follow from the study's seed and a trial's slot, so a slot whose trial was cut off is
filled as if nothing had happened.
"""

import hashlib
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from introvae.config import differences
from introvae.data import ImageSet
from introvae.errors import UserError
from introvae.randomness import derive
from sweeps.pruning import HalvingPruner
from sweeps.storage import open_database

DATABASE = "study.db"
GRACE = 300  # seconds without a sign of life after which a trial on another machine counts as dead


class SlotSampler(BaseSampler):
    """TPE whose draws are a function of the study's seed, the trial's slot and the trials that are finished.

    The slot is a trial's attribute before its first parameter is drawn.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.tpe = TPESampler()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        self.tpe = TPESampler(seed=derive(self.seed, "sampler", trial.user_attrs["slot"]) % 2**32)
        return self.tpe.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self.tpe.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.tpe.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        self.tpe.after_trial(study, trial, state, values)


def open_study(
    folder: Path, settings: dict[str, Any], seed: int = 0, url: str | None = None, grace: int = GRACE
) -> optuna.Study:
    """The study of a folder's name in its own database or that at `url`, or a new one with these plain settings.

    Raises UserError if the study there has other settings, with the differences, or the database cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        folder.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{(folder / DATABASE).absolute()}"
    study = optuna.create_study(
        storage=open_database(url, grace),
        study_name=folder.name,
        direction="maximize",
        sampler=SlotSampler(seed),
        pruner=HalvingPruner(),
        load_if_exists=True,
    )
    if "settings" not in study.user_attrs:
        study.set_user_attr("settings", settings)
    known = study.user_attrs["settings"]  # those of another machine, if two began at once
    if known != settings:
        found = "; ".join(differences(known, settings))
        raise UserError(f"the study {folder} has other settings ({found}); --study NAME begins another one")
    return study


def fingerprint(images: ImageSet) -> str:
    """Tells other images: up to 1,000 of the training set and of the validation set, and how many there are."""
    digest = hashlib.sha256()
    for part in (images.train, images.validation):
        digest.update(repr(tuple(part.shape)).encode())
        digest.update(part[torch.linspace(0, len(part) - 1, min(len(part), 1000)).long()].numpy().tobytes())
    return digest.hexdigest()[:16]


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the highest score; Study.best_trial raises where there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)
