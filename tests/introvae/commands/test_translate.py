"""introvae-train --from STUDY --best --image-size N: the setting of a run at another size."""

from pathlib import Path
from typing import Any

import pytest
from helpers import exit_code, forgive
from studies import make_run, read_scores, write_scores

from analysis.train import main
from introvae.runs.folder import last_row, read_config, read_metrics
from sweeps.cli import main as sweep

SMALL = "--image-size 16 --latent 8 --widths 8,8 --warmup-steps 8 --steps 20 --batch-size 8 --log-every 2 "
EVERY = "--checkpoint-every 4 --picture-every 20"
LARGER = ["--image-size", "32", "--widths", "8,8,8"]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("study")
    command = [*f"{SMALL} {EVERY}".split(), "--trials", "1", "--workers", "1", "--quiet", "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        forgive(patch)
        assert exit_code(sweep, [*command, "--out", str(out), "--study", "small"]) == 0
    return out / "small"


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgiving: None) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_alpha_stays_beta_goes_by_numbers_and_m_by_the_kl_of_the_own_warm_up(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--from", str(study), "--best", *LARGER, "--out", "large", "--device", "cpu"]
    assert exit_code(main, command) == 0
    found, config = read_config(study / "trial-000"), read_config(Path("large"))
    assert isinstance(found.beta, float) and isinstance(config.beta, float)
    assert config.alpha == found.alpha and config.beta == pytest.approx(found.beta / 4, rel=1e-8)
    warmup = last_row(Path("large/.warmup"))
    assert warmup and warmup["step"] == 8 and warmup["beta"] == config.beta
    ratio = found.m / read_scores(study / "trial-000")["measures"]["vae_kl"]
    assert config.m == pytest.approx(ratio * warmup["kl_real"], rel=1e-8)
    scores = read_scores(Path("large"))
    assert config.m / scores["measures"]["vae_kl"] == pytest.approx(ratio, rel=1e-6)
    assert read_metrics(Path("large"))[-1]["step"] == 20
    shown = capsys.readouterr().err
    assert (
        "trial-000, 16 px to 32 px: alpha" in shown
        and f"-> {config.beta:.4g}" in shown
        and f"-> {config.m:.4g} nats" in shown
    )


def test_a_dry_run_tells_what_is_translated_and_begins_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--from", str(study), "--best", *LARGER, "--device", "cpu", "--dry-run"]
    assert exit_code(main, command) == 0
    shown = capsys.readouterr().out
    ratio = read_config(study / "trial-000").m / read_scores(study / "trial-000")["measures"]["vae_kl"]
    assert "16 px to 32 px: alpha" in shown and f", m {ratio:.3g} times a VAE's KL\n" in shown
    assert "; m: " not in shown and not list(Path().iterdir())  # which the warm-up tells


@pytest.mark.slow
def test_the_same_command_shows_what_has_ended(study: Path) -> None:
    command = ["--from", str(study / "trial-000"), *LARGER, "--out", "large", "--device", "cpu"]
    written = [Path("large", name) for name in ("scores.json", "checkpoint.pt", ".warmup/metrics.csv")]
    assert exit_code(main, command) == 0
    times = [path.stat().st_mtime_ns for path in written]
    assert exit_code(main, command) == 0
    assert times == [path.stat().st_mtime_ns for path in written]


@pytest.mark.slow
def test_default_widths_are_those_of_the_new_size(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(main, ["--from", str(study / "trial-000"), "--image-size", "32", "--out", "large"]) == 2
    assert "widths is (8, 8); allowed: 3 of them" in capsys.readouterr().err  # the study's own, which do not fit
    plain = "--image-size 16 --steps 4 --warmup-steps 2 --latent 4 --batch-size 4 --alpha 0"
    every = "--log-every 2 --checkpoint-every 2 --picture-every 2 --device cpu"
    assert exit_code(main, [*f"{plain} {every}".split(), "--out", "plain"]) == 0
    assert exit_code(main, ["--from", "plain", "--image-size", "32", "--out", "large"]) == 0
    assert read_config(Path("large")).widths == (16, 32, 64)


@pytest.mark.slow
def test_settings_given_by_the_user_are_taken_as_they_are(study: Path) -> None:
    command = ["--from", str(study / "trial-000"), *LARGER, "--beta", "7", "--m", "11", "--out", "large"]
    assert exit_code(main, [*command, "--device", "cpu"]) == 0
    config = read_config(Path("large"))
    assert (config.beta, config.m) == (7.0, 11.0) and not Path("large/.warmup").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "soft"}, "objective soft, whose weights no rule translates"),
        ({"beta": ((0, 20.0), (10, 40.0))}, "has a schedule"),
        ({}, "has not measured a VAE's KL, by which m is translated; give --m"),
    ],
)
def test_what_cannot_be_translated_is_refused(
    settings: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(Path("run"), **settings)
    scores = read_scores(run)
    del scores["measures"]["vae_kl"]
    write_scores(run, scores)
    assert exit_code(main, ["--from", "run", "--image-size", "32", "--widths", "4,4,4", "--out", "large"]) == 2
    assert message in capsys.readouterr().err and not Path("large").exists()
