"""Studies that follow an earlier one: its settings as points, ranges around the best, trials that are known."""

from pathlib import Path
from typing import Any

import optuna
import pytest
from helpers import exit_code, tiny_config
from studies import make_run, read_scores, study_config, write_scores

from analysis.report.runs import read_runs
from analysis.report.write import write_report
from introvae.config import dump_toml, load_toml
from introvae.errors import UserError
from introvae.files import write_atomically
from introvae.runs.folder import PARAMS
from sweeps.cli import main
from sweeps.config import StudyConfig
from sweeps.earlier import points_of, runs_of
from sweeps.plan import Setup
from sweeps.points import Point, read_points
from sweeps.run import opening, prepare, run_study
from sweeps.search.samplers import NumberedSampler

SETTINGS = [(0.2, 10.0, 40.0, 0.5), (0.3, 20.0, 60.0, 0.7), (0.25, 40.0, 80.0, 0.6), (0.5, 15.0, 20.0, 0.1)]
NUMBERS = 16 * 16 / (256 * 256 * 3)


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Four complete runs, the best being the second, and others that nothing is taken over from; a VAE's KL is 10."""
    folder = tmp_path / "earlier"
    for number, (alpha, beta, m, score) in enumerate(SETTINGS):
        run = make_run(folder / f"trial-{number:03d}", score=score, alpha=alpha, beta=beta, m=m, warmup_beta=20.0)
        write_scores(run, read_scores(run) | {"optimized": score, "weights": WEIGHTS})
    make_run(folder / "trial-004", "collapsed", 0.9, alpha=0.7, beta=300.0, m=100.0)
    make_run(folder / "trial-005", "diverged", 0.0, alpha=0.7, beta=300.0, m=100.0)
    return folder


WEIGHTS = dict.fromkeys(("reconstruction", "sharpness", "structure", "diversity", "informativeness"), 1.0)


def test_a_study_s_settings_are_points_best_first_for_any_image_size(earlier: Path) -> None:
    points = points_of(runs_of(earlier))
    assert [point.alpha for point in points] == [0.3, 0.25, 0.2, 0.5]
    assert points[0].values(1, 16) == pytest.approx({"alpha": 0.3, "beta": 20.0, "margin_ratio": 6.0})
    assert points[0].values(3, 32) == pytest.approx({"alpha": 0.3, "beta": 20 / 12, "margin_ratio": 6.0})


def test_a_summary_gives_its_settings_in_its_order(earlier: Path, tmp_path: Path) -> None:
    write_report(earlier, read_runs(earlier))
    points = read_points(str(earlier / "summary.csv"))
    assert points[0] == Point(alpha=0.2, beta=10.0, margin_ratio=4.0) and len(points) == 4
    spaced = tmp_path / "spaced.csv"
    spaced.write_text((earlier / "summary.csv").read_text().replace(",", ", "))
    assert read_points(str(spaced)) == points


def test_like_searches_around_the_best_at_the_size_of_its_own_images(earlier: Path, tmp_path: Path) -> None:
    config = StudyConfig(train=tiny_config(image_size=32, widths=(8, 8, 8)), like=earlier, out=tmp_path)
    setup, _ = prepare(config)
    assert setup.space.alpha == pytest.approx((0.2 / 1.5, 0.3 * 1.5))
    assert setup.space.beta == pytest.approx((2.5 / 1.5, 10 * 1.5))
    assert setup.space.margin_ratio == pytest.approx((4 / 1.5, 8 * 1.5))
    assert [point["alpha"] for point in setup.points] == [0.3, 0.25, 0.2] and not setup.earlier
    given = StudyConfig(train=config.train, like=earlier, alpha=(0.1, 0.2), fix={"margin_ratio": 3.0}, out=tmp_path)
    space = prepare(given)[0].space
    assert (space.alpha, space.margin_ratio) == ((0.1, 0.2), (3.0, 3.0)) and space.beta == setup.space.beta


def test_trials_trained_in_the_same_way_are_known_to_the_sampler(earlier: Path, tmp_path: Path) -> None:
    train = tiny_config(warmup_beta=20.0)
    drawn_by_sobol, _ = prepare(StudyConfig(train=train, like=earlier, out=tmp_path))
    assert not drawn_by_sobol.earlier
    setup, _ = prepare(StudyConfig(train=train, like=earlier, sampler="tpe", out=tmp_path))
    assert [trial.params["alpha"] for trial in setup.earlier] == [0.3, 0.25, 0.2] and not setup.points  # 0.5 is outside
    assert [trial.value for trial in setup.earlier] == [0.7, 0.6, 0.5]
    assert opening(setup, 5).endswith("3 trials known from the earlier study")
    for words, count in ((("group", "none"), 3), (("none", "batch"), 0)):
        setup, _ = prepare(StudyConfig(train=train, like=earlier, sampler="tpe", out=tmp_path, search={"norm": words}))
        assert [trial.params["norm"] for trial in setup.earlier] == ["group"] * count
    others: list[dict[str, Any]] = [{"latent": 4}, {"steps": 24}, {"norm": "none"}]
    for changed in others:
        setup, _ = prepare(
            StudyConfig(train=tiny_config(warmup_beta=20.0, **changed), like=earlier, sampler="tpe", out=tmp_path)
        )
        assert not setup.earlier and len(setup.points) == 3
    weighted = StudyConfig(train=train, like=earlier, sampler="tpe", out=tmp_path, optimize="sharpness")
    assert not prepare(weighted)[0].earlier
    for run in earlier.glob("trial-*"):
        write_atomically(run / PARAMS, dump_toml(load_toml(run / PARAMS) | {"machine": {"test_images": 7}}).encode())
    of_other_images, _ = prepare(StudyConfig(train=train, like=earlier, sampler="tpe", out=tmp_path))
    assert not of_other_images.earlier


@pytest.mark.parametrize("measures", [
    {"vae_kl": -5}, *({"rungs": rungs} for rungs in (5, [1], "x", [["a", "b"]], [[10**400, 0.5]])),
])  # fmt: skip
def test_runs_whose_measures_do_not_fit_are_not_followed(
    measures: dict[str, Any], earlier: Path, tmp_path: Path
) -> None:
    best = earlier / "trial-001"
    write_scores(best, read_scores(best) | {"measures": {"vae_kl": 10.0} | measures})
    train = tiny_config(warmup_beta=20.0)
    setup, _ = prepare(StudyConfig(train=train, like=earlier, sampler="tpe", out=tmp_path))
    assert [trial.params["alpha"] for trial in setup.earlier] == [0.25, 0.2, 0.5]


def test_rungs_are_known_to_the_sampler(earlier: Path, tmp_path: Path) -> None:
    best = earlier / "trial-001"
    write_scores(best, read_scores(best) | {"measures": {"vae_kl": 10.0, "rungs": [[10, 0.25], [14.0, 0.5]]}})
    setup, _ = prepare(StudyConfig(train=tiny_config(warmup_beta=20.0), like=earlier, sampler="tpe", out=tmp_path))
    assert setup.earlier[0].intermediate_values == {10: 0.25, 14: 0.5}


def test_the_sampler_draws_near_what_is_known_to_be_good(tmp_path: Path) -> None:
    folder = tmp_path / "earlier"
    for number in range(24):
        alpha = 0.1 * 1.09**number
        run = make_run(folder / f"trial-{number:03d}", score=0.9 if number < 6 else 0.1, alpha=alpha, warmup_beta=20.0)
        write_scores(run, read_scores(run) | {"optimized": 0.9 if number < 6 else 0.1, "weights": WEIGHTS})
    drawn = []
    for seed in range(6):
        train = tiny_config(seed=seed, warmup_beta=20.0)
        setup, _ = prepare(
            StudyConfig(train=train, like=folder, sampler="tpe", alpha=(0.1, 0.8), beta=(10, 30), out=tmp_path)
        )
        assert len(setup.earlier) == 24
        drawn.append(first_alpha(setup))
    assert sum(alpha < 0.17 for alpha in drawn) >= 5, drawn  # a quarter of the range on a log scale


def first_alpha(setup: Setup) -> float:
    sampler = NumberedSampler(setup.config.seed, "tpe", setup.space.distributions, earlier=setup.earlier)
    return setup.space.suggest(optuna.create_study(sampler=sampler, direction="maximize").ask())["alpha"]


def test_the_command_takes_the_training_over(
    earlier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert exit_code(main, ["--like", "earlier", "--sampler", "tpe", "--trials", "5", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "--like: around the best of its settings" in shown and "latent: 64 -> 8" in shown
    assert "3 trials of the earlier study" in shown and "--warmup-beta" in shown  # whose warm-up it shares
    assert exit_code(main, ["--like", "earlier", "--image-size", "32", "--widths", "8,8,8", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert " alpha 0.3, margin_ratio 6, beta 5, predicted KL" in shown and "trials of the earlier" not in shown
    assert exit_code(main, ["--like", "nowhere", "--dry-run"]) == 2
    assert "there is no folder nowhere" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_like_another_lies_beside_it_and_resumes(earlier: Path, tmp_path: Path) -> None:
    renamed = earlier.rename(tmp_path / "orl-faces-16px")
    config = study_config(tmp_path, trials=1, like=renamed, workers=1)
    study = run_study(config)
    assert study.study_name == "orl-faces-16px-again" and len(study.trials) == 1
    assert len(run_study(config).trials) == 1
    make_run(renamed / "trial-009", score=0.95, alpha=0.4, beta=9.0, m=30.0)
    with pytest.raises(UserError, match=r"has other settings \(points\.0: .*search\.alpha: "):
        run_study(config)
