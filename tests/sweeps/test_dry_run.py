"""--dry-run describes a study, and begins nothing."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest
from helpers import CPU, tiny_flags
from studies import study_config

from analysis.measures.spectrum import predicted_active_units, predicted_kl, vae_kl
from analysis.report.runs import read_runs
from introvae.errors import DivergedError
from introvae.runs.folder import read_metrics
from introvae.training.trainer import Trainer
from sweeps.cli import main
from sweeps.config import StudyConfig
from sweeps.dry_run import describe
from sweeps.plan import plan_warmup, run_config
from sweeps.points import Point
from sweeps.run import prepare, run_study, settings
from sweeps.search.dimensions import Linear
from sweeps.study import open_study

TRAIN = {"steps": 108, "warmup_steps": 8}  # with rungs at steps 12, 22, 34 and 58


def lines(config: StudyConfig) -> dict[str, str]:
    """Return the text of each line by its name; lines without a name belong to the one before."""
    found: dict[str, str] = {}
    for line in describe(config).splitlines():
        name, _, text = line.partition("  ")
        found[name or list(found)[-1]] = found.get(name or list(found)[-1], "") + " " + text.strip()
    return found


def test_a_dry_run_shows_the_space_and_begins_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*tiny_flags("beta", "m"), "--device", "cpu", "--out", str(tmp_path / "out"), "--dry-run"]
    assert main([*flags, "--fix", "alpha=0.25", "--silence", "60", "--workers", "2"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("study         ") and "\nalpha         0.25 (--fix)\n" in shown
    assert "margin_ratio  1 to 16 (default)" in shown and "latent: 64 -> 8" in shown
    assert "silence: 900.0 -> 60.0" in shown and "workers: unset -> 2" in shown
    assert not list(tmp_path.iterdir())


def test_a_fixed_beta_has_one_predicted_kl(tmp_path: Path) -> None:
    config = study_config(tmp_path, TRAIN, fix={"beta": 50.0})
    spectrum, shown = prepare(config)[0].spectrum, lines(config)["beta"]
    units = predicted_active_units(spectrum, 50.0, 8)
    assert f"predicted KL {predicted_kl(spectrum, 50.0, 8):.3g} nats predicted active units {units} of 8" in shown


@pytest.mark.slow
def test_a_trained_warm_up_corrects_what_is_shown(tmp_path: Path) -> None:
    """Before it the KL and m are named predicted; after it they are those that the trials have."""
    points = (
        Point(alpha=0.25, beta=20.0, margin_ratio=4.0, seed=0),
        Point(alpha=0.25, beta=20.0, margin_ratio=4.0, seed=1),
    )
    config = study_config(tmp_path, {"warmup_beta": 30.0}, points=points, trials=None)
    setup, _ = prepare(config)
    predicted, shown = predicted_kl(setup.spectrum, 20.0, 8), lines(config)
    assert shown["trial 0"].endswith(f"predicted KL {predicted:.3g} nats, predicted m {4 * predicted:.3g} nats")
    assert shown["warm-up"].endswith("nats the study corrects predicted KL and m by the KL that its warm-up measures")
    run_study(replace(config, trials=1))
    run, shown = read_runs(setup.folder / "trial-000")[0], lines(config)
    kl, m = run.numbers["vae_kl"], run.parameters["m"]
    assert kl != pytest.approx(predicted, rel=0.1) and m == pytest.approx(4 * kl)
    assert shown["trial 0"].endswith(f"seed 0, KL {kl:.3g} nats, m {m:.3g} nats")
    assert "seed 1, predicted KL " in shown["trial 1"] and "predicted" in shown["warm-up"]
    drawn = lines(replace(config, points=(), trials=2, fix={"beta": 20.0}))
    assert drawn["beta"].startswith(f" 20 (--fix) KL {kl:.3g} nats predicted active units ")
    assert drawn["margin_ratio"].endswith(f" m {kl:.3g} to {16 * kl:.3g} nats")
    measured = [row["kl_real"] for row in read_metrics(run.folder) if row["step"] == 8]
    assert drawn["warm-up"].endswith(f", KL {measured[0]:.3g} nats")


def test_bounds_say_where_they_come_from_and_what_they_predict(tmp_path: Path) -> None:
    config = study_config(tmp_path, TRAIN, m=(5.0, 50.0), search={"lr": (1e-4, 1e-3)})
    (setup, _), shown = prepare(config), lines(config)
    (low, high), spectrum = setup.space.beta, setup.spectrum
    assert shown["beta"].startswith(f" {low:.4g} to {high:.4g} (spectrum: low activates a quarter of the units")
    kls, units = ([f(spectrum, beta, 8) for beta in (low, high)] for f in (predicted_kl, predicted_active_units))
    predicted = f"predicted KL {kls[0]:.3g} to {kls[1]:.3g} nats predicted active units {units[0]} to {units[1]} of 8"
    assert predicted in shown["beta"]
    assert shown["beta"].endswith(f"predicted collapse below {1 / spectrum[0].item():.3g}")
    assert shown["m"] == " 5 to 50 (--m)" and shown["lr"] == " 0.0001 to 0.001 (--search)"
    ratio = lines(study_config(tmp_path, TRAIN, margin_ratio=(2.0, 4.0)))["margin_ratio"]
    assert ratio.startswith(" 2 to 4 (--margin-ratio) ")
    beta = setup.config.warmup_beta or 0.0
    kl = f"predicted KL {predicted_kl(spectrum, beta, 8):.3g} nats"
    assert (
        f"8 steps at beta {beta:.4g} (middle of beta's range" in shown["warm-up"] and f", {kl} the " in shown["warm-up"]
    )
    assert shown["rungs"] == " at steps 12, 22, 34, 58; 16% of all steps go to those that promise most"


def test_words_and_linear_ranges_are_shown(tmp_path: Path) -> None:
    search = {"lr": Linear(1e-4, 1e-3), "norm": ("group", "none")}
    config = study_config(tmp_path, TRAIN, alpha=Linear(0, 0.5), beta=Linear(0, 400), search=search)
    spectrum, shown = prepare(config)[0].spectrum, lines(config)
    assert shown["alpha"] == " 0 to 0.5 on a linear scale (--alpha)"
    assert shown["norm"] == " group or none (--search)" and shown["lr"].endswith(
        " to 0.001 on a linear scale (--search)"
    )
    most = predicted_kl(spectrum, 400, 8)
    assert f"0 to 400 on a linear scale (--beta) predicted KL 0 to {most:.3g} nats" in shown["beta"]
    assert shown["margin_ratio"].endswith(f" predicted m 0 to {16 * most:.3g} nats")
    assert shown["warm-up"].startswith(" 8 steps at beta 200 (middle of beta's range")


def test_warm_ups_of_all_words_correct_what_is_shown(tmp_path: Path) -> None:
    config = study_config(tmp_path, fix={"beta": 20.0}, search={"norm": ("group", "none")}, pruner="none")
    setup, images = prepare(config)
    measured = []
    for norm in ("group", "none"):
        assert "predicted KL" in lines(config)["beta"]  # before both are trained
        train = replace(setup.config, norm=norm)
        warmup = plan_warmup(setup, run_config(setup, 0, {"alpha": 0.5, "beta": 20.0, "norm": norm}))
        assert warmup and warmup.folder == setup.warmup_folder(train)
        Trainer(warmup.config, images, warmup.folder, CPU).run()
        measured.append(vae_kl(replace(train, beta=20.0), setup.spectrum, read_metrics(warmup.folder)))
    low, high = sorted(measured)
    assert f"20 (--fix) KL {low:.3g} to {high:.3g} nats" in lines(config)["beta"]


def test_shipped_points_name_their_study_and_show_the_published_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "beta-comparison").mkdir()  # as an earlier study of this name would be, if its folder were given
    monkeypatch.chdir(tmp_path)
    flags = [*tiny_flags("beta", "m"), "--device", "cpu", "--out", str(tmp_path), "--points", "beta-comparison"]
    assert main([*flags, "--dry-run"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].endswith(str(tmp_path / "beta-comparison")) and shown[1].split() == ["trials", "6"]
    (first,) = (line for line in shown if line.startswith("trial 0"))
    assert "beta 38.4 (at 256x256x3: beta 0.05, m 500), predicted KL " in first
    assert not any(line.startswith(("alpha", "beta", "margin_ratio")) for line in shown)  # nothing is searched
    assert any(line.startswith("settings") and "norm: group -> none" in line for line in shown)
    assert main([*flags, "--dry-run", "--preset", "orl-faces"]) == 0  # takes their place
    assert "norm: " not in capsys.readouterr().out
    assert main([*flags, "--dry-run", "--trials", "3"]) == 0
    assert capsys.readouterr().out.splitlines()[0].endswith(str(tmp_path / "orl-faces-16px"))


@pytest.mark.slow
def test_the_length_of_a_study_and_its_disk(tmp_path: Path) -> None:
    expected = round(0.16 * 10 * 100)
    shown = lines(study_config(tmp_path, TRAIN, trials=10, workers=2))
    assert shown["steps"] == f" {8 + 10 * 100:,} at most, {8 + expected} expected, 8 of them in 1 warm-up"
    seen = f" {8 * (8 + 10 * 100):,} at most, {8 * (8 + expected):,} expected"
    assert shown["images"] == f"{seen}; a whole run sees 864, or 3.6 epochs of 240 training images"
    at_most, likely = (words.split() for words in shown["time"].split(",")[:2])
    seconds = [float(number) * {"s": 1, "min": 60}[unit] for number, unit, *_ in (likely, at_most)]
    assert 0 <= seconds[0] <= seconds[1] < 600 and at_most[2:] == ["at", "most"] and likely[2:] == ["expected"]
    assert " a step in the warm-up, " in shown["time"] and shown["time"].endswith("workers: 2")
    assert shown["disk"].startswith(" about ") and " 12 checkpoints of " in shown["disk"]
    for budget in (500, 120):
        shown = lines(study_config(tmp_path, TRAIN, trials=10, budget=budget))
        assert shown["steps"].startswith(f" {8 + budget} at most, {8 + min(budget, expected)} expected, ")
    points = (Point(seed=1), Point(seed=1, m=3.0), Point(alpha=0.5))
    shown = lines(study_config(tmp_path, TRAIN, points=points, trials=None, seeds=2, keep=None))
    assert shown["steps"] == " 532 at most, 532 expected, 32 of them in 4 warm-ups"
    assert shown["trial 1"] == " m 3, seed 1" and shown["rungs"].endswith("all trials are trained to the end")
    assert " 18 checkpoints of " in shown["disk"]
    shown = lines(study_config(tmp_path, TRAIN, search={"batch_size": (4, 8)}, pruner="forecast"))
    assert shown["steps"].endswith(" 24 of them in 3 warm-ups") and shown["rungs"].endswith(
        "; 16% of all steps go to those that promise most"
    )
    assert "; a whole run sees 540, or 2.25 epochs of 240 " in shown["images"]  # in batches of 5, the middle
    shown = lines(study_config(tmp_path, TRAIN, search={"alpha_decoder": (0.1, 1.0)}))
    assert shown["steps"].endswith(" 8 of them in 1 warm-up")
    words = {"norm": ("group", "none"), "network": ("residual", "plain"), "alpha_decoder": Linear(0.1, 1.0)}
    for trials, warmups in ((10, 4), (3, 3)):
        shown = lines(study_config(tmp_path, TRAIN, trials=trials, search=words))
        assert shown["steps"].endswith(f" {8 * warmups} of them in {warmups} warm-ups")
    shown = lines(study_config(tmp_path, TRAIN | {"warmup_steps": 0}, trials=2))
    assert shown["steps"].startswith(" 216 at most") and shown["steps"].endswith(" 0 of them in 0 warm-ups")
    assert shown["warm-up"] == " none" and " a step, workers: " in shown["time"]
    shown = lines(study_config(tmp_path, TRAIN, trials=10**8))  # none of which is looked at
    assert shown["steps"].startswith(" 10,000,000,008 at most, 1,600,000,008 expected")


def test_a_dry_run_finds_what_diverges_at_once(tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match="is not finite"):
        describe(study_config(tmp_path, TRAIN | {"lr": 1e30}))


def test_a_dry_run_looks_at_the_study_that_would_be_continued(tmp_path: Path) -> None:
    config = study_config(tmp_path, trials=2)
    setup, images = prepare(config)
    open_study(setup.folder, settings(setup, config, images)).add_trial(optuna.create_trial(value=0.5))
    assert lines(config)["trials"] == " 2 1 of them done"
    said = lines(study_config(tmp_path, {"batch_size": 4}, trials=2))["trials"]
    assert said.startswith(" 2 but the study ") and "has other settings (batch_size: 8 -> 4)" in said


def test_progress_is_shown_unless_quiet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    describe(study_config(tmp_path, TRAIN))
    assert "measuring: step 12/12, " in capsys.readouterr().err
    describe(study_config(tmp_path, TRAIN, quiet=True))
    assert not capsys.readouterr().err


def test_settings_are_compared_with_the_defaults_of_the_image_size(tmp_path: Path) -> None:
    train = {"image_size": 64, "widths": (4, 4, 4, 4), "latent": 512}
    shown = lines(study_config(tmp_path, TRAIN | train))
    assert shown["defaults"].startswith(
        " of 64 px (those of --preset celeba-64): latent 512, batch_size 32, lr 0.0002, "
    )
    assert shown["defaults"].endswith(" the warm-up is a tenth of the steps")
    assert "batch_size: 32 -> 8; " in shown["settings"] and "latent" not in shown["settings"]
