"""Cost of a trial beyond its steps and its scores, in studies of 10 and of 1,000 trials, and of a rung as a task.

    python benchmarks/speed/study.py [--trials N] [--profile]

trial: a driver fills the study, in SQLite on this disk, as that of introvae-sweep does: three parameters, a task and a
    score for each rung and for the end, to which all trials come, attributes, a constraint, a picture for dashboards,
    checkpoints of the best, the best so far. The worker trains and scores nothing; it leaves a record, a checkpoint of
    no content and a picture. The first trial, which reads the study, is left out. Shown are medians of the others: wall
    time, and processor time; and the same where the driver reads the study by Optuna's storage, without `OwnedStorage`.
decision: which of as many trials at rest goes on, by forecasts, after another score.
rung: a worker that holds nothing but the images runs a task whose step a checkpoint has reached already, with the
    default networks at 32 px and one thread; and the same task again, with the run in memory, so that its score alone
    is left.
"""

import argparse
import cProfile
import pstats
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise, product
from pathlib import Path

import optuna
import torch
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from introvae.config import TrainConfig
from introvae.runs.folder import CHECKPOINT, MetricsLog
from introvae.runs.pictures import write_picture
from introvae.runs.record import RunRecord, RunState, Scores, write_record
from introvae.training.metrics import COLUMNS
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.driver import Driver
from sweeps.engines.local import InlineEngine
from sweeps.plan import Plan, Setup
from sweeps.run import prepare
from sweeps.search.promotion import Promotion, rungs_of
from sweeps.search.samplers import NumberedSampler
from sweeps.study import OwnedStorage, open_study
from sweeps.tasks.chain import TRAINED
from sweeps.tasks.fence import Fence
from sweeps.tasks.outcome import FINISHED
from sweeps.tasks.task import Result, Task, Worker
from sweeps.view import View

SIZES = (10, 1000)  # trials before those that are timed
KEPT = 5
REACHED = 20  # steps of the run at whose rung the score is taken
TILES = torch.rand(12, 1, 32, 32, generator=torch.Generator().manual_seed(0))


class Idle(Worker):
    """Worker that leaves what a task leaves, and trains nothing."""

    def run(self, task: Task) -> Result:
        folder, config = task.plan.folder, task.plan.config
        Fence(folder, task.attempt)()
        self.look()
        score = random.Random(folder.name).random()
        if task.until < config.steps and not task.pruned:
            return Result(step=task.until, score=score * task.until / config.steps)
        state = RunState.PRUNED if task.pruned else RunState.COMPLETE
        record = RunRecord(
            state=state, reason=task.pruned, scores=Scores(score=score), weights=task.setup.weights, optimized=score
        )
        (folder / CHECKPOINT).touch()
        write_picture(folder, task.until, (TILES, TILES, TILES))
        write_record(folder, record)
        return Result(step=task.until, record=record)


class Times(View):
    """Quiet view that notes when trials end, in seconds and in those of the processor."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.ends: list[tuple[float, float]] = []

    def trial(self, worker: int, trial: FrozenTrial) -> None:
        super().trial(worker, trial)
        if trial.state in FINISHED:
            self.ends.append((time.perf_counter(), time.process_time()))


def earlier(setup: Setup, number: int) -> FrozenTrial:
    """Return a trial as a driver leaves it; one in four is complete."""
    rng = random.Random(number)
    score, complete = rng.random(), number % 4 == 0
    bounds, steps = setup.space.to_dict(), setup.config.steps
    return optuna.create_trial(
        state=TrialState.COMPLETE if complete else TrialState.PRUNED,
        value=score,
        params={name: rng.uniform(low, high) for name, (low, high) in bounds.items()},
        distributions={name: FloatDistribution(low, high, log=True) for name, (low, high) in bounds.items()},
        user_attrs={"m": 50.0, "outcome": "complete", TRAINED: [steps, 1.0]},
        intermediate_values={rung: score * rung / steps for rung in (*rungs_of(setup.config), steps)},
    )


def setup_of(out: Path, before: int, trials: int) -> tuple[Setup, StudyConfig]:
    """Return a study of the default settings, without pruning, whose warm-up has left its log."""
    config = StudyConfig(
        trials=before + trials, keep=KEPT, out=out, study=f"study-{before}", pruner="none", device="cpu", quiet=True
    )
    setup, _ = prepare(config)
    warmup, train = setup.warmup_folder(setup.config), setup.config
    warmup.mkdir(parents=True)
    steps = range(train.log_every, train.warmup_steps + 1, train.log_every)
    MetricsLog(warmup, COLUMNS, [dict.fromkeys(COLUMNS, 10.0) | {"step": step} for step in steps])
    (warmup / CHECKPOINT).touch()
    return setup, config


def fill(out: Path, before: int, trials: int, profile: bool = False, owned: bool = True) -> list[tuple[float, float]]:
    """Return the seconds that each of the trials after the first took, and those of the processor."""
    setup, config = setup_of(out, before, trials + 1)
    open_study(setup.folder, {}).add_trials([earlier(setup, number) for number in range(before)])
    study = open_study(
        setup.folder, {}, NumberedSampler(0, config.sampler, setup.space.distributions)
    )  # as a new process would
    if not owned:
        storage = study._storage
        assert isinstance(storage, OwnedStorage)
        study = optuna.load_study(study_name=study.study_name, storage=storage.database, sampler=study.sampler)
    view = Times()
    with view, profiled(profile):
        Driver(setup, config, study, view, InlineEngine(Idle())).fill()
    return [(end[0] - start[0], end[1] - start[1]) for start, end in pairwise(view.ends)]


@contextmanager
def profiled(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    with cProfile.Profile() as profile:
        yield
    pstats.Stats(profile).sort_stats("cumulative").print_stats(40)


def decision(before: int, rounds: int) -> float:
    """Return the median seconds in which it is decided which of so many trials goes on."""
    rng, times = random.Random(0), []
    promotion = Promotion(0, (50, 200, 400, 800), 1600)
    for number in range(before + rounds):
        promotion.learn(number, [rng.random() for _ in range(3)], {50: rng.random()})
        promotion.rest(number, 50)
        if number >= before:
            start = time.perf_counter()
            assert promotion.next(number, more=False, training=False, spent=0)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def rung(out: Path, rounds: int) -> tuple[float, float]:
    """Return the median seconds of a task at a rung that is reached: with the run on disk, and in memory."""
    torch.set_num_threads(1)
    train = TrainConfig(channels=1, warmup_steps=0, log_every=1, checkpoint_every=REACHED, picture_every=REACHED)
    setup, images = prepare(StudyConfig(train=train, pruner="none", out=out, device="cpu", study="rung"))
    plan = Plan(config=setup.config, folder=setup.run_folder(0), vae_kl=20.0)
    Trainer(plan.config, images, plan.folder, torch.device("cpu")).run(REACHED)
    attempt = Fence.claim(plan.folder).attempt
    first, again = (
        Task(setup=setup, plan=plan, until=REACHED, attempt=attempt, device="cpu", reached=reached)
        for reached in (0, REACHED)
    )
    pairs = []
    for _ in range(rounds):
        worker = Worker(images=images)
        pairs.append((timed(worker, first), timed(worker, again)))
    on_disk, in_memory = (statistics.median(column) for column in zip(*pairs, strict=True))
    return on_disk, in_memory


def timed(worker: Worker, task: Task) -> float:
    start = time.perf_counter()
    result = worker.run(task)
    assert result.step == REACHED and result.score is not None, result
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30, metavar="N", help="trials, and rungs, to time [30]")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        medians = []
        for before, owned in product(SIZES, (True, False)):
            times = fill(Path(name) / str(owned), before, args.trials, args.profile, owned)
            wall, processor = (1000 * statistics.median(column) for column in zip(*times, strict=True))
            by = "" if owned else " by Optuna's storage"
            print(f"trial{by}, {before:5d} known: {wall:4.0f} ms, processor {processor:4.0f} ms", flush=True)
            if owned:
                medians.append(wall)
        print(f"growth: {medians[1] / medians[0]:.1f}x")
        decisions = [1000 * decision(before, args.trials) for before in SIZES]
        print(f"decision: {decisions[0]:.0f} ms among {SIZES[0]}, {decisions[1]:.0f} ms among {SIZES[1]}")
        milliseconds = [1000 * seconds for seconds in rung(Path(name), args.trials)]
        print("rung as a task: {:.0f} ms from a checkpoint, {:.0f} ms with the run in memory".format(*milliseconds))


if __name__ == "__main__":
    main()
