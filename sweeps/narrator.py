"""What a study says while it runs."""

import time

import optuna
from optuna.trial import FrozenTrial

from sweeps.slots import finished_slots
from sweeps.study import best_trial


class Narrator:
    """Prints one line for each finished trial, with the best so far and the time left."""

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.start = time.monotonic()
        self.before: int | None = None  # trials done when this began

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        done = len(finished_slots(study))
        if self.before is None:
            self.before = done - 1
        left = (time.monotonic() - self.start) / (done - self.before) * (self.trials - done) / 60
        best = best_trial(study)
        leader = f"best {best.value:.3f} (trial {best.user_attrs['slot']})" if best else "none complete"
        values = trial.params | trial.user_attrs.get("point", {})
        numbers = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
        derived = "m" in trial.user_attrs and "m" not in values
        margin = f"  m {trial.user_attrs['m']:.4g}" if derived else ""
        score = f"score {trial.value:.3f}" if trial.value is not None else "no score"
        print(
            f"trial {trial.user_attrs['slot']}: {score}, {trial.user_attrs['outcome']}; {numbers}{margin}; "
            f"{leader}, {left:.0f} min left",
            flush=True,
        )
