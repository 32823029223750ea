"""The driver: the one process that owns a study. It asks for trials, has tasks run, promotes, and tells.

A trial is a chain of tasks, one for each rung, where it rests until it is promoted or left behind. A trial that was cut
off, or rests, stays RUNNING in the study, and the next driver resumes it from its last checkpoint.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import filterfalse
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from introvae.runs.record import SCORES, RunRecord, RunState
from sweeps.cleanup import keep_best
from sweeps.config import StudyConfig
from sweeps.engines.base import Engine
from sweeps.plan import Plan, Setup, plan_trial, plan_warmup, run_config
from sweeps.search.budget import Budget
from sweeps.search.promotion import Promotion, rungs_of
from sweeps.search.scales import place
from sweeps.study import leading_trial
from sweeps.supervisor import Supervisor
from sweeps.tasks.chain import TRAINED, Chain, inflation_of
from sweeps.tasks.outcome import FINISHED, has_failed, tell, write_failure
from sweeps.tasks.task import Result
from sweeps.view import View

Stop = Callable[[], bool]
Callback = Callable[[optuna.Study, FrozenTrial], None]


class Driver:
    """Driver of a study.

    Args:
        setup: What the trials of the study share.
        config: The study's configuration.
        study: The study, which nobody else may write to.
        view: Shows what happens.
        engine: Runs the tasks.
        stop: Returns true once running trials are to write a checkpoint and leave.
        callbacks: Called with the study and each trial that has ended.
    """

    def __init__(
        self,
        setup: Setup,
        config: StudyConfig,
        study: optuna.Study,
        view: View,
        engine: Engine,
        stop: Stop = lambda: False,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.setup, self.config, self.study, self.view, self.callbacks = setup, config, study, view, callbacks
        self.supervisor = Supervisor(engine, setup, config, view, stop, self._after_task, self._fail)
        trials = self._trials()
        self.cut_off = [t for t in trials if t.state == TrialState.RUNNING and t.number < config.total]
        self.asked = sum(trial.state != TrialState.WAITING for trial in trials)
        train = setup.config
        self.ends = [*rungs_of(train), train.steps]
        passed = rungs_of(train) if setup.prune else ()
        self.promotion = Promotion(train.warmup_steps, passed, train.steps, eager=config.sampler == "tpe")
        for trial in filterfalse(has_failed, trials):
            values = trial.params | trial.user_attrs.get("point", {})
            self._learn(trial.number, values, trial.intermediate_values, inflation_of(trial))
        for trial in trials:
            self.supervisor.pace.trained(*trial.user_attrs.get(TRAINED, (0, 0.0)))
        self.resting: dict[int, Chain] = {}  # at rungs, by number
        self.waiting: dict[Path, list[Chain]] = {}  # by the folder of the warm-up that another trial trains
        self.warm: set[Path] = set()  # folders of warm-ups that are trained, or diverged
        self.removed: set[int] = set()
        self.leaving = False  # nothing is left to train once trials are left behind

    def fill(self) -> bool:
        """Run trials until all have ended, the budget is spent, or `stop` asks to leave.

        Returns:
            False if `stop` ended it.

        Raises:
            StoppedError: If the engine cannot run tasks.
            Exception: If a task fails for a reason outside its trial; the other trials have written a checkpoint.
        """
        supervisor = self.supervisor
        self._show_study(self._trials())
        try:
            while self._busy():
                supervisor.wait()
        finally:
            supervisor.engine.close()
        if supervisor.error:
            raise supervisor.error
        return not supervisor.stopping

    def _trials(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False)

    def _busy(self) -> bool:
        """Give idle workers something to do; tell whether any worker has."""
        while self.supervisor.idle and not self.supervisor.stopping and self._begin_next():
            pass
        return bool(self.supervisor.running)

    def _begin_next(self) -> bool:
        """Give an idle worker what is most urgent; return False if nothing is before a task has ended."""
        if self.cut_off:
            self._begin(self.cut_off.pop(0))
            return True
        trials, running = self._trials(), self.supervisor.running.values()
        move = self.promotion.next(
            begun=self.asked,
            more=self.asked < self.config.total and not self._tired(trials),
            training=any(chain.training for chain in running),
            spent=self._spent(trials),
            complete=any(trial.state == TrialState.COMPLETE for trial in trials),
            room=lambda steps: Budget(self.config.budget, self.config.hours).allows(steps, self.supervisor.pace),
        )
        if move is None:
            return False
        kind, number = move
        if number is None:
            self.asked += 1
            self._begin()
        else:
            self._move(number, on=kind == "promote")
        return True

    def _spent(self, trials: list[FrozenTrial]) -> int:
        """Return the steps that trials have trained after their warm-ups, or are training."""
        begin = self.setup.config.warmup_steps
        reached = {trial.number: max(trial.intermediate_values, default=begin) for trial in trials}
        for chain in self.supervisor.running.values():
            if chain.plan and chain.task:
                reached[chain.number] = max(reached[chain.number], chain.task.until)
        return sum(step - begin for step in reached.values())

    def _tired(self, trials: list[FrozenTrial]) -> bool:
        """Tell whether the latest trials, as many as `patience` says, have brought no better one."""
        if self.config.patience is None:
            return False
        best = leading_trial(filterfalse(has_failed, trials))
        return self.asked - (best.number if best else 0) > self.config.patience

    def _begin(self, resumed: FrozenTrial | None = None) -> None:
        """Begin a trial, or one that an earlier driver has begun; that may have come to a rung, where it rests.

        A run that has ended, which the study has not been told, ends again.
        """
        chain = Chain.begin(self.study, self.setup, self.supervisor.idle[0], resumed)
        ended = (self.setup.run_folder(chain.number) / SCORES).exists()
        scored = [step for step in chain.reported if step in self.promotion.ends[:-1]]
        if scored and not ended and self._untrained_warmup(chain) is None:
            self._plan(chain)
            self._rest(chain, max(scored))
        else:
            self.supervisor.assign(chain)
            self._advance(chain)

    def _advance(self, chain: Chain) -> None:
        """Submit the first task of a trial, unless another trial trains its warm-up."""
        warmup = self._untrained_warmup(chain)
        if warmup is None or warmup.folder in self.warm:
            self.supervisor.submit(chain, self._plan(chain), self.ends[0])
        elif warmup.folder in self.waiting:
            self.waiting[warmup.folder].append(chain)
        else:
            self.waiting[warmup.folder] = []
            self.supervisor.submit(chain, warmup, warmup.config.steps)

    def _untrained_warmup(self, chain: Chain) -> Plan | None:
        """Plan the warm-up that a trial needs, if it is not there."""
        return plan_warmup(self.setup, run_config(self.setup, chain.number, chain.values))

    def _plan(self, chain: Chain) -> Plan:
        chain.plan = plan_trial(self.setup, chain.number, chain.values)
        if not chain.reported:
            chain.trial.set_user_attr("m", chain.plan.config.m)
        return chain.plan

    def _rest(self, chain: Chain, rung: int) -> None:
        self.resting[chain.number] = chain
        self.promotion.rest(chain.number, rung)

    def _move(self, number: int, on: bool) -> None:
        """Train a trial that rests to the next rung or to its end, or else end it where it is."""
        chain, rung = self.resting.pop(number), self.promotion.resting.pop(number)
        self.supervisor.assign(chain)
        assert chain.plan
        if on:
            self.supervisor.submit(chain, chain.plan, self.promotion.following(rung))
        else:
            self.leaving = True
            self.supervisor.submit(chain, chain.plan, rung, f"score {chain.reported[rung]:.3f} at step {rung}")

    def _after_task(self, chain: Chain, result: Result) -> None:
        """Decide what follows a task."""
        assert chain.task
        stopping, until = self.supervisor.stopping, chain.task.until
        if chain.plan is None:
            if not stopping:
                self.warm.add(chain.task.plan.folder)
                self._leave_warmup(chain)
                self._advance(chain)
            return
        if result.score is not None:
            self._report(chain, until, result.score, result.kl)
        if result.record:
            if result.step == chain.plan.config.steps and result.record.state is not RunState.DIVERGED:
                self._report(chain, result.step, result.record.optimized)
            self._tell(chain, result.record)
        elif stopping:
            return
        elif result.score is not None and self.setup.prune:
            self._rest(chain, until)
            self.supervisor.free(chain)
            self._show(chain)
        else:
            following = min(end for end in self.ends if end > until and end >= result.step)
            self.supervisor.submit(chain, chain.plan, following)

    def _leave_warmup(self, chain: Chain) -> None:
        """Let the trials that wait for the warm-up of a run continue: it is trained, or the run has failed."""
        assert chain.task and chain.fence
        chain.fence.remove()
        for waiter in self.waiting.pop(chain.task.plan.folder, []):
            if not self.supervisor.stopping:
                self._advance(waiter)

    def _report(self, chain: Chain, step: int, score: float, kl: float | None = None) -> None:
        if step not in chain.reported:
            chain.report(step, score, kl)
            self._learn(chain.number, chain.values, {step: score}, inflation_of(chain.trial))

    def _learn(self, number: int, values: Mapping[str, Any], scores: Mapping[int, float], inflation: float) -> None:
        self.promotion.learn(number, place(self.setup.space.distributions, values), scores, inflation)

    def _fail(self, chain: Chain, reason: str) -> None:
        self._tell(chain, write_failure(self.setup, chain, reason))

    def _tell(self, chain: Chain, record: RunRecord) -> None:
        """Tell the study how a trial ended, and free its worker."""
        tell(self.study, self.setup, chain, record)
        if chain.plan is None:
            self._leave_warmup(chain)
        elif chain.fence:
            chain.fence.remove()
        if record.state.failed:
            self.promotion.drop(chain.number)
        self.supervisor.free(chain)
        if self.config.keep is not None:
            ended = self.study.get_trials(deepcopy=False, states=FINISHED)
            keep_best(ended, self.setup.run_folder, self.config.keep, self.removed)
        self._show(chain)
        for callback in self.callbacks:
            callback(self.study, self._trials()[chain.number])

    def _show(self, chain: Chain) -> None:
        """Show a trial that has ended or come to a rung."""
        trials = self._trials()
        self._show_study(trials)
        self.view.trial(chain.worker, trials[chain.number])

    def _show_study(self, trials: list[FrozenTrial]) -> None:
        trained = self._spent(trials)
        left = self.promotion.steps(self.asked if self._tired(trials) else self.config.total) - trained
        if self.config.budget is not None:
            left = min(left, self.config.budget - trained)
        if self.leaving or (self.asked == self.config.total and all(trial.state in FINISHED for trial in trials)):
            left = 0
        left = max(left, 0)
        self.view.study(trials, trained, left, self.supervisor.pace.lasts(left))
