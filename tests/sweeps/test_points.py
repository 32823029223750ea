"""Listed settings fill the first slots of a study exactly once, whoever fills them and whatever is cut off."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers import CPU, save_image
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from studies import read_scores, study_config

from introvae.config import TrainConfig, load_preset
from introvae.errors import UserError
from introvae.runs.folder import read_config, read_metrics
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.plan import plan_trial
from sweeps.points import Point, read_points
from sweeps.run import opening, prepare, run_study, settings
from sweeps.search.pruning import FINISHED
from sweeps.search.samplers import SlotSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.trial import run_trial
from sweeps.workers.slots import DRAWN, CutOff, Filler

SPACE = Space(alpha=(0.1, 1.0), beta=(1.0, 10.0), margin_ratio=(1.0, 16.0))
POINTS = (Point(alpha=0.25, beta=2.0, margin_ratio=4.0), Point(alpha=0.5, beta=500.0), Point(m=30.0, seed=7), Point())


def values(points: tuple[Point, ...] = POINTS) -> tuple[dict[str, float], ...]:
    return tuple(point.values(1, 16) for point in points)


def test_a_file_of_points(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("\ufeffalpha, beta ,margin_ratio,seed\n0.25,,4,3\n\n,2e1,,\n", encoding="utf-8")
    assert read_points(str(path)) == (Point(alpha=0.25, margin_ratio=4.0, seed=3), Point(beta=20.0))


def test_the_shipped_comparison_is_scaled_to_the_images() -> None:
    points = read_points("beta-comparison")
    low, high = (point.values(1, 32) for point in points)
    assert low == {"alpha": 0.25, "beta": pytest.approx(9.6), "margin_ratio": 15.0, "seed": 0}
    assert high == {"alpha": 0.25, "beta": pytest.approx(144.0), "margin_ratio": 4.0, "seed": 0}
    published = [
        {"alpha": 0.25, "beta": 0.05, "m": 500.0, "seed": 0},
        {"alpha": 0.25, "beta": 0.75, "m": 1000.0, "seed": 0},
    ]
    assert [point.values(3, 256) for point in points] == published
    assert [point.values(1, 32) for point in read_points("low-beta")] == [low | {"seed": seed} for seed in range(3)]


def test_at_256_px_the_comparison_trains_the_published_settings(tmp_path: Path) -> None:
    """The presets hold the numbers of the two published pictures."""
    for index in range(20):
        save_image(tmp_path / "faces" / f"{index}.png", (256, 256), seed=index)
    given = {"data": str(tmp_path / "faces")}
    low, high = (
        TrainConfig.from_dict(load_preset(name) | given | {"channels": 3}) for name in ("seed-256-low-beta", "seed-256")
    )
    train, points = replace(high, channels=0), read_points("beta-comparison")
    setup = prepare(StudyConfig(train=train, points=points, out=tmp_path, device="cpu"))
    for slot, published in enumerate((low, high)):
        found = plan_trial(setup, slot, setup.point(slot)).config
        beta = found.warmup_beta  # of no effect without a warm-up
        assert found == replace(published, seed=0, warmup_seed=0, split_seed=0, warmup_beta=beta)
        assert found.warmup_steps == 0


def test_points_without_trials_are_the_whole_study_and_nothing_is_pruned() -> None:
    for config, expected in (
        (StudyConfig(), (50, "halving")),
        (StudyConfig(points=POINTS), (4, "none")),
        (StudyConfig(points=POINTS, trials=9), (9, "halving")),
        (StudyConfig(points=POINTS, pruner="halving"), (4, "halving")),
    ):
        assert (config.total, config.pruned_by) == expected


def test_the_opening_line_names_the_ranges_that_a_trial_draws_from(tmp_path: Path) -> None:
    setup = prepare(study_config(tmp_path, points=POINTS))
    assert opening(setup, 1) == "1 listed setting"
    assert opening(setup, 2) == "margin_ratio 1 to 16, 2 listed settings"
    assert opening(setup, 3).startswith("alpha 0.1 to 0.75, beta ")
    assert opening(setup, 3).endswith(", margin_ratio 1 to 16, 3 listed settings")
    assert opening(prepare(study_config(tmp_path)), 9).endswith(", margin_ratio 1 to 16")


class Worker:
    """Worker that fills a study's slots with trials that only draw; the first `cuts` of them are cut off."""

    def __init__(self, path: Path, total: int, cuts: int = 0, sampler: str = "tpe") -> None:
        points = values()
        sampled = SlotSampler(3, sampler, SPACE.distributions, points)
        self.study = open_study(path, {}, sampled)
        self.drawn: dict[int, dict[str, float]] = {}

        def run(trial: optuna.Trial, slot: int, reported: dict[int, float]) -> float:
            nonlocal cuts
            drawn = SPACE.suggest(trial, points[slot] if slot < len(points) else {})
            cuts -= 1
            if cuts >= 0 and cuts % 2:
                raise CutOff  # before the draws count as complete
            trial.set_user_attr(DRAWN, True)
            if cuts >= 0:
                raise CutOff
            self.drawn[slot] = drawn
            return drawn["alpha"]

        Filler(self.study, total, lambda slot: path / str(slot), run).fill(lambda study, trial: None)


def test_points_come_first_and_the_sampler_learns_from_what_lies_in_the_space(tmp_path: Path) -> None:
    worker = Worker(tmp_path / "s", 12)
    drawn, params = worker.drawn, [trial.params for trial in worker.study.trials]
    assert drawn[0] == params[0] == {"alpha": 0.25, "beta": 2.0, "margin_ratio": 4.0}
    assert drawn[1]["beta"] == 500.0 and "beta" not in params[1]  # outside of the space
    assert 1 <= drawn[1]["margin_ratio"] == params[1]["margin_ratio"] <= 16
    assert drawn[2]["m"] == 30.0 and params[2].keys() == {"alpha", "beta"}
    assert len(params) == 12 and all(p.keys() == drawn[4].keys() and len(p) == 3 for p in params[3:])


def test_points_of_a_study_that_is_cut_off_are_filled_exactly_once(tmp_path: Path) -> None:
    whole = Worker(tmp_path / "whole", 6)
    Worker(tmp_path / "cut", 2, cuts=3)
    again = Worker(tmp_path / "cut", 6, cuts=3)
    assert [again.drawn[slot] for slot in range(2, 6)] == [whole.drawn[slot] for slot in range(2, 6)]
    assert len(again.study.get_trials(states=FINISHED)) == 6
    assert len(again.study.get_trials(states=(TrialState.FAIL,))) == 6


def test_a_trial_of_a_killed_process_ends_before_any_is_drawn(tmp_path: Path) -> None:
    open_study(tmp_path / "s", {}).add_trial(optuna.create_trial(state=TrialState.RUNNING))
    assert Worker(tmp_path / "s", 2).drawn[0] == values()[0]


SCRIPT = """
import os, sys
from pathlib import Path
from test_points import Worker
first = os.fork()
Worker(Path(sys.argv[1]), 7)
sys.exit(first and os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
"""


def test_workers_that_begin_at_once_fill_each_point_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "s")], env=environment, check=True)
    study = open_study(tmp_path / "s", {})
    done = {trial.user_attrs["slot"]: trial.params for trial in study.get_trials(states=FINISHED)}
    assert sorted(done) == list(range(7)) and len(study.get_trials(states=FINISHED)) == 7
    assert done[0] == values()[0] and done[1]["alpha"] == 0.5 and "beta" not in done[1]
    assert "margin_ratio" not in done[2] and all(len(done[slot]) == 3 for slot in range(3, 7))


def run_points(out: Path, points: tuple[Point, ...], **given: Any) -> tuple[Any, optuna.Study]:
    """Run the trials of the points in a study in memory."""
    setup = prepare(study_config(out, points=points, **given))
    sampler = SlotSampler(0, "tpe", setup.space.distributions, setup.points)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(lambda trial: run_trial(trial, setup, trial.number, {}), n_trials=len(points))
    return setup, study


def test_a_point_s_seed_is_that_of_its_whole_run(tmp_path: Path) -> None:
    setup, study = run_points(tmp_path, (Point(beta=1e6, m=3.0, seed=7),))
    assert not setup.shares_warmup(1) and setup.shares_warmup(2)
    config = read_config(setup.run_folder(0))
    assert (config.beta, config.m, config.seed, config.warmup_seed) == (1e6, 3.0, 7, 7)
    assert config.images_seed == setup.config.seed == 0
    assert read_config(setup.warmup_folder(config)).seed == 7
    (trial,) = study.trials
    assert trial.user_attrs["point"] == {"beta": 1e6, "m": 3.0, "seed": 7} and trial.params.keys() == {"alpha"}
    assert read_scores(setup.run_folder(0))
    alone = Trainer(config, setup.images, tmp_path / "alone", CPU)
    alone.run()
    rows = [[list(row.items())[1:-1] for row in read_metrics(f)] for f in (setup.run_folder(0), alone.folder)]
    assert rows[0] and str(rows[0]) == str(rows[1][: len(rows[0])])


def test_other_points_are_another_study(tmp_path: Path) -> None:
    config = study_config(tmp_path, points=(Point(alpha=0.25),), trials=None)
    setup = prepare(config)
    open_study(setup.folder, settings(setup, config))
    other = study_config(tmp_path, points=(Point(alpha=0.5),), trials=None)
    difference = r"points.0: \{'alpha': 0.25\} -> \{'alpha': 0.5\}\); --study NAME begins another one"
    with pytest.raises(UserError, match=difference):
        run_study(other)
    with pytest.raises(UserError, match=r"other settings \(sampler: tpe -> random\)"):
        run_study(study_config(tmp_path, points=(Point(alpha=0.25),), trials=None, sampler="random"))


def test_a_space_that_is_one_value_leaves_points_outside_to_the_point() -> None:
    space = Space(alpha=(0.25, 0.25), beta=(1.0, 2.0), margin_ratio=(1.0, 16.0), m=(5.0, 6.0))
    study = optuna.create_study(
        sampler=SlotSampler(0, "random", space.distributions, [{"alpha": 0.5, "margin_ratio": 2}])
    )
    found = space.suggest(study.ask(), {"alpha": 0.5, "margin_ratio": 2})
    assert found["alpha"] == 0.5 and found["margin_ratio"] == 2 and "m" not in found
    assert study.trials[0].distributions == {"beta": FloatDistribution(1.0, 2.0, log=True)}
