"""The driver: the one process that owns a study. It asks for trials, has an engine run their tasks, and tells.

A trial is a chain of tasks, one for each rung, where it rests until it is promoted or left behind. A trial that was cut
off, or rests, stays RUNNING in the study, and the next driver goes on with it from its last checkpoint.
"""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import filterfalse
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from introvae.errors import StoppedError
from introvae.runs.folder import log_stamp
from introvae.runs.record import RunRecord, RunState
from sweeps.config import StudyConfig
from sweeps.disk import keep_best
from sweeps.engines.base import Engine
from sweeps.plan import Plan, Setup, plan_trial, plan_warmup, run_config
from sweeps.search.promotion import Ladder, rungs
from sweeps.search.rules import FINISHED
from sweeps.tasks.chain import Chain
from sweeps.tasks.fence import Fence
from sweeps.tasks.outcome import has_failed, tell, write_failure
from sweeps.tasks.task import Result, Task
from sweeps.view import View

DEATHS = 3  # of a trial's processes, before it counts as failed
LOOK_EVERY = 0.1  # seconds between looks at running tasks
LONGEST_LOOK = 1.0  # seconds that count between two looks, so that no task hangs because its driver did

Stop = Callable[[], bool]


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
        self.ends = [*rungs(setup.config), setup.config.steps]
        self.ladder = Ladder(self.ends[:-1] if setup.prune else [], config.total)
        for trial in filterfalse(has_failed, known):
            self.ladder.learn(trial.number, trial.intermediate_values)
        self.running: dict[int, Chain] = {}  # by worker
        self.resting: dict[int, Chain] = {}  # at rungs, by number
        self.waiting: dict[Path, list[Chain]] = {}  # by the folder of the warm-up that another trial trains
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
            late = self.config.trial_timeout is not None and run.lasted > self.config.trial_timeout
            if late or run.silent > self.config.silence:
                del self.running[run.worker]
                self.engine.kill(run.worker)
                if late:
                    self._fail(run, f"not done after {self.config.trial_timeout:g} s")
                else:
                    self._try_again(run, f"its log did not grow for {self.config.silence:g} s")

    def _look_at(self, run: Chain, elapsed: float) -> None:
        if row := run.look(elapsed):
            assert run.task
            label = "warm-up" if run.plan is None else run.task.plan.folder.name
            self.view.progress(run.worker, label, run.task.plan.config.steps, row)

    def _busy(self) -> bool:
        """Give idle workers something to do; tell whether any worker has."""
        while self.idle and not self.stopping and self._begin_next():
            pass
        return bool(self.running)

    def _begin_next(self) -> bool:
        """Give an idle worker what is most urgent; return False if nothing is before a task has ended."""
        if self.cut_off:
            self._begin(self.cut_off.pop(0))
            return True
        training = any(run.training for run in self.running.values())
        move = self.ladder.next(self.asked < self.config.total, training)
        if move == ("begin", -1):
            self.asked += 1
            self._begin()
        elif move:
            self._move(move[1], on=move[0] == "promote")
        return move is not None

    def _begin(self, known: FrozenTrial | None = None) -> None:
        """Begin a trial, or one that an earlier driver has begun; that may have come to a rung, where it rests."""
        run = Chain.begin(self.study, self.setup, self.idle[0], known)
        if rungs := [rung for rung in run.reported if rung in self.ladder.scores]:
            self._plan(run)
            self.resting[run.number] = run
            self.ladder.rest(run.number, max(rungs))
        else:
            self.idle.pop(0)
            self._advance(run)

    def _advance(self, run: Chain) -> None:
        """Submit the first task of a trial, unless another trial trains its warm-up."""
        warmup = plan_warmup(self.setup, run_config(self.setup, run.number, run.values))
        if warmup is None or warmup.folder in self.warm:
            self._submit(run, self._plan(run), self.ends[0])
        elif warmup.folder in self.waiting:
            self.waiting[warmup.folder].append(run)
        else:
            self.waiting[warmup.folder] = []
            self._submit(run, warmup, warmup.config.steps)

    def _plan(self, run: Chain) -> Plan:
        run.plan = plan_trial(self.setup, run.number, run.values)
        if not run.reported:
            run.trial.set_user_attr("m", run.plan.config.m)
        return run.plan

    def _move(self, number: int, on: bool) -> None:
        """Train a trial that rests to the next rung or to its end, or else end it where it is."""
        run, rung = self.resting.pop(number), self.ladder.resting.pop(number)
        if run.worker not in self.idle:  # which may hold the run in memory
            run.worker = self.idle[0]
        self.idle.remove(run.worker)
        assert run.plan
        if on:
            self._submit(run, run.plan, min(end for end in self.ends if end > rung))
        else:
            self._submit(run, run.plan, rung, f"score {run.reported[rung]:.3f} at step {rung}")

    def _submit(self, run: Chain, plan: Plan, until: int, pruned: str = "") -> None:
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

    def _task_ended(self, run: Chain, future: Future[Result]) -> None:
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
        if run.plan:
            seconds = time.monotonic() - run.since
            run.seconds += seconds
            if run.training:
                self.view.trained(result.step - max(run.task.since, self.setup.config.warmup_steps), seconds)
        run.reached = result.step
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

    def _go_on(self, run: Chain, plan: Plan, task: Task, result: Result) -> None:
        """Decide what follows a task of a trial."""
        if result.score is not None:
            self._report(run, task.until, result.score)
        if result.record:
            if result.step == plan.config.steps and result.record.state is not RunState.DIVERGED:
                self._report(run, result.step, result.record.optimized)
            self._tell(run, result.record)
        elif self.stopping:
            return
        elif result.score is not None and self.setup.prune:
            self.resting[run.number] = run
            self.ladder.rest(run.number, task.until)
            self._free(run)
            if self.ladder.hopeless() != run.number:  # which its end will show
                self._show(run)
        else:
            self._submit(run, plan, min(end for end in self.ends if end > task.until and end >= result.step))

    def _leave_warmup(self, run: Chain) -> None:
        """Let the trials that wait for the warm-up of a run continue: it is trained, or the run has failed."""
        assert run.task and run.fence
        run.fence.remove()
        for waiter in self.waiting.pop(run.task.plan.folder, []):
            if not self.stopping:
                self._advance(waiter)

    def _report(self, run: Chain, step: int, score: float) -> None:
        if step not in run.reported:
            run.trial.report(score, step)
            run.reported[step] = score
            self.ladder.learn(run.number, {step: score})

    def _try_again(self, run: Chain, reason: str, crashed: bool = False) -> None:
        """Begin another attempt at a task whose process is gone, unless this has happened too often."""
        assert run.task
        run.deaths += 1
        if crashed or run.deaths >= DEATHS:
            self._fail(run, reason)
        elif not self.stopping:
            run.fence = None
            self._submit(run, run.task.plan, run.task.until, run.task.pruned)

    def _fail(self, run: Chain, reason: str) -> None:
        self._tell(run, write_failure(self.setup, run, reason))

    def _free(self, run: Chain) -> None:
        if self.config.isolate:
            self.engine.kill(run.worker)
        self.idle.append(run.worker)

    def _tell(self, run: Chain, record: RunRecord) -> None:
        """Tell the study how a trial ended, and free its worker."""
        tell(self.study, self.setup, run, record)
        if run.plan is None:
            self._leave_warmup(run)
        elif run.fence:
            run.fence.remove()
        if record.state.failed:
            self.ladder.drop(run.number)
        self._free(run)
        ended = self.study.get_trials(deepcopy=False, states=FINISHED)
        if self.config.keep is not None:
            keep_best(ended, self.setup.run_folder, self.config.keep, self.removed)
        self._show(run)

    def _show(self, run: Chain) -> None:
        """Show a trial that has ended or come to a rung."""
        known = self.study.get_trials(deepcopy=False)
        done = (TrialState.COMPLETE,) if self.setup.prune else FINISHED
        ended = sum(trial.state in done for trial in known)
        left = self.ladder.steps_left(self.setup.config.warmup_steps, self.ends[-1], ended)
        self.view.shown(run.worker, known[run.number], known, left)
