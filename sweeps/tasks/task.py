"""Tasks: the links of a trial's chain. Each trains a run from its last checkpoint to a step, scores it, and returns."""

from collections.abc import Callable, Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass, field, replace
from io import StringIO

import torch

from analysis.evaluate import finish
from analysis.measures.collapse import image_collapse
from analysis.measures.score import score_images, weighted
from analysis.outputs import MOST_AT_RUNGS, outputs_of, scored_images
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import DivergedError, OutOfMemoryError, StoppedError, UserError, is_out_of_memory
from introvae.runs.folder import last_row
from introvae.runs.record import RUNGS, RunRecord, RunState
from introvae.training.device import find_device, tune_process
from introvae.training.trainer import Trainer
from sweeps.plan import Plan, Setup
from sweeps.search.rules import Rules, Stopped
from sweeps.tasks.fence import Fence
from sweeps.tasks.together import train_together


@dataclass(frozen=True, kw_only=True)
class Task:
    """One link of the chain of tasks that a trial, or a warm-up, is.

    Attributes:
        setup: What the trials of the study share.
        plan: What to train, where, and from which warm-up.
        until: The step to reach.
        attempt: The attempt at the run that this task belongs to; see `Fence`.
        device: Name of the device, as `find_device` takes it.
        threads: Threads of the CPU; PyTorch's default if None.
        processes: Processes that train the run together.
        reached: The step that the attempt has reached; 0 for its first task. A worker that still holds the run there
            need not read its checkpoint.
        reported: Scores of the trial that its study knows, by step.
        pruned: Reason for which the run, which has reached `until`, is ended as pruned; "" to train it.
    """

    setup: Setup
    plan: Plan
    until: int
    attempt: str
    device: str
    threads: int | None = None
    processes: int = 1
    reached: int = 0
    reported: Mapping[int, float] = field(default_factory=dict)
    pruned: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Result of a task.

    Attributes:
        step: The step that the run has reached; less than asked for if the task was told to stop.
        score: Score at a rung by which trials are compared; None where there is nothing to compare.
        kl: KL of real images at that rung in nats, as the log has it.
        record: The run's record, once it has ended.
        reason: Why the trial is to count as failed, such as a lack of memory; "" if it is not.
        error: An exception that ends the study.
        said: Lines for stderr.
    """

    step: int = 0
    score: float | None = None
    kl: float | None = None
    record: RunRecord | None = None
    reason: str = ""
    error: Exception | None = None
    said: str = ""


class Worker:
    """Worker that runs tasks one after another; it keeps the images, and the run of the last task, in memory.

    Args:
        images: The images of the study, if they have been loaded.

    Attributes:
        look: Called at each log of a training; set for a worker in the driver's own process.
    """

    look: Callable[[], None]

    def __init__(self, images: ImageSet | None = None) -> None:
        self.look, self.images = lambda: None, images
        self.held: tuple[Trainer, Rules, str] | None = None

    def prepare(self, setup: Setup, device: str, threads: int | None) -> torch.device:
        """Set this process up, and load the images if they are not there.

        Raises:
            UserError: If they are not those of the study.
        """
        if threads:
            torch.set_num_threads(threads)
        found = find_device(device)
        if self.images is None:
            tune_process(found)
            with redirect_stderr(StringIO()):  # the driver has shown progress and warnings
                images = load_images(**setup.config.images)
            if setup.images not in ("", images.fingerprint):
                raise UserError(
                    "the images are no longer those of the study; restore them, then rerun the same command"
                )
            self.images = images.to(found)
        return found

    def run(self, task: Task) -> Result:
        """Run a task; whatever goes wrong is part of its result."""
        try:
            result = self._run(task)
        except OutOfMemoryError as error:
            result = Result(reason=str(error))
        except (RuntimeError, MemoryError) as error:
            reason = "out of memory while scoring images" if is_out_of_memory(error) else _one_line(error)
            result = Result(error=error) if isinstance(error, StoppedError) else Result(reason=reason)
        except Exception as error:
            result = Result(error=error)
        if result.score is None or result.record:  # the next task is another run's
            self.held = None
        return result

    def _run(self, task: Task) -> Result:
        plan, setup = task.plan, task.setup
        fence = Fence(plan.folder, task.attempt)
        fence()
        fence.begin()
        trainer, state, reason = self._train(task, fence)
        score = None
        if state is RunState.COMPLETE:
            if fence() or trainer.step > task.until or plan.vae_kl is None:
                return Result(step=trainer.step)
            if task.until < plan.config.steps:
                score, collapse = self._compare(trainer, setup)
                if not (collapse and setup.prune):
                    log = last_row(plan.folder)
                    assert log
                    return Result(step=trainer.step, score=score, kl=log["kl_real"])
                state, reason = RunState.COLLAPSED, f"{collapse} at step {task.until}"
        if plan.vae_kl is None:  # the runs that start from a warm-up that diverged do so as well, and show it
            return Result(step=trainer.step)
        diverged = state is RunState.DIVERGED
        fence()
        if not diverged:
            trainer.write_picture()
        record = finish(
            plan.folder, plan.config, trainer.images, None if diverged else trainer.evaluated, state=state,
            reason=reason, weights=setup.weights, spectrum=setup.spectrum, vae_kl=plan.vae_kl,
            further=_rung_scores(task, score), guard=fence,
        )  # fmt: skip
        return Result(step=trainer.step, score=score, record=record)

    def _train(self, task: Task, fence: Fence) -> tuple[Trainer, RunState, str]:
        """Train to the task's step; return the run, and how and why it ended, if it has."""
        plan = task.plan

        def stop() -> bool:
            self.look()
            return fence()

        diverged = None
        if task.processes > 1 and not task.pruned:
            self.held = None
            self.prepare(task.setup, task.device, task.threads)
            try:
                train_together(plan, task.until, task.attempt, task.device, task.processes)
            except DivergedError as error:
                diverged = error
        trainer, rules = self._trainer(task)
        judge = rules if task.setup.prune and plan.vae_kl is not None else None
        if task.pruned:
            return trainer, RunState.PRUNED, task.pruned
        try:
            if diverged:
                raise diverged
            for row in trainer.begun_with if judge else ():
                rules(row)
            if task.processes == 1:
                trainer.run(task.until, judge, stop)
        except Stopped as stopped:
            return trainer, stopped.state, str(stopped)
        except DivergedError as error:
            return trainer, RunState.DIVERGED, str(error)
        return trainer, RunState.COMPLETE, ""

    def _trainer(self, task: Task) -> tuple[Trainer, Rules]:
        """Return the run of a task, held from the task before or read from its checkpoint."""
        device = self.prepare(task.setup, task.device, task.threads)
        assert self.images
        plan = task.plan
        if self.held:
            trainer, rules, attempt = self.held
            if (trainer.folder, trainer.step, attempt) == (plan.folder, task.reached, task.attempt):
                return trainer, rules
        self.held = None  # before its memory is needed
        trainer = Trainer(plan.config, self.images, plan.folder, device, plan.warmup)
        rules = Rules(plan.config, plan.vae_kl or 0.0)
        self.held = trainer, rules, task.attempt
        return trainer, rules

    def _compare(self, trainer: Trainer, setup: Setup) -> tuple[float, str]:
        """Return the score by which runs are compared at a rung, and how the images have collapsed, if they have."""
        assert self.images
        real = scored_images(self.images, MOST_AT_RUNGS)
        outputs = outputs_of(trainer.evaluated, real)
        scores = score_images(outputs.real, outputs.reconstructions, outputs.samples)
        collapse = image_collapse(real, outputs.reconstructions, outputs.samples)
        return weighted(vars(scores), setup.weights), collapse


def _rung_scores(task: Task, score: float | None) -> dict[str, list[tuple[int, float]]]:
    """Return the scores of a trial at rungs, that of this task's step among them, as a measure."""
    scores = dict(task.reported) | ({} if score is None else {task.until: score})
    pairs = [(step, scores[step]) for step in sorted(scores) if step < task.plan.config.steps]
    return {RUNGS: pairs} if pairs else {}


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


WORKER = Worker()
"""The worker of a process that has no other purpose."""


def prepare_process(setup: Setup, device: str, threads: int | None) -> None:
    """Prepare this process's worker for its first task."""
    WORKER.prepare(setup, device, threads)


def run_task(task: Task) -> Result:
    """Run a task by this process's worker; lines that it writes to stderr are part of the result."""
    with redirect_stderr(StringIO()) as said:
        result = WORKER.run(task)
    return replace(result, said=said.getvalue())
