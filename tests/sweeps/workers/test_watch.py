"""Phases of a study's time, by the monotonic clock, kept with each trial and summed over all of them."""

import time

import optuna
import pytest

from introvae.training.metrics import COLUMNS
from introvae.training.trainer import Trainer
from sweeps.workers.watch import PHASES, Message, Progress, Watch, breakdown


class Clock:
    """Replacement for time.monotonic."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


def test_each_second_belongs_to_one_phase(clock: Clock) -> None:
    watch = Watch(began=990.0)
    for phase, seconds in (("scoring", 3), ("study", 2), ("scoring", 1), ("results", 4)):
        watch.enter(phase)
        clock.now += seconds
    assert watch.take() == {"start": 10, "scoring": 4, "study": 2, "results": 4}
    clock.now += 5
    assert watch.take() == {"study": 5}  # what passes between two trials


def test_steps_are_told_from_the_log_and_checkpoints_beside_them(trained: Trainer, clock: Clock) -> None:
    shown: list[Message] = []
    watch = Watch(shown.append)
    trained.state.step = 10
    on_log = watch.follow("trial-003", trained)
    watch.enter("keeping")
    for step in (14, 18, 20):
        clock.now += 3
        on_log(dict.fromkeys(COLUMNS, 1.0) | {"step": step, "images_per_second": 16.0})
    assert watch.take() == {"start": 0, "training": 5, "keeping": 4}  # 10 steps of 8 images; 9 seconds passed
    assert [(m.label, m.step, m.steps) for m in shown if isinstance(m, Progress)] == [
        ("trial-003", 14, 20), ("trial-003", 18, 20), ("trial-003", 20, 20),
    ]  # fmt: skip


def test_rows_are_shown_ten_times_a_second_at_most_and_the_last_always(trained: Trainer, clock: Clock) -> None:
    shown: list[Message] = []
    trained.state.step = 0
    on_log = Watch(shown.append).follow("trial-003", trained)
    for step in range(1, 21):
        clock.now += 0.03
        on_log(dict.fromkeys(COLUMNS, 1.0) | {"step": step})
    assert [m.step for m in shown if isinstance(m, Progress)] == [1, 5, 9, 13, 17, 20]


def test_a_breakdown_sums_all_trials_in_seconds_and_per_cent() -> None:
    study = optuna.create_study()
    assert breakdown(study) == ""
    for seconds in ({"training": 30.0, "start": 2.0}, {"training": 60.0, "scoring": 8.0}):
        study.add_trial(optuna.create_trial(value=1.0, user_attrs={"seconds": seconds}))
    study.ask()
    line = breakdown(study)
    assert line.startswith("time of the workers: 100 s; steps 90.0 s (90.0%), warm-up 0.0 s (0.0%), rungs 8.0 s (8.0%)")
    assert "start 2.0 s (2.0%)" in line and line.count("%") == len(PHASES)
