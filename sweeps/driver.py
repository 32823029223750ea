"""The driver: the one process that owns a study. It asks for trials, has an engine run their tasks, prunes, and tells.

A trial is a chain of tasks, one for each rung; what comes next is decided here. A trial that was cut off stays RUNNING
in the study, and the next driver submits it again, from its last checkpoint.
"""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from introvae.errors import StoppedError
from introvae.runs.folder import last_row, log_stamp
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from sweeps.config import StudyConfig
from sweeps.dashboard import upload_picture
from sweeps.disk import keep_best
from sweeps.engines.base import Engine
from sweeps.plan import Plan, Setup, plan_trial, plan_warmup, run_config
from sweeps.search.pruning import FINISHED, goes_on, rungs
from sweeps.tasks.fence import Fence
from sweeps.tasks.task import Result, Task
from sweeps.view import SECONDS, View

FAILED = "failed"  # the constraint of a trial, met by -1; its attribute "outcome" tells dashboards why
DEATHS = 3  # of a trial's processes, before it counts as failed
LOOK_EVERY = 0.1  # seconds between looks at running tasks
LONGEST_LOOK = 1.0  # seconds that count between two looks, so that no task hangs because its driver did

Stop = Callable[[], bool]


@dataclass(eq=False)
class _Run:
    """A trial under way, on one of the engine's workers."""

    trial: optuna.Trial
    reported: dict[int, float]  # scores that the study knows, by step
    constraints: Mapping[str, float]  # that it knows from an earlier driver
    values: Mapping[str, float]
    worker: int
    plan: Plan | None = None  # once its warm-up is trained
    ahead: list[int] = field(default_factory=list)  # steps to reach, a task for each
    task: Task | None = None
    future: Future[Result] | None = None
    fence: Fence | None = None  # of the current attempt
    reached: int = 0  # step of the current attempt
    deaths: int = 0
    since: float = 0.0  # when its task began
    seconds: float = 0.0  # that its tasks took, but for a warm-up
    begun: bool = False  # the task is known to run
    lasted: float = 0.0  # seconds that its tasks have run
    silent: float = 0.0  # seconds for which its log has not grown
    log: tuple[int, float] | None = None  # size and time of its log


class Driver:
    """Driver of a study.

    Args:
        setup: What the trials of the study share.
        config: The study's configuration.
        study: The study, which nobody else may write to.
        view: Shows what happens.
        stop: Returns true once running trials are to write a checkpoint and leave.
    """

    def __init__(
        self, setup: Setup, config: StudyConfig, study: optuna.Study, view: View, stop: Stop = lambda: False
    ) -> None:
        self.setup, self.config, self.study, self.view, self.stop = setup, config, study, view, stop
        known = study.get_trials(deepcopy=False)
        self.cut_off = [t for t in known if t.state == TrialState.RUNNING and t.number < config.total]
        self.asked = sum(trial.state != TrialState.WAITING for trial in known)
        self.running: dict[int, _Run] = {}  # by worker
        self.waiting: dict[Path, list[_Run]] = {}  # by the folder of the warm-up that another trial trains
        self.warm: set[Path] = set()  # folders of warm-ups that are trained, or diverged
        self.removed: set[int] = set()
        self.error: Exception | None = None
        self.told = False
        self.looked = time.monotonic()

    def fill(self, engine: Engine) -> None:
        """Run trials until all have ended, or `stop` says so.

        Raises:
            StoppedError: If the engine cannot run tasks.
            Exception: An error that no trial is to blame for; the others have written a checkpoint then.
        """
        self.engine, self.idle = engine, list(range(engine.capacity))
        try:
            while self._busy():
                futures = {run.future: run for run in self.running.values() if run.future}
                for future in wait(futures, LOOK_EVERY, FIRST_COMPLETED).done:
                    self._task_ended(futures[future], future)
                self.look()
        finally:
            engine.close()
        if self.error:
            raise self.error

    @property
    def ended(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=FINISHED)

    @property
    def stopping(self) -> bool:
        return self.told or self.error is not None or self.stop()

    def look(self) -> None:
        """Ask tasks to stop if that is due, show how far they are, and end those that hang. Call it often."""
        if self.stopping and not self.told:
            self.told = True
            for run in self.running.values():
                if run.fence:
                    run.fence.stop()
        now = time.monotonic()
        if now - self.looked < LOOK_EVERY:
            return
        elapsed, self.looked = min(now - self.looked, LONGEST_LOOK), now
        for run in list(self.running.values()):
            self._look_at(run, elapsed)
            if self.config.trial_timeout and run.lasted > self.config.trial_timeout:
                self._abandon(run)
                self._fail(run, f"not done after {self.config.trial_timeout:g} s")
            elif run.silent > self.config.silence:
                self._abandon(run)
                self._try_again(run, f"its log did not grow for {self.config.silence:g} s")

    def _look_at(self, run: _Run, elapsed: float) -> None:
        assert run.task
        folder, log = run.task.plan.folder, log_stamp(run.task.plan.folder)
        if log != run.log:
            run.log, run.silent, run.begun = log, 0.0, True
            if row := last_row(folder):
                label = "warm-up" if run.plan is None else folder.name
                self.view.progress(run.worker, label, run.task.plan.config.steps, row)
        elif run.begun:
            run.silent += elapsed
        run.lasted += elapsed * run.begun

    def _busy(self) -> bool:
        """Give idle workers trials, those that were cut off first; tell whether any worker has one."""
        while self.idle and not self.stopping and (self.cut_off or self.asked < self.config.total):
            known = self.cut_off.pop(0) if self.cut_off else None
            if known:
                trial = optuna.Trial(self.study, known._trial_id)  # no public call goes on with a trial
            else:
                trial, self.asked = self.study.ask(), self.asked + 1
            point = self.setup.point(trial.number)
            values = self.setup.space.suggest(trial, point)
            if point:
                trial.set_user_attr("point", dict(point))
            reported, constraints = (dict(known.intermediate_values), known.constraints) if known else ({}, {})
            self._advance(_Run(trial, reported, constraints, values, self.idle.pop(0)))
        return bool(self.running)

    def _advance(self, run: _Run) -> None:
        """Submit the next task of a trial, unless another trial trains its warm-up."""
        if run.plan is None:
            config = run_config(self.setup, run.trial.number, run.values)
            warmup = plan_warmup(self.setup, config)
            if warmup and warmup.folder not in self.warm:
                if warmup.folder in self.waiting:
                    self.waiting[warmup.folder].append(run)
                else:
                    self.waiting[warmup.folder] = []
                    self._submit(run, warmup, warmup.config.steps)
                return
            run.plan = plan_trial(self.setup, run.trial.number, run.values)
            run.trial.set_user_attr("m", run.plan.config.m)
            begin = max(run.reported, default=0)  # scored again, as what was decided there may be lost
            run.ahead = [step for step in [*rungs(run.plan.config), run.plan.config.steps] if step >= begin]
        self._submit(run, run.plan, run.ahead[0])

    def _submit(self, run: _Run, plan: Plan, until: int, pruned: str = "") -> None:
        if run.fence is None or run.fence.path.parent != plan.folder:
            run.fence, run.reached = Fence.claim(plan.folder), 0
        run.task = Task(
            setup=self.setup, plan=plan, until=until, attempt=run.fence.attempt, device=self.config.device,
            processes=self.config.processes_per_trial, since=run.reached, pruned=pruned,
        )  # fmt: skip
        run.log, run.silent, run.since = log_stamp(plan.folder), 0.0, time.monotonic()
        run.begun = not self.engine.queues
        self.running[run.worker] = run
        run.future = self.engine.submit(run.worker, run.task)

    def _task_ended(self, run: _Run, future: Future[Result]) -> None:
        del self.running[run.worker]
        assert run.task
        self._look_at(run, 0.0)
        try:
            result = future.result()
        except Exception as error:
            try:
                reason, crashed = self.engine.died(run.worker, error)
                self._try_again(run, f"its process died ({reason})", crashed)
            except StoppedError as stopped:
                self.error = self.error or stopped
            return
        run.reached = result.step
        if run.plan:
            run.seconds += time.monotonic() - run.since
        self.view.say(result.said)
        if result.error:
            self.error = self.error or result.error
        elif result.reason:
            self.engine.kill(run.worker)  # after an error of CUDA its process is of no further use
            if not self.stopping:  # by which its processes may have been hit
                self._fail(run, result.reason)
        elif run.plan is None:
            if not self.stopping:
                self.warm.add(run.task.plan.folder)
                self._leave_warmup(run)
                self._advance(run)
        else:
            self._go_on(run, run.plan, run.task, result)

    def _go_on(self, run: _Run, plan: Plan, task: Task, result: Result) -> None:
        """Decide what follows a task of a trial."""
        if result.score is not None:
            self._report(run, task.until, result.score)
        if result.record:
            if result.step == plan.config.steps and result.record.state is not RunState.DIVERGED:
                self._report(run, result.step, result.record.optimized)
            self._tell(run, result.record)
        elif self.stopping:
            return
        elif result.score is not None and self.setup.prune and not self._is_good(run, task.until):
            self._submit(run, plan, task.until, f"score {result.score:.3f} at step {task.until}")
        else:
            run.ahead = [step for step in run.ahead if step > task.until and step >= result.step]
            self._submit(run, plan, run.ahead[0])

    def _is_good(self, run: _Run, rung: int) -> bool:
        others = [t.intermediate_values[rung] for t in self.ended if rung in t.intermediate_values]
        return goes_on(run.reported[rung], others)

    def _leave_warmup(self, run: _Run) -> None:
        """Let the trials that wait for the warm-up of a run continue: it is trained, or the run has failed."""
        assert run.task and run.fence
        run.fence.remove()
        for waiter in self.waiting.pop(run.task.plan.folder, []):
            if not self.stopping:
                self._advance(waiter)

    def _report(self, run: _Run, step: int, score: float) -> None:
        if step not in run.reported:
            run.trial.report(score, step)
            run.reported[step] = score

    def _abandon(self, run: _Run) -> None:
        del self.running[run.worker]
        self.engine.kill(run.worker)

    def _try_again(self, run: _Run, reason: str, crashed: bool = False) -> None:
        """Begin another attempt at a task whose process is gone, unless this has happened too often."""
        assert run.task
        run.deaths += 1
        if crashed or run.deaths >= DEATHS:
            self._fail(run, reason)
        elif not self.stopping:
            run.fence = None
            self._submit(run, run.task.plan, run.task.until, run.task.pruned)

    def _fail(self, run: _Run, reason: str) -> None:
        measures = {"vae_kl": run.plan.vae_kl} if run.plan and run.plan.warmup else {}
        record = RunRecord(
            state=RunState.FAILED, reason=reason, scores=Scores(score=0.0), weights=self.setup.weights, optimized=0.0,
            measures=measures,
        )  # fmt: skip
        folder = self.setup.run_folder(run.trial.number)
        folder.mkdir(parents=True, exist_ok=True)
        write_record(folder, record)
        self._tell(run, record)

    def _tell(self, run: _Run, record: RunRecord) -> None:
        """Tell the study how a trial ended, and free its worker."""
        trial, folder = run.trial, self.setup.run_folder(run.trial.number)
        trial.set_user_attr(SECONDS, round(run.seconds, 4))
        trial.set_user_attr("outcome", f"{record.state}: {record.reason}" if record.reason else record.state.value)
        upload_picture(trial, folder)
        if FAILED not in run.constraints:
            trial.set_constraint(FAILED, 1.0 if record.state.failed else -1.0)
        complete = record.state is RunState.COMPLETE
        told = self.study.tell(trial, record.optimized if complete else None, None if complete else TrialState.PRUNED)
        if run.plan is None:
            self._leave_warmup(run)
        elif run.fence:
            run.fence.remove()
        if self.config.isolate:
            self.engine.kill(run.worker)
        self.idle.append(run.worker)
        if self.config.keep is not None:
            keep_best(self.ended, self.setup.run_folder, self.config.keep, self.removed)
        self.view.finished(run.worker, told, self.ended)
