"""Create or continue a study: storage, sampler, pruner, and the slots that its trials fill.

A slot 0..N-1 is what a study promises to fill with a finished trial. Seeds and the sampler's draws follow from the
study's seed and the slot, so a slot whose trial was cut off is filled as if nothing had happened.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from introvae.config import differences
from introvae.errors import UserError
from introvae.randomness import derive
from sweeps.objective import Setup, run_trial

DATABASE = "study.db"
KEPT_SHARE = 0.25  # of the trials that reach a rung
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

OnTrial = Callable[[optuna.Study, FrozenTrial], None]


class HalvingPruner(optuna.pruners.BasePruner):
    """Successive halving as trials come: go on from a rung if among the best quarter of all scores seen there.

    Optuna's own also counts trials that were cut off, so a continued study would decide differently.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        rung = trial.last_step
        if rung is None:
            return False
        own = trial.intermediate_values[rung]
        finished = study.get_trials(deepcopy=False, states=FINISHED)
        scores = [t.intermediate_values[rung] for t in finished if rung in t.intermediate_values]
        better = sum(score > own for score in scores)
        return better >= max(1, round(KEPT_SHARE * (len(scores) + 1)))


def open_study(folder: Path, settings: dict[str, Any]) -> optuna.Study:
    """The study kept in a folder, or a new one with these settings (plain values).

    Raises UserError with the differences if the study there has other settings.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=f"sqlite:///{(folder / DATABASE).absolute()}",
        study_name=folder.name,
        direction="maximize",
        pruner=HalvingPruner(),
        load_if_exists=True,
    )
    known = study.user_attrs.get("settings")
    if known is None:
        study.set_user_attr("settings", settings)
    elif known != settings:
        found = "; ".join(differences(known, settings))
        raise UserError(f"the study {folder} has other settings ({found}); --study NAME begins another one")
    return study


def fill_slots(study: optuna.Study, setup: Setup, trials: int, on_trial: OnTrial) -> None:
    """Run trials until slots 0..trials-1 are filled, those cut off first. `on_trial` sees each finished one."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)  # the study's lock is ours, so its process is gone
    while (slot := next_slot(study, trials)) is not None:
        attempts = _attempts(study, slot)
        reported: dict[int, float] = {}
        if attempts:
            reported = attempts[-1].intermediate_values
            if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
                study.enqueue_trial(attempts[-1].params)
        study.sampler = TPESampler(seed=derive(setup.config.seed, "sampler", slot) % 2**32)
        study.optimize(lambda trial: run_trial(trial, setup, slot, reported), n_trials=1)  # noqa: B023
        on_trial(study, study.get_trials(deepcopy=False)[-1])


def next_slot(study: optuna.Study, trials: int) -> int | None:
    """The lowest slot that no finished trial fills."""
    filled = finished_slots(study)
    return next((slot for slot in range(trials) if slot not in filled), None)


def finished_slots(study: optuna.Study) -> set[int]:
    return {trial.user_attrs["slot"] for trial in study.get_trials(deepcopy=False, states=FINISHED)}


def best_trial(study: optuna.Study) -> FrozenTrial | None:
    """The complete trial with the highest score; Study.best_trial raises where there is none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return max(complete, key=lambda trial: trial.value or 0.0, default=None)


def _attempts(study: optuna.Study, slot: int) -> list[FrozenTrial]:
    """Trials of the slot that were cut off after their parameters were drawn."""
    failed = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [trial for trial in failed if trial.user_attrs.get("slot") == slot and trial.params]
