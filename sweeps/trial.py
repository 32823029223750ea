"""One trial: train, score at rungs, prune, and tell a failure from a bad score."""

import optuna

from analysis.evaluate import finish
from analysis.measures.collapse import image_collapse
from analysis.measures.score import score_images, weighted
from analysis.outputs import Outputs, outputs_of, scored_images
from introvae.errors import DivergedError, OutOfMemoryError, is_out_of_memory
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from introvae.training.trainer import Trainer
from sweeps.dashboard import constrain, upload_picture
from sweeps.plan import Plan, Setup, plan_trial
from sweeps.search.pruning import Rules, Stopped, rungs
from sweeps.workers.slots import DRAWN, CutOff, Reported, Stop, given_up
from sweeps.workers.watch import Watch

MOST_AT_RUNGS = 200  # validation images by which trials are compared; results are of all that are scored


def run_trial(
    trial: optuna.Trial,
    setup: Setup,
    slot: int,
    reported: Reported,
    stop: Stop = lambda: False,
    watch: Watch | None = None,
) -> float:
    """Train the slot's run, continuing it where it was cut off.

    Args:
        trial: The trial, whose parameters are suggested here.
        setup: What the trials of the study share.
        slot: The slot that the trial fills.
        reported: Scores by step at rungs that the run passed before it was cut off.
        stop: Returns true once the run is to be interrupted.
        watch: Counts the time of each phase.

    Returns:
        What the study maximizes, in [0, 1].

    Raises:
        TrialPruned: For a run that is pruned, and for one that diverged, collapsed or failed, which is infeasible as
            well. A run failed if memory did not suffice, or if it broke its process when it was tried before.
        CutOff: Once `stop` is true.
    """
    try:
        record = _train_and_finish(trial, setup, slot, reported, stop, watch or Watch())
    except OutOfMemoryError as error:
        record = _fail(setup, slot, str(error))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        record = _fail(setup, slot, "out of memory while scoring images")
    trial.set_user_attr("outcome", f"{record.state}: {record.reason}" if record.reason else record.state.value)
    upload_picture(trial, setup.run_folder(slot))
    constrain(trial, "failed", 1.0 if record.state.failed else -1.0)
    if record.state is not RunState.COMPLETE:
        raise optuna.TrialPruned(record.reason)
    return record.optimized


def _fail(setup: Setup, slot: int, reason: str) -> RunRecord:
    record = RunRecord(
        state=RunState.FAILED, reason=reason, scores=Scores(score=0.0), weights=setup.weights, optimized=0.0
    )
    write_record(setup.run_folder(slot), record)
    return record


def _train_and_finish(
    trial: optuna.Trial, setup: Setup, slot: int, reported: Reported, stop: Stop, watch: Watch
) -> RunRecord:
    point = setup.point(slot)
    values = setup.space.suggest(trial, point)
    if point:
        trial.set_user_attr("point", dict(point))
    trial.set_user_attr(DRAWN, True)
    if reason := given_up(trial.study, slot):
        return _fail(setup, slot, reason)
    plan = plan_trial(setup, slot, values, stop, watch)
    trial.set_user_attr("m", plan.config.m)
    watch.enter("start")
    trainer = Trainer(plan.config, setup.images, plan.folder, setup.device, plan.warmup)
    watch.enter("study")
    state, reason = RunState.COMPLETE, ""
    try:
        _climb(trial, trainer, setup, plan, reported, stop, watch)
    except Stopped as stopped:
        state, reason = stopped.state, str(stopped)
    except DivergedError as error:
        state, reason = RunState.DIVERGED, str(error)
    watch.enter("results")
    diverged = state is RunState.DIVERGED
    if not diverged:
        trainer.write_picture()
    record = finish(
        plan.folder, plan.config, setup.images, None if diverged else trainer.evaluated,
        state=state, reason=reason, weights=setup.weights, spectrum=setup.spectrum, vae_kl=plan.vae_kl,
    )  # fmt: skip
    if not diverged and trainer.step == plan.config.steps:
        trial.report(record.optimized, plan.config.steps)
    watch.enter("study")
    return record


def _climb(
    trial: optuna.Trial, trainer: Trainer, setup: Setup, plan: Plan, reported: Reported, stop: Stop, watch: Watch
) -> None:
    """Train from rung to rung to the end; raise Stopped where the trial is not worth continuing."""
    config = plan.config
    real, on_log = scored_images(setup.images, MOST_AT_RUNGS), watch.follow(trainer.folder.name, trainer)
    check = Rules(config, plan.vae_kl)

    def on_row(row: dict[str, float]) -> None:
        on_log(row)
        if setup.prune:
            check(row)

    if setup.prune:
        for row in trainer.begun_with:
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
        outputs = outputs_of(trainer.evaluated, real)
        score = _score(outputs, setup)
        collapse = image_collapse(real, outputs.reconstructions, outputs.samples)
        if trainer.model is not trainer.evaluated:
            score = (score + _score(outputs_of(trainer.model, real), setup)) / 2
        watch.enter("study")
        trial.report(score, rung)
        if collapse and setup.prune:
            raise Stopped(RunState.COLLAPSED, f"{collapse} at step {rung}")
        if setup.prune and trial.should_prune():
            raise Stopped(RunState.PRUNED, f"smoothed score {score:.3f} at step {rung}")


def _score(outputs: Outputs, setup: Setup) -> float:
    """Return what the study maximizes."""
    return weighted(vars(score_images(outputs.real, outputs.reconstructions, outputs.samples)), setup.weights)
