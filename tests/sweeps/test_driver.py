"""The driver: trials are trained, scored, pruned, or infeasible, and continue where they were cut off."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from driven import drive
from helpers import CPU, tiny_config
from optuna.trial import FrozenTrial, TrialState
from studies import read_scores

from analysis.measures.score import score_images, weights_of
from analysis.measures.spectrum import eigenvalues
from analysis.outputs import outputs_of, scored_images
from analysis.report.runs import read_runs
from analysis.rescore import rescore
from introvae.data.image_set import ImageSet
from introvae.runs.folder import last_row, load_checkpoint, read_config, read_metrics
from introvae.runs.pictures import last_picture
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.engines.local import InlineEngine
from sweeps.plan import Setup, plan_trial, plan_warmup
from sweeps.search.space import Space
from sweeps.tasks.dashboard import ARTIFACTS
from sweeps.tasks.fence import ATTEMPT, Fence
from sweeps.tasks.task import Task, Worker

HEAVY = ((0, 1.0), (300, 1.0), (301, 1e4))  # after the warm-up the KL outweighs all else
VALUES = {"alpha": 0.2, "beta": 70.0, "margin_ratio": 2.0}


@pytest.fixture(scope="module")
def warm(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """Setup of a study whose warm-up has been trained."""
    settings = {"steps": 330, "warmup_steps": 300, "lr": 3e-3, "log_every": 10, "checkpoint_every": 10}
    config = tiny_config(**settings, warmup_beta=60.0, beta=60.0)
    space = Space(alpha=(0.1, 0.3), beta=(50.0, 80.0), margin_ratio=(1.0, 2.0))
    folder = tmp_path_factory.mktemp("warm") / "study"
    setup = Setup(
        config=config, space=space, spectrum=eigenvalues(small_faces.train), folder=folder, weights=weights_of("score")
    )
    plan = plan_warmup(setup, config)
    assert plan
    fence = Fence.claim(plan.folder)
    Worker(images=small_faces).run(Task(setup=setup, plan=plan, until=300, attempt=fence.attempt, device="cpu"))
    fence.remove()
    assert plan_warmup(setup, config) is None
    return setup


@pytest.fixture
def setup(warm: Setup, tmp_path: Path) -> Setup:
    """Setup of the same study in a folder of the test's own."""
    shutil.copytree(warm.folder, tmp_path / "study")
    return replace(warm, folder=tmp_path / "study")


Run = Callable[..., FrozenTrial]


@pytest.fixture(scope="module")
def run(small_faces: ImageSet) -> Run:
    """Function that trains one trial of a setup in this process, and returns how it ended."""

    def run(setup: Setup, study: optuna.Study | None = None, stop: Callable[[], bool] = lambda: False) -> FrozenTrial:
        study = study or new_study()
        config = StudyConfig(train=setup.config, trials=max(1, len(study.trials)), keep=None)
        drive(setup, config, study, InlineEngine(Worker(images=small_faces)), stop)
        return study.trials[0]

    return run


@pytest.fixture(scope="module")
def whole(warm: Setup, run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    """Results of a trial that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "study"
    setup = replace(warm, folder=shutil.copytree(warm.folder, folder))
    return results(run(setup), setup)


def new_study(*others: FrozenTrial) -> optuna.Study:
    """Return a study whose first trial is still to come, and which knows some others."""
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(VALUES)
    study.add_trials(others)
    return study


BETTER = optuna.create_trial(value=1.0, intermediate_values={310: 1.0, 330: 1.0})


def changed(setup: Setup, **values: Any) -> Setup:
    return replace(setup, config=replace(setup.config, **values))


def drawn(setup: Setup) -> bool:
    """Tell whether the trial has curves and a GIF; it has both or neither."""
    paths = [setup.run_folder(0) / name for name in ("curves.png", "images/training.gif")]
    assert len({path.exists() for path in paths}) == 1
    return paths[0].exists()


def latents_drawn(setup: Setup) -> bool:
    return (setup.run_folder(0) / "images" / "traversals.png").exists()


def test_a_trial_is_trained_scored_and_recorded(setup: Setup, run: Run) -> None:
    trial = run(setup)
    folder = setup.run_folder(0)
    scores = read_scores(folder)
    assert scores and scores["state"] == "complete" and scores["score"] == trial.value
    assert trial.user_attrs["outcome"] == "complete" and trial.constraints == {"failed": -1.0}
    (picture,) = (setup.folder / ARTIFACTS).iterdir()
    assert picture.read_bytes() == (folder / "images" / "step-000330.png").read_bytes()
    assert list(trial.intermediate_values) == [310, 320, 330]
    assert trial.intermediate_values[330] == pytest.approx(scores["score"])
    assert scores["measures"]["rungs"] == [[step, trial.intermediate_values[step]] for step in (310, 320)]
    assert read_config(folder) == plan_trial(setup, 0, VALUES).config
    assert scores["measures"]["vae_kl"] == pytest.approx(read_config(folder).m / 2)
    assert last_picture(folder) == folder / "images" / "step-000330.png"
    assert drawn(setup) and latents_drawn(setup)
    assert not list(setup.folder.rglob(ATTEMPT))


@pytest.mark.slow
def test_a_study_maximizes_what_it_is_told(setup: Setup, run: Run) -> None:
    trial = run(replace(setup, weights=weights_of("sharpness=1,structure=2")))
    scores = read_scores(setup.run_folder(0)) or {}
    mean = (scores["sharpness"] * scores["structure"] ** 2) ** (1 / 3)
    assert trial.value == scores["optimized"] == pytest.approx(mean)
    assert trial.intermediate_values[330] == pytest.approx(trial.value)
    assert trial.value != pytest.approx(scores["score"], rel=0.01)
    rescore(read_runs(setup.folder))
    assert read_scores(setup.run_folder(0)) == scores


def test_a_pruned_trial_is_scored_too_and_stays_feasible(setup: Setup, run: Run) -> None:
    trial = run(setup, new_study(BETTER))
    scores = read_scores(setup.run_folder(0))
    assert trial.state == TrialState.PRUNED and trial.constraints == {"failed": -1.0}
    assert scores and scores["state"] == "pruned" and "at step 310" in scores["reason"]
    assert 0 < scores["score"] == pytest.approx(trial.value) and trial.value == trial.intermediate_values[310]
    assert not drawn(setup) and not latents_drawn(setup)


def ends_infeasible(trial: FrozenTrial, setup: Setup, state: str, reason: str) -> None:
    scores = read_scores(setup.run_folder(0))
    assert trial.state == TrialState.PRUNED and trial.constraints == {"failed": 1.0}
    assert scores and scores["state"] == state and reason in scores["reason"]
    assert reason in trial.user_attrs["outcome"]
    assert not list(setup.folder.rglob(ATTEMPT))


def test_a_diverged_trial_is_infeasible(setup: Setup, run: Run) -> None:
    setup = changed(setup, lr=1e30, warmup_steps=0, warmup_beta=None)
    ends_infeasible(run(setup), setup, "diverged", "is not finite")
    assert drawn(setup) and not latents_drawn(setup)


def test_a_trial_whose_warm_up_diverges_does_so_too(setup: Setup, run: Run) -> None:
    setup = changed(setup, lr=1e30)
    ends_infeasible(run(setup), setup, "diverged", "is not finite")


def test_a_collapsed_trial_is_infeasible(setup: Setup, run: Run) -> None:
    """A decoder that has seen five steps answers every input alike."""
    setup = changed(setup, warmup_steps=0, warmup_beta=None, lr=1e-5)
    ends_infeasible(run(setup), setup, "collapsed", "input ignored")
    assert drawn(setup) and latents_drawn(setup)


@pytest.mark.slow
def test_a_posterior_that_collapses_ends_the_trial_at_the_next_log(setup: Setup, run: Run) -> None:
    setup = changed(setup, kl_weight=HEAVY, steps=1260)  # the first rung, where images would tell, is at step 330
    ends_infeasible(run(setup), setup, "collapsed", "posterior collapse (KL ")
    assert read_metrics(setup.run_folder(0))[-1]["step"] < 330


@pytest.mark.slow
def test_without_pruning_a_hopeless_trial_is_trained_to_its_end(setup: Setup, run: Run) -> None:
    setup = replace(changed(setup, kl_weight=HEAVY, steps=360), prune=False)
    trial = run(setup)
    assert read_metrics(setup.run_folder(0))[-1]["step"] == 360 == max(trial.intermediate_values)
    assert trial.state == TrialState.PRUNED and trial.constraints == {"failed": 1.0}


@pytest.mark.slow
def test_without_pruning_no_trial_is_pruned(setup: Setup, run: Run) -> None:
    assert run(replace(setup, prune=False), new_study(BETTER)).state == TrialState.COMPLETE


def refuse(error: BaseException) -> Callable[..., None]:
    def refuse(*_: Any, **given: Any) -> None:
        raise error

    return refuse


def test_a_trial_without_enough_memory_is_infeasible(setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("introvae.training.trainer.train_step", refuse(torch.OutOfMemoryError("CUDA out of memory")))
    ends_infeasible(run(setup), setup, "failed", "out of memory on cpu in step 301 with --batch-size 8")
    (failed,) = read_runs(setup.run_folder(0))
    assert failed.margin_ratio and 1 <= failed.margin_ratio <= 2


@pytest.mark.slow
def test_a_trial_that_cannot_be_scored_for_lack_of_memory_is_infeasible(
    setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.tasks.task.finish", refuse(MemoryError()))
    ends_infeasible(run(setup), setup, "failed", "out of memory while scoring images")


def test_a_trial_that_breaks_cuda_is_infeasible(setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = RuntimeError("CUDA error: device-side\nassert triggered")
    monkeypatch.setattr("introvae.training.trainer.train_step", refuse(broken))
    ends_infeasible(run(setup), setup, "failed", "RuntimeError: CUDA error: device-side assert triggered")


@pytest.mark.slow
def test_an_error_that_no_trial_is_to_blame_for_stops_the_study_and_loses_nothing(
    setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device"):
        patch.setattr("sweeps.tasks.task.finish", refuse(OSError(28, "No space left on device", "scores.json")))
        run(setup, study=study)
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING]
    assert run(setup, study=study).state == TrialState.COMPLETE


@pytest.mark.slow
@pytest.mark.parametrize(("step", "kept"), [(300, 310), (310, 310), (320, 320)])
def test_a_trial_that_is_asked_to_stop_continues_as_if_it_had_not_been(
    step: int, kept: int, setup: Setup, run: Run, whole: tuple[Any, ...]
) -> None:
    """Stops in its first steps, and at either rung."""

    def stop() -> bool:
        row = last_row(setup.run_folder(0))
        return row is not None and row["step"] >= step

    study = new_study()
    stopped = run(setup, study=study, stop=stop)
    assert stopped.state == TrialState.RUNNING
    checkpoint = load_checkpoint(setup.run_folder(0))
    assert checkpoint and checkpoint["step"] == kept
    assert results(run(setup, study=study), setup) == whole


def results(trial: FrozenTrial, setup: Setup) -> tuple[Any, ...]:
    scores = read_scores(setup.run_folder(0))
    return trial.params, trial.value, trial.state, trial.intermediate_values, trial.constraints, scores


@pytest.mark.slow
def test_a_trial_whose_driver_died_between_asking_and_drawing_is_drawn_later(setup: Setup, run: Run) -> None:
    study = optuna.create_study(direction="maximize")
    study.ask()
    assert study.trials[0].params == {}
    trial = run(setup, study=study)
    assert trial.state == TrialState.COMPLETE and trial.params.keys() == {"alpha", "beta", "margin_ratio"}


@pytest.mark.slow
def test_a_driver_that_died_before_it_told_the_study_tells_it_later(
    setup: Setup, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = new_study()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(study, "tell", refuse(KeyboardInterrupt()))
        run(setup, study=study)
    assert study.trials[0].state == TrialState.RUNNING and study.trials[0].user_attrs["outcome"] == "complete"
    trial = run(setup, study=study)
    assert trial.state == TrialState.COMPLETE and list(trial.intermediate_values) == [310, 320, 330]


@pytest.mark.slow
def test_at_rungs_the_averaged_weights_are_scored_on_fewer_images(
    setup: Setup, small_faces: ImageSet, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sweeps.tasks.task.MOST_AT_RUNGS", 40)
    trial = run(setup)
    config = plan_trial(setup, 0, VALUES).config
    alone = Trainer(config, small_faces, setup.folder / "alone", CPU, setup.warmup_folder(config))
    alone.run(310)
    real = scored_images(small_faces, 40)
    assert len(real) == 40 < len(scored_images(small_faces))
    shown = [outputs_of(model, real) for model in (alone.model, alone.evaluated)]
    scores = [score_images(real, each.reconstructions, each.samples).score for each in shown]
    assert trial.intermediate_values[310] == pytest.approx(scores[1]) != pytest.approx(scores[0])
