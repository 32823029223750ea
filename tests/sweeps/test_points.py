"""Listed settings are those of the first trials of a study, whichever worker runs them and whatever is cut off."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import optuna
import pytest
from driven import Drawing, alpha_of, complete, drawn_study, run_trials
from helpers import CPU, save_image
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState
from studies import read_scores, study_config

from introvae.config import TrainConfig
from introvae.errors import UserError
from introvae.presets import load_preset
from introvae.runs.folder import read_config, read_metrics
from introvae.training.trainer import Trainer
from sweeps.config import StudyConfig
from sweeps.engines.local import InlineEngine
from sweeps.plan import plan_trial
from sweeps.points import Point, read_points, settings_of
from sweeps.run import opening, prepare, run_study, settings
from sweeps.search.samplers import NumberedSampler
from sweeps.search.space import Space
from sweeps.study import open_study
from sweeps.tasks.task import Result, Task, Worker

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
    low, high = (point.values(1, 32) for point in points[:2])
    assert low == {"alpha": 0.25, "beta": pytest.approx(9.6), "margin_ratio": 15.0, "seed": 0}
    assert high == {"alpha": 0.25, "beta": pytest.approx(144.0), "margin_ratio": 4.0, "seed": 0}
    pair = ({"alpha": 0.25, "beta": 0.05, "m": 500.0}, {"alpha": 0.25, "beta": 0.75, "m": 1000.0})
    assert [point.values(3, 256) for point in points] == [one | {"seed": seed} for seed in range(3) for one in pair]


def test_at_32_px_the_comparison_has_margins_by_measured_vaes() -> None:
    points = [point.values(1, 32) for point in read_points("beta-comparison-32px")]
    scaled = [point.values(1, 32) for point in read_points("beta-comparison")]
    for found, rule, kl in zip(points, scaled, 3 * (13.4, 97.9), strict=True):
        assert found["beta"] == pytest.approx(rule["beta"]) and found["seed"] == rule["seed"]
        assert found["m"] / kl == pytest.approx(rule["margin_ratio"], rel=0.005)
    assert settings_of("beta-comparison-32px") == settings_of("beta-comparison")


def test_at_256_px_the_comparison_trains_the_published_settings(tmp_path: Path) -> None:
    """The presets hold the numbers of the two published pictures."""
    for index in range(20):
        save_image(tmp_path / "faces" / f"{index}.png", (256, 256), seed=index)
    given = {"data": str(tmp_path / "faces")}
    low, high = (
        TrainConfig.from_dict(load_preset(name) | given | {"channels": 3}) for name in ("seed-256-low-beta", "seed-256")
    )
    train, points = replace(high, channels=0), read_points("beta-comparison")
    setup, _ = prepare(StudyConfig(train=train, points=points, out=tmp_path, device="cpu"))
    for number, published in enumerate(3 * (low, high)):
        found = plan_trial(setup, number, setup.point(number)).config
        beta, seed = found.warmup_beta, number // 2  # without a warm-up its beta is of no effect
        assert found == replace(published, seed=seed, warmup_seed=seed, split_seed=0, warmup_beta=beta)
        assert found.warmup_steps == 0


def test_points_without_trials_are_the_whole_study_and_nothing_is_pruned() -> None:
    for config, expected in (
        (StudyConfig(), (50, "forecast")),
        (StudyConfig(points=POINTS), (4, "none")),
        (StudyConfig(points=POINTS, trials=9), (9, "forecast")),
        (StudyConfig(points=POINTS, pruner="forecast"), (4, "forecast")),
    ):
        assert (config.total, config.pruned_by) == expected


def test_the_opening_line_names_the_ranges_that_a_trial_draws_from(tmp_path: Path) -> None:
    setup, _ = prepare(study_config(tmp_path, points=POINTS))
    assert opening(setup, 1) == "1 listed setting"
    assert opening(setup, 2) == "margin_ratio 1 to 16, 2 listed settings"
    assert opening(setup, 3).startswith("alpha 0.1 to 0.75, beta ")
    assert opening(setup, 3).endswith(", margin_ratio 1 to 16, 3 listed settings")
    assert opening(prepare(study_config(tmp_path))[0], 9).endswith(", margin_ratio 1 to 16")


class Killed(BaseException):
    """End of a driver's process."""


class Study:
    """Study of listed settings whose trials only draw; its process ends amid task number `killed_at`."""

    def __init__(self, path: Path, total: int, killed_at: int = 0, engine: type[InlineEngine] = InlineEngine) -> None:
        self.drawn: dict[int, TrainConfig] = {}

        def judge(task: Task) -> Result:
            self.drawn[int(task.plan.folder.name.removeprefix("trial-"))] = task.plan.config
            if len(self.drawn) == killed_at:
                raise Killed
            return complete(task, alpha_of(task))

        try:
            drawn_study(path, SPACE, total, engine(Drawing(judge)), values(), seed=3)
        except Killed:
            assert killed_at
        self.trials = open_study(path, {}).trials
        self.params = [trial.params for trial in self.trials]


def test_points_come_first_and_the_sampler_learns_from_what_lies_in_the_space(tmp_path: Path) -> None:
    study = Study(tmp_path / "s", 12)
    drawn, params = study.drawn, study.params
    assert params[0] == {"alpha": 0.25, "beta": 2.0, "margin_ratio": 4.0}
    assert (drawn[0].alpha, drawn[0].beta) == (0.25, 2.0)
    assert drawn[1].beta == 500.0 and "beta" not in params[1]  # outside of the space
    assert params[1]["alpha"] == 0.5 and 1 <= params[1]["margin_ratio"] <= 16
    assert drawn[2].m == 30.0 and params[2].keys() == {"alpha", "beta"}
    assert len(params) == 12 and all(p.keys() == {"alpha", "beta", "margin_ratio"} for p in params[3:])
    assert [trial.user_attrs.get("point") for trial in study.trials[:4]] == [*values()[:3], None]


def test_points_of_a_study_that_is_cut_off_are_filled_exactly_once(tmp_path: Path) -> None:
    whole = Study(tmp_path / "whole", 6)
    for killed_at in (1, 2, 3, 1):
        assert Study(tmp_path / "cut", 6, killed_at).trials[-1].state == TrialState.RUNNING
    again = Study(tmp_path / "cut", 6)
    assert again.params == whole.params and len(again.drawn) < 6
    assert [trial.state for trial in again.trials] == [TrialState.COMPLETE] * 6
    assert [trial.user_attrs["m"] for trial in again.trials] == [trial.user_attrs["m"] for trial in whole.trials]


def test_a_process_that_is_killed_before_its_first_draw_leaves_the_point_to_the_next(tmp_path: Path) -> None:
    open_study(tmp_path / "s", {}).add_trial(optuna.create_trial(state=TrialState.RUNNING))
    study = Study(tmp_path / "s", 2)
    assert study.params[0] == study.trials[0].user_attrs["point"] == values()[0]
    assert [(trial.number, trial.state) for trial in study.trials] == [
        (number, TrialState.COMPLETE) for number in range(2)
    ]


class Threads(InlineEngine):
    """Engine whose three workers are threads; the first task of each begins once all three are there."""

    capacity = 3

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker)
        self.threads, self.gate, self.submitted = ThreadPoolExecutor(3), Barrier(3), 0

    def submit(self, worker: int, task: Task) -> "Future[Result]":
        self.submitted += 1
        return self.threads.submit(self._run, task, self.submitted <= 3)

    def _run(self, task: Task, first: bool) -> Result:
        if first:
            self.gate.wait(60)
        return self.worker.run(task)

    def close(self) -> None:
        self.threads.shutdown()


def test_workers_that_begin_at_once_fill_each_point_once(tmp_path: Path) -> None:
    study = Study(tmp_path / "s", 7, engine=Threads)
    done = study.params
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 7
    assert done[0] == values()[0] and done[1]["alpha"] == 0.5 and "beta" not in done[1]
    assert "margin_ratio" not in done[2] and all(len(params) == 3 for params in done[3:])


@pytest.mark.slow
def test_a_point_s_seed_is_that_of_its_whole_run(tmp_path: Path) -> None:
    setup, images, study = run_trials(study_config(tmp_path, points=(Point(beta=1e6, m=3.0, seed=7),), trials=None))
    config = read_config(setup.run_folder(0))
    assert list((setup.folder / ".warmup").iterdir()) == [setup.warmup_folder(config)]
    assert (config.beta, config.m, config.seed, config.warmup_seed) == (1e6, 3.0, 7, 7)
    assert config.images_seed == setup.config.seed == 0
    assert read_config(setup.warmup_folder(config)).seed == 7
    (trial,) = study.trials
    assert trial.user_attrs["point"] == {"beta": 1e6, "m": 3.0, "seed": 7} and trial.params.keys() == {"alpha"}
    assert read_scores(setup.run_folder(0))
    alone = Trainer(config, images, tmp_path / "alone", CPU)
    alone.run()
    rows = [[list(row.items())[1:-1] for row in read_metrics(f)] for f in (setup.run_folder(0), alone.folder)]
    assert rows[0] and str(rows[0]) == str(rows[1][: len(rows[0])])


def test_other_points_are_another_study(tmp_path: Path) -> None:
    config = study_config(tmp_path, points=(Point(alpha=0.25),), trials=None)
    setup, images = prepare(config)
    open_study(setup.folder, settings(setup, config, images))
    other = study_config(tmp_path, points=(Point(alpha=0.5),), trials=None)
    difference = r"points.0: \{'alpha': 0.25\} -> \{'alpha': 0.5\}\); --study NAME begins another one"
    with pytest.raises(UserError, match=difference):
        run_study(other)
    with pytest.raises(UserError, match=r"other settings \(sampler: sobol -> tpe\)"):
        run_study(study_config(tmp_path, points=(Point(alpha=0.25),), trials=None, sampler="tpe"))


def test_a_space_that_is_one_value_leaves_points_outside_to_the_point() -> None:
    space = Space(alpha=(0.25, 0.25), beta=(1.0, 2.0), margin_ratio=(1.0, 16.0), m=(5.0, 6.0))
    study = optuna.create_study(
        sampler=NumberedSampler(0, "sobol", space.distributions, [{"alpha": 0.5, "margin_ratio": 2}])
    )
    found = space.suggest(study.ask(), {"alpha": 0.5, "margin_ratio": 2})
    assert found["alpha"] == 0.5 and found["margin_ratio"] == 2 and "m" not in found
    assert study.trials[0].distributions == {"beta": FloatDistribution(1.0, 2.0, log=True)}
