"""Disk use of a study."""

from pathlib import Path

import optuna
from driven import Drawing, alpha_of, complete, drawn_study
from optuna.trial import TrialState

from introvae.runs.folder import CHECKPOINT
from introvae.runs.record import RunState
from sweeps.cleanup import keep_best
from sweeps.engines.local import InlineEngine
from sweeps.search.space import Space
from sweeps.tasks.task import Result, Task


def test_the_checkpoints_of_the_best_trials_are_kept(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate((0.1, 0.4, 0.3, 0.2)):
        state = TrialState.PRUNED if number == 1 else TrialState.COMPLETE
        study.add_trial(optuna.create_trial(state=state, value=value))
        for name in ("checkpoint.pt", "checkpoint.previous.pt", "metrics.csv"):
            (tmp_path / str(number)).mkdir(exist_ok=True)
            (tmp_path / str(number) / name).touch()
    keep_best(study.trials, lambda number: tmp_path / str(number), 4, set())
    assert len(list(tmp_path.glob("*/checkpoint*.pt"))) == 8  # what did not end well too, while there is room
    keep_best(study.trials, lambda number: tmp_path / str(number), 2, set())
    assert {path.parent.name for path in tmp_path.glob("*/checkpoint*.pt")} == {"2", "3"}
    assert len(list(tmp_path.glob("*/metrics.csv"))) == 4


def test_a_trial_that_failed_is_worse_than_one_that_was_pruned_whatever_its_score(tmp_path: Path) -> None:
    def saved(task: Task) -> Result:
        (task.plan.folder / CHECKPOINT).touch()
        alpha = alpha_of(task)
        return complete(task, alpha, RunState.COLLAPSED if alpha > 0.5 else RunState.PRUNED)

    space = Space(alpha=(0.1, 0.9), beta=(1.0, 2.0), margin_ratio=(1.0, 2.0))
    study = drawn_study(tmp_path / "study", space, 6, InlineEngine(Drawing(saved)), limits={"keep": 1})
    scores = {t.number: t.value or 0.0 for t in study.trials if t.constraints["failed"] < 0}
    (kept,) = tmp_path.glob(f"study/*/{CHECKPOINT}")
    assert len(scores) < 6 and kept.parent.name == f"trial-{max(scores, key=scores.__getitem__):03}"


def test_a_driver_keeps_the_checkpoints_of_the_best_trials_alone(tmp_path: Path) -> None:
    def saved(task: Task) -> Result:
        (task.plan.folder / CHECKPOINT).touch()
        return complete(task, alpha_of(task))

    space = Space(alpha=(0.1, 0.9), beta=(1.0, 2.0), margin_ratio=(1.0, 2.0))
    study = drawn_study(tmp_path / "study", space, 6, InlineEngine(Drawing(saved)), limits={"keep": 2})
    best = sorted(study.trials, key=lambda trial: -(trial.value or 0.0))[:2]
    kept = {path.parent.name for path in tmp_path.glob(f"study/*/{CHECKPOINT}")}
    assert kept == {f"trial-{trial.number:03}" for trial in best}
