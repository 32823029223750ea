"""The supervisor: it has an engine run tasks, shows how far they are, and tries again where a process is gone."""

import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace

from introvae.errors import StoppedError
from introvae.runs.folder import checkpoint_time, last_row, log_stamp
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
        idle: Workers that no trial is assigned to.
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
        self.shared = replace(setup, earlier=())  # which samplers alone need, and each task would carry
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

    def submit(self, chain: Chain, plan: Plan, until: int, pruned: str = "") -> None:
        """Have the worker of a trial begin its next task."""
        if chain.fence is None or chain.fence.path.parent != plan.folder:
            chain.fence, chain.reached = Fence.claim(plan.folder), 0
        chain.task = Task(
            setup=self.shared, plan=plan, until=until, attempt=chain.fence.attempt, device=self.config.device,
            processes=self.config.processes_per_trial, reached=chain.reached, reported=dict(chain.reported),
            pruned=pruned,
        )  # fmt: skip
        chain.log, chain.sign = log_stamp(plan.folder), chain.fence.sign()
        logged = last_row(plan.folder) or {"step": 0}  # an earlier driver may have trained it part of the way
        chain.start = max(self.setup.config.warmup_steps, *chain.reported, int(logged["step"]))
        chain.silent, chain.submitted = 0.0, time.monotonic()
        chain.begun = not self.engine.queues
        self.running[chain.worker] = chain
        chain.future = self.engine.submit(chain.worker, chain.task)

    def assign(self, chain: Chain) -> None:
        """Give a trial that has none a worker, the one that ran it last if that is idle: it may hold the run."""
        if chain.worker not in self.idle:
            chain.worker = self.idle[0]
        self.idle.remove(chain.worker)

    def free(self, chain: Chain) -> None:
        """Make a trial's worker available to other trials."""
        if self.config.isolate:
            self.engine.kill(chain.worker)
        self.idle.append(chain.worker)

    def wait(self) -> None:
        """Wait for a moment, or until tasks have ended, and pass on what they return."""
        futures = {chain.future: chain for chain in self.running.values() if chain.future}
        for future in wait(futures, LOOK_EVERY, FIRST_COMPLETED).done:
            self._collect(futures[future], future)
        self.look()

    def look(self) -> None:
        """Ask tasks to stop if that is due, show how far they are, and end those that hang. Call it often."""
        if self.stopping and not self.told:
            self.told = True
            for chain in self.running.values():
                if chain.fence:
                    chain.fence.stop()
        now = time.monotonic()
        if now - self.looked < LOOK_EVERY:
            return
        elapsed, self.looked = min(now - self.looked, LONGEST_LOOK), now
        for chain in list(self.running.values()):
            self._look_at(chain, elapsed)
            late = self.config.trial_timeout is not None and chain.lasted > self.config.trial_timeout
            if late or chain.silent > self.config.silence:
                del self.running[chain.worker]
                self.engine.kill(chain.worker)
                if late:
                    self.failed(chain, f"not done after {self.config.trial_timeout:g} s")
                else:
                    self._try_again(chain, f"its log did not grow for {self.config.silence:g} s")

    def _look_at(self, chain: Chain, elapsed: float) -> None:
        if row := chain.look(elapsed):
            assert chain.task
            label = "warm-up" if chain.plan is None else chain.task.plan.folder.name
            self.view.progress(chain.worker, label, chain.task.plan.config.steps, row)

    def _collect(self, chain: Chain, future: Future[Result]) -> None:
        del self.running[chain.worker]
        assert chain.task
        self._look_at(chain, 0.0)
        try:
            result = future.result()
        except Exception as error:
            try:
                reason, crashed = self.engine.died(chain.worker, error)
                self._try_again(chain, f"its process died ({reason})", crashed)
            except StoppedError as stopped:
                self.error = self.error or stopped
            return
        if chain.plan and chain.training:
            self.pace.trained(*chain.trained(result.step, time.monotonic() - chain.submitted))
        chain.reached = result.step
        self.view.say(result.said)
        if result.error:
            self.error = self.error or result.error
        elif result.reason:
            self.engine.kill(chain.worker)  # after an error of CUDA its process is of no further use
            if not self.stopping:  # by which its processes may have been hit
                self.failed(chain, result.reason)
        else:
            self.ended(chain, result)

    def _try_again(self, chain: Chain, reason: str, crashed: bool = False) -> None:
        """Begin another attempt at a task whose process is gone, unless this has happened too often in one place."""
        assert chain.task
        saved = checkpoint_time(chain.task.plan.folder)
        chain.deaths = chain.deaths + 1 if saved == chain.saved else 1
        chain.saved = saved
        if crashed or chain.deaths >= DEATHS:
            self.failed(chain, reason)
        elif not self.stopping:
            chain.fence = None
            self.submit(chain, chain.task.plan, chain.task.until, chain.task.pruned)
