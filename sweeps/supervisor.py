"""The supervisor: it has an engine run tasks, shows how far they are, and tries again where a process is gone."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace

from introvae.errors import StoppedError
from introvae.runs.folder import checkpoint_time, log_stamp
from sweeps.config import StudyConfig
from sweeps.engines.base import Engine
from sweeps.plan import Plan, Setup
from sweeps.search.budget import Pace
from sweeps.tasks.chain import Chain
from sweeps.tasks.fence import Fence
from sweeps.tasks.task import Result, Task
from sweeps.view import View

DEATHS = 3  # of a trial's processes without a further checkpoint, before it counts as failed
LOOK_EVERY = 0.1  # seconds between looks at running tasks
LONGEST_LOOK = 1.0  # seconds that count between two looks, so that no task hangs because its driver did


class Supervisor:
    """Supervisor of tasks.

    Args:
        engine: The engine.
        setup: What the trials of the study share.
        config: The study's configuration.
        view: Shows what happens.
        stop: Returns true once running tasks are to write a checkpoint and leave.
        ended: Called with a trial whose task has returned, and what it returned.
        failed: Called with a trial that is to count as failed, and the reason.

    Attributes:
        idle: Workers that nobody has a claim on.
        running: The trials under way, by worker.
        error: An error that lies outside the trials, and ends the study.
        pace: Speed of what has been trained after warm-ups.
    """

    def __init__(
        self,
        engine: Engine,
        setup: Setup,
        config: StudyConfig,
        view: View,
        stop: Callable[[], bool],
        ended: Callable[[Chain, Result], None],
        failed: Callable[[Chain, str], None],
    ) -> None:
        self.engine, self.setup, self.config, self.view = engine, setup, config, view
        self.shared = replace(setup, known=())  # which samplers alone need, and each task would carry
        self.stop, self.ended, self.failed = stop, ended, failed
        self.idle = list(range(engine.capacity))
        self.running: dict[int, Chain] = {}
        self.error: Exception | None = None
        self.pace = Pace(engine.capacity)
        self.told = False
        self.looked = time.monotonic()
        engine.look = self.look

    @property
    def stopping(self) -> bool:
        """True once no further task is to begin."""
        return self.told or self.error is not None or self.stop()

    def submit(self, run: Chain, plan: Plan, until: int, pruned: str = "") -> None:
        """Have the worker of a trial begin its next task."""
        if run.fence is None or run.fence.path.parent != plan.folder:
            run.fence, run.reached = Fence.claim(plan.folder), 0
        run.task = Task(
            setup=self.shared, plan=plan, until=until, attempt=run.fence.attempt, device=self.config.device,
            processes=self.config.processes_per_trial, since=run.reached, reported=dict(run.reported),
            pruned=pruned,
        )  # fmt: skip
        run.log, run.sign = log_stamp(plan.folder), run.fence.sign()
        run.silent, run.since = 0.0, time.monotonic()
        run.begun = not self.engine.queues
        self.running[run.worker] = run
        run.future = self.engine.submit(run.worker, run.task)

    def claim(self, run: Chain) -> None:
        """Give a trial that has none a worker, the one that ran it last if that is idle: it may hold the run."""
        if run.worker not in self.idle:
            run.worker = self.idle[0]
        self.idle.remove(run.worker)

    def free(self, run: Chain) -> None:
        """Make a trial's worker available to other trials."""
        if self.config.isolate:
            self.engine.kill(run.worker)
        self.idle.append(run.worker)

    def wait(self) -> None:
        """Wait for a moment, or until tasks have ended, and pass on what they return."""
        futures = {run.future: run for run in self.running.values() if run.future}
        for future in wait(futures, LOOK_EVERY, FIRST_COMPLETED).done:
            self._task_ended(futures[future], future)
        self.look()

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
                    self.failed(run, f"not done after {self.config.trial_timeout:g} s")
                else:
                    self._try_again(run, f"its log did not grow for {self.config.silence:g} s")

    def _look_at(self, run: Chain, elapsed: float) -> None:
        if row := run.look(elapsed):
            assert run.task
            label = "warm-up" if run.plan is None else run.task.plan.folder.name
            self.view.progress(run.worker, label, run.task.plan.config.steps, row)

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
                begin = max(run.reported, default=self.setup.config.warmup_steps)
                self.pace.trained(max(0, result.step - begin), seconds)
        run.reached = result.step
        self.view.say(result.said)
        if result.error:
            self.error = self.error or result.error
        elif result.reason:
            self.engine.kill(run.worker)  # after an error of CUDA its process is of no further use
            if not self.stopping:  # by which its processes may have been hit
                self.failed(run, result.reason)
        else:
            self.ended(run, result)

    def _try_again(self, run: Chain, reason: str, crashed: bool = False) -> None:
        """Begin another attempt at a task whose process is gone, unless this has happened too often in one place."""
        assert run.task
        saved = checkpoint_time(run.task.plan.folder)
        run.deaths = run.deaths + 1 if saved == run.saved else 1
        run.saved = saved
        if crashed or run.deaths >= DEATHS:
            self.failed(run, reason)
        elif not self.stopping:
            run.fence = None
            self.submit(run, run.task.plan, run.task.until, run.task.pruned)
