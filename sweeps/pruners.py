"""Which trials do not go on from a rung, by name."""

from statistics import median

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.trial import FrozenTrial

from sweeps.slots import FINISHED
from sweeps.study import HalvingPruner

LEAST_SCORES = 5  # at a rung before its median says something


class MedianPruner(BasePruner):
    """Go on from a rung if not below the median of the finished trials' scores there (Golovin et al. 2017).

    Optuna's own looks at complete trials only, and at a trial's best score so far.
    """

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        rung = trial.last_step
        if rung is None:
            return False
        finished = study.get_trials(deepcopy=False, states=FINISHED)
        scores = [t.intermediate_values[rung] for t in finished if rung in t.intermediate_values]
        return len(scores) >= LEAST_SCORES and trial.intermediate_values[rung] < median(scores)


def pruner_of(name: str) -> BasePruner:
    """One of config.PRUNERS."""
    return {"halving": HalvingPruner(), "median": MedianPruner(), "none": NopPruner()}[name]
