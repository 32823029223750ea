"""One trial: train, score at rungs, prune, and tell a failure from a bad score."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import optuna
from torch import Tensor

from analysis.evaluate import measure_run, outputs, scored_images
from analysis.measures.collapse import collapse_reason, image_collapse
from analysis.measures.score import score_images, weighted
from analysis.report.latent_sheets import write_latent_pictures
from introvae.errors import DivergedError, OutOfMemoryError, is_out_of_memory
from introvae.runs.folder import read_metrics
from introvae.runs.record import write_scores
from introvae.training.trainer import Trainer
from sweeps.dashboard import constrain, upload_picture
from sweeps.search.pruning import Rules, Stopped, rungs
from sweeps.setup import Setup, run_config, train_warmup, trial_config
from sweeps.workers.slots import DRAWN, CutOff, given_up
from sweeps.workers.watch import Watch

MOST_AT_RUNGS = 200  # validation images, by which trials are compared; results are of all that are scored


def run_trial(
    trial: optuna.Trial,
    setup: Setup,
    slot: int,
    reported: dict[int, float],
    stop: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
) -> float:
    """Train the slot's run, continuing it where it was cut off, and give its score in [0, 1].

    `reported` are the scores at rungs that the run passed before it was cut off. Raises TrialPruned for a run that
    is pruned, and for one that diverged, collapsed or failed, which is infeasible as well; CutOff once `stop` is true.
    A run failed if memory did not suffice, or if it broke its process when it was tried before.
    """
    point = setup.point(slot)
    values = setup.space.suggest(trial, point)
    if point:
        trial.set_user_attr("point", dict(point))
    trial.set_user_attr(DRAWN, True)
    scores: dict[str, Any] = {"state": "complete", "reason": "", "score": 0.0}
    scores |= {"optimized": 0.0, "weights": dict(setup.weights)}
    try:
        scores |= _train_and_score(trial, setup, slot, values, reported, stop, watch or Watch())
    except OutOfMemoryError as error:
        scores |= {"state": "failed", "reason": str(error)}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        scores |= {"state": "failed", "reason": "out of memory while scoring images"}
    state, reason = scores["state"], scores["reason"]
    write_scores(setup.run_folder(slot), scores)
    trial.set_user_attr("outcome", f"{state}: {reason}" if reason else state)
    upload_picture(trial, setup.run_folder(slot))
    constrain(trial, "failed", 1.0 if state in ("diverged", "collapsed", "failed") else -1.0)
    if state != "complete":
        raise optuna.TrialPruned(reason)
    return scores["optimized"]


def _train_and_score(
    trial: optuna.Trial,
    setup: Setup,
    slot: int,
    values: Mapping[str, float],
    reported: dict[int, float],
    stop: Callable[[], bool],
    watch: Watch,
) -> dict[str, Any]:
    """What becomes of the run: state, reason, score and measures."""
    folder = setup.run_folder(slot)
    if reason := given_up(trial.study, slot):
        return {"state": "failed", "reason": reason}
    start = None
    if setup.config.warmup_steps:
        config = run_config(setup, slot, values)
        start = setup.warmup_folder(config)
        with suppress(DivergedError):  # in the run as well, which shows it
            train_warmup(setup, config, stop, watch)
    config = trial_config(setup, slot, values)
    trial.set_user_attr("m", config.m)
    watch.enter("start")
    trainer = Trainer(config, setup.images, folder, setup.device, start)
    watch.enter("study")
    state, reason = "complete", ""
    try:
        _climb(trial, trainer, setup, reported, watch, stop)
    except Stopped as stopped:
        state, reason = stopped.state, str(stopped)
    except DivergedError as error:
        state, reason = "diverged", str(error)
    watch.enter("results")
    found = _results(trial, trainer, setup, state, reason)
    watch.enter("study")
    return found


def _results(trial: optuna.Trial, trainer: Trainer, setup: Setup, state: str, reason: str) -> dict[str, Any]:
    """What a trained run is worth, with its pictures. One that has come to its last step may have collapsed there."""
    config, folder = trainer.config, trainer.folder
    found: dict[str, Any] = {}
    if state != "diverged":
        rows = read_metrics(folder)
        found = measure_run(trainer.evaluated, setup.images, config, setup.spectrum, rows, state != "pruned")
        found["optimized"] = weighted(found, setup.weights)
        trainer.write_picture()
        if trainer.step == config.steps:
            trial.report(found["optimized"], config.steps)
            measures = found["measures"]
            collapse = collapse_reason(measures["retrieval"], measures["variance_ratio"], measures["scored_images"])
            if state == "complete" and collapse:
                state, reason = "collapsed", f"{collapse} at step {config.steps}"
    if state in ("complete", "collapsed"):
        write_latent_pictures(trainer.evaluated, setup.images, folder)
    if state != "pruned":  # most trials are, and half a second each would add up
        trainer.finish()
    return {"state": state, "reason": reason} | found


def _climb(
    trial: optuna.Trial,
    trainer: Trainer,
    setup: Setup,
    reported: dict[int, float],
    watch: Watch,
    stop: Callable[[], bool],
) -> None:
    """Train from rung to rung to the end. Raises Stopped where the trial is not worth going on with."""
    config = trainer.config
    real, on_log = scored_images(setup.images, MOST_AT_RUNGS), watch.follow(trainer.folder.name, trainer)
    check = Rules(config, setup.vae_kl(config))

    def on_row(row: dict[str, float]) -> None:
        on_log(row)
        if setup.prune:
            check(row)

    if setup.prune:
        for row in read_metrics(trainer.folder):
            check(row)

    for rung in [*rungs(config), config.steps]:
        if trainer.step > rung:
            if rung in reported:
                trial.report(reported[rung], rung)
            continue
        watch.enter("keeping")
        trainer.run(rung, on_row, stop)
        if stop():
            raise CutOff(f"asked to stop at step {trainer.step}")
        if rung == config.steps:
            return
        watch.enter("scoring")
        shown = outputs(trainer.evaluated, real, config.latent)
        score, collapse = _score(real, shown, setup), image_collapse(real, *shown)
        if trainer.model is not trainer.evaluated:
            score = (score + _score(real, outputs(trainer.model, real, config.latent), setup)) / 2
        watch.enter("study")
        trial.report(score, rung)
        if collapse and setup.prune:
            raise Stopped("collapsed", f"{collapse} at step {rung}")
        if setup.prune and trial.should_prune():
            raise Stopped("pruned", f"smoothed score {score:.3f} at step {rung}")


def _score(real: Tensor, shown: tuple[Tensor, Tensor], setup: Setup) -> float:
    """What the study optimises, of reconstructions and samples."""
    return weighted(vars(score_images(real, *shown)), setup.weights)
