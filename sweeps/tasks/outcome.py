"""Outcomes: how a trial has ended, in its run folder and in the study."""

import optuna
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.record import RunRecord, RunState, Scores, write_record
from sweeps.plan import Setup
from sweeps.tasks.chain import TRAINED, Chain
from sweeps.tasks.dashboard import upload_picture

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)  # states of trials that have ended
INFEASIBLE = "failed"  # the constraint of a trial, met by -1; its attribute "outcome" tells dashboards why


def tell(study: optuna.Study, setup: Setup, chain: Chain, record: RunRecord) -> None:
    """Tell the study how a trial has ended."""
    trial = chain.trial
    trial.set_user_attr(TRAINED, [chain.steps, round(chain.seconds, 4)])
    trial.set_user_attr("outcome", f"{record.state}: {record.reason}" if record.reason else record.state.value)
    upload_picture(trial, setup.run_folder(chain.number))
    if INFEASIBLE not in chain.constraints:
        trial.set_constraint(INFEASIBLE, 1.0 if record.state.failed else -1.0)
    complete = record.state is RunState.COMPLETE
    study.tell(trial, record.optimized if complete else None, None if complete else TrialState.PRUNED)


def has_failed(trial: FrozenTrial) -> bool:
    """Tell whether a trial has ended as collapsed, diverged or failed."""
    return trial.constraints.get(INFEASIBLE, -1.0) > 0


def write_failure(setup: Setup, chain: Chain, reason: str) -> RunRecord:
    """Write the record of a run that has failed, and return it."""
    measures = {"vae_kl": chain.plan.vae_kl} if chain.plan and chain.plan.warmup else {}
    record = RunRecord(
        state=RunState.FAILED, reason=reason, scores=Scores(score=0.0), weights=setup.weights, optimized=0.0,
        measures=measures,
    )  # fmt: skip
    folder = setup.run_folder(chain.number)
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    return record
