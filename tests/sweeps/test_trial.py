"""Trials: trained, scored, pruned, or infeasible."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from helpers import CPU, tiny_config
from studies import read_scores

from analysis.measures.score import score_images, weights_of
from analysis.measures.spectrum import eigenvalues, predicted_kl
from analysis.outputs import outputs_of, scored_images
from analysis.report.runs import read_runs
from analysis.rescore import rescore
from introvae.data.image_set import ImageSet
from introvae.runs.folder import load_checkpoint, read_config, read_metrics
from introvae.runs.pictures import last_picture
from introvae.training.trainer import Trainer
from sweeps.dashboard import ARTIFACTS
from sweeps.disk import keep_best
from sweeps.plan import Setup, plan_trial, train_warmup
from sweeps.search.space import Space
from sweeps.trial import run_trial
from sweeps.workers.slots import CutOff, give_up

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
        config=config, space=space, images=small_faces, spectrum=eigenvalues(small_faces.train), folder=folder,
        device=CPU, weights=weights_of("score"),
    )  # fmt: skip
    train_warmup(setup, config)
    return setup


@pytest.fixture
def setup(warm: Setup, tmp_path: Path) -> Setup:
    """Setup of the same study in a folder of the test's own."""
    shutil.copytree(warm.folder, tmp_path / "study")
    return replace(warm, folder=tmp_path / "study")


def changed(setup: Setup, **values: Any) -> Setup:
    return replace(setup, config=replace(setup.config, **values))


def run(setup: Setup, pruner: optuna.pruners.BasePruner | None = None) -> optuna.trial.FrozenTrial:
    study = optuna.create_study(direction="maximize", pruner=pruner or optuna.pruners.NopPruner())
    study.enqueue_trial(VALUES)
    study.optimize(lambda trial: run_trial(trial, setup, 3, {}), n_trials=1)
    return study.trials[0]


def drawn(setup: Setup) -> bool:
    """Tell whether the trial has curves and a GIF; it has both or neither."""
    paths = [setup.run_folder(3) / name for name in ("curves.png", "images/training.gif")]
    assert len({path.exists() for path in paths}) == 1
    return paths[0].exists()


def latents_drawn(setup: Setup) -> bool:
    return (setup.run_folder(3) / "images" / "traversals.png").exists()


def test_the_margin_is_the_ratio_times_the_vae_s_kl(setup: Setup) -> None:
    config = plan_trial(setup, 3, VALUES).config
    measured = read_metrics(setup.warmup_folder(config))[-1]["kl_real"]
    correction = measured / predicted_kl(setup.spectrum, 60.0, 8)
    assert config.m == pytest.approx(2.0 * correction * predicted_kl(setup.spectrum, 70.0, 8))
    assert plan_trial(setup, 3, VALUES | {"m": 77.0}).config.m == 77.0


def test_seeds_follow_from_the_slot(setup: Setup) -> None:
    values = VALUES | {"m": 5.0}
    seeds = [plan_trial(setup, slot, values).config.seed for slot in range(5)]
    assert len(set(seeds)) == 5
    assert plan_trial(setup, 3, values).config.seed == seeds[3]
    assert plan_trial(setup, 3, values).config.warmup_seed == setup.config.seed


def test_a_trial_is_trained_scored_and_recorded(setup: Setup) -> None:
    trial = run(setup)
    folder = setup.run_folder(3)
    scores = read_scores(folder)
    assert scores and scores["state"] == "complete" and scores["score"] == trial.value
    assert trial.user_attrs["outcome"] == "complete"
    assert trial.constraints == {"failed": trial.user_attrs["constraint failed"]} == {"failed": -1.0}
    (picture,) = (setup.folder / ARTIFACTS).iterdir()
    assert picture.read_bytes() == (folder / "images" / "step-000330.png").read_bytes()
    assert list(trial.intermediate_values) == [310, 320, 330]
    assert trial.intermediate_values[330] == pytest.approx(scores["score"])
    assert read_config(folder) == plan_trial(setup, 3, VALUES).config
    assert scores["measures"]["vae_kl"] == pytest.approx(read_config(folder).m / 2)
    assert last_picture(folder) == folder / "images" / "step-000330.png"
    assert drawn(setup) and latents_drawn(setup)


def test_a_study_maximizes_what_it_is_told(setup: Setup) -> None:
    trial = run(replace(setup, weights=weights_of("sharpness=1,structure=2")))
    scores = read_scores(setup.run_folder(3)) or {}
    mean = (scores["sharpness"] * scores["structure"] ** 2) ** (1 / 3)
    assert trial.value == scores["optimized"] == pytest.approx(mean)
    assert trial.intermediate_values[330] == pytest.approx(trial.value)
    assert trial.value != pytest.approx(scores["score"], rel=0.01)
    rescore(read_runs(setup.folder))
    assert read_scores(setup.run_folder(3)) == scores


def test_a_pruned_trial_is_scored_too_and_stays_feasible(setup: Setup) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    trial = run(setup, Always())
    scores = read_scores(setup.run_folder(3))
    assert trial.state == optuna.trial.TrialState.PRUNED and trial.constraints == {"failed": -1.0}
    assert scores and scores["state"] == "pruned" and "at step 310" in scores["reason"]
    assert 0 < scores["score"] != trial.value == trial.intermediate_values[310]
    assert not drawn(setup) and not latents_drawn(setup)


def ends_infeasible(setup: Setup, state: str, reason: str) -> None:
    trial = run(setup)
    scores = read_scores(setup.run_folder(3))
    assert trial.state == optuna.trial.TrialState.PRUNED and trial.constraints == {"failed": 1.0}
    assert scores and scores["state"] == state and reason in scores["reason"]
    assert reason in trial.user_attrs["outcome"]


def test_a_diverged_trial_is_infeasible(setup: Setup) -> None:
    ends_infeasible(changed(setup, lr=1e30, warmup_steps=0, warmup_beta=None), "diverged", "is not finite")
    assert drawn(setup) and not latents_drawn(setup)


def test_a_collapsed_trial_is_infeasible(setup: Setup) -> None:
    """A decoder that has seen five steps answers every input alike."""
    ends_infeasible(changed(setup, warmup_steps=0, warmup_beta=None, lr=1e-5), "collapsed", "input ignored")
    assert drawn(setup) and latents_drawn(setup)


def test_a_posterior_that_collapses_ends_the_trial_at_the_next_log(setup: Setup) -> None:
    ends_infeasible(changed(setup, kl_weight=HEAVY, steps=400), "collapsed", "posterior collapse (KL ")
    assert read_metrics(setup.run_folder(3))[-1]["step"] < 400


def test_without_pruning_a_hopeless_trial_is_trained_to_its_end(setup: Setup) -> None:
    trial = run(replace(changed(setup, kl_weight=HEAVY, steps=400), prune=False))
    assert read_metrics(setup.run_folder(3))[-1]["step"] == 400 == max(trial.intermediate_values)
    assert trial.state == optuna.trial.TrialState.PRUNED and trial.constraints == {"failed": 1.0}


def test_without_pruning_no_trial_is_pruned(setup: Setup) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    assert run(replace(setup, prune=False), Always()).state == optuna.trial.TrialState.COMPLETE


def test_a_trial_without_enough_memory_is_infeasible(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("introvae.training.trainer.train_step", refuse)
    ends_infeasible(setup, "failed", "out of memory on cpu in step 301 with --batch-size 8")


def test_a_trial_that_cannot_be_scored_for_lack_of_memory_is_infeasible(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **given: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("sweeps.trial.finish", refuse)
    ends_infeasible(setup, "failed", "out of memory while scoring images")


def test_a_trial_that_broke_its_process_is_not_trained_again(setup: Setup) -> None:
    study = optuna.create_study(direction="maximize")
    setup.run_folder(3).mkdir()
    give_up(study, 3, "its process\ndied (SIGSEGV)")
    study.optimize(lambda trial: run_trial(trial, setup, 3, {}), n_trials=1)
    (trial,) = study.trials
    assert trial.state == optuna.trial.TrialState.PRUNED and trial.constraints == {"failed": 1.0}
    scores = read_scores(setup.run_folder(3))
    assert scores and scores["reason"] == "its process died (SIGSEGV)" and scores["optimized"] == scores["score"] == 0


def test_a_trial_that_is_asked_to_stop_leaves_a_checkpoint(setup: Setup) -> None:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(VALUES)
    with pytest.raises(CutOff, match="at step 310"):
        study.optimize(lambda trial: run_trial(trial, setup, 3, {}, stop=lambda: True), n_trials=1)
    assert study.trials[0].state == optuna.trial.TrialState.FAIL
    assert load_checkpoint(setup.run_folder(3))["step"] == 310  # type: ignore[index]


def test_the_checkpoints_of_the_best_trials_are_kept(tmp_path: Path) -> None:
    study = optuna.create_study(direction="maximize")
    for slot, value in enumerate((0.1, 0.4, 0.3, 0.2)):
        state = optuna.trial.TrialState.PRUNED if slot == 1 else optuna.trial.TrialState.COMPLETE
        study.add_trial(optuna.create_trial(state=state, value=value, user_attrs={"slot": slot}))
        for name in ("checkpoint.pt", "checkpoint.previous.pt", "metrics.csv"):
            (tmp_path / str(slot)).mkdir(exist_ok=True)
            (tmp_path / str(slot) / name).touch()
    keep_best(study.trials, lambda slot: tmp_path / str(slot), 4, set())
    assert len(list(tmp_path.glob("*/checkpoint*.pt"))) == 8  # what did not end well too, while there is room
    keep_best(study.trials, lambda slot: tmp_path / str(slot), 2, set())
    assert {path.parent.name for path in tmp_path.glob("*/checkpoint*.pt")} == {"2", "3"}
    assert len(list(tmp_path.glob("*/metrics.csv"))) == 4


def test_at_rungs_the_weights_and_their_average_count_half_each(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are scored on fewer images than results are."""
    monkeypatch.setattr("sweeps.trial.MOST_AT_RUNGS", 40)
    trial = run(setup)
    config = plan_trial(setup, 3, VALUES).config
    alone = Trainer(config, setup.images, setup.folder / "alone", CPU, setup.warmup_folder(config))
    alone.run(310)
    real = scored_images(setup.images, 40)
    assert len(real) == 40 < len(scored_images(setup.images))
    shown = [outputs_of(model, real) for model in (alone.model, alone.evaluated)]
    scores = [score_images(real, each.reconstructions, each.samples).score for each in shown]
    assert trial.intermediate_values[310] == pytest.approx(sum(scores) / 2)
    assert scores[0] != pytest.approx(scores[1], rel=1e-3)
