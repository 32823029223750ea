"""introvae-sweep for real: whole, killed and continued, refused."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import tiny_flags
from optuna.trial import TrialState

from sweeps.cli import main

FLAGS = [*tiny_flags("steps", "warmup_steps", "beta", "m"), "--warmup-steps", "300", "--lr", "3e-3", "--device", "cpu"]
SHORT = [*FLAGS, "--steps", "306"]
LONG = [*FLAGS, "--steps", "400"]


def sweep(out: Path, flags: list[str], trials: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(out, flags, trials), capture_output=True, text=True, timeout=300)


def command(out: Path, flags: list[str], trials: int) -> list[str]:
    return [sys.executable, "-m", "sweeps.cli", "--trials", str(trials), "--out", str(out), *flags]


def slots(out: Path) -> dict[int, tuple[dict[str, float], float | None, TrialState, dict[int, float]]]:
    """What each finished slot drew, and what came of it."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'orl-faces-16px' / 'study.db'}")
    ended = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    found = {t.user_attrs["slot"]: (t.params, t.value, t.state, t.intermediate_values) for t in ended}
    assert len(found) == len(ended), "a slot was filled twice"
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("whole")
    result = sweep(out, LONG, 3)
    assert result.returncode == 0, result.stderr
    assert ", complete;" in result.stdout  # or the tests below would compare little
    return out, result.stdout


def test_a_sweep_leaves_a_table_pictures_and_the_next_command(whole: tuple[Path, str]) -> None:
    out, printed = whole
    study = out / "orl-faces-16px"
    assert [line.split(":")[0] for line in printed.splitlines() if line.startswith("trial ")] == [
        "trial 0",
        "trial 1",
        "trial 2",
    ]
    assert f"next: introvae-report {out}" in printed
    assert str(study / "comparison.png") in printed and (study / "comparison.png").exists()
    with (study / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"trial-000", "trial-001", "trial-002"}
    assert sorted(slots(out)) == [0, 1, 2]
    drawn = [params["margin_ratio"] for params, *_ in slots(out).values()]
    assert len(set(drawn)) == 3 and all(1 <= ratio <= 16 for ratio in drawn)


def test_the_same_command_adds_nothing_and_a_larger_total_adds_the_rest(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    assert sweep(tmp_path, LONG, 1).returncode == 0
    assert sorted(slots(tmp_path)) == [0]
    assert sweep(tmp_path, LONG, 1).returncode == 0
    assert sorted(slots(tmp_path)) == [0]
    continued = sweep(tmp_path, LONG, 3)
    assert "continuing with trial 1" in continued.stdout
    assert slots(tmp_path) == slots(whole[0])


def wait_for(process: subprocess.Popen[Any], path: Path) -> None:
    deadline = time.monotonic() + 120
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)


def test_sigterm_leaves_a_checkpoint_from_which_the_same_command_goes_on(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    study = tmp_path / "orl-faces-16px"
    with subprocess.Popen(command(tmp_path, LONG, 3), stderr=subprocess.PIPE, text=True) as process:
        wait_for(process, study / "trial-000" / "checkpoint.pt")
        process.send_signal(signal.SIGTERM)
        shown = process.communicate()[1]
    assert process.returncode == 143
    end = "stopped; 0 of 3 trials are done, and the same command goes on, from the checkpoint of trial 0\n"
    assert shown.endswith(f"introvae-sweep: {end}")
    continued = sweep(tmp_path, LONG, 3)
    assert continued.returncode == 0, continued.stderr
    assert "continuing with trial 0, from its last checkpoint\n" in continued.stdout
    assert slots(tmp_path) == slots(whole[0])


def test_two_sweeps_on_one_study_are_refused(tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path, LONG, 3), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(process, tmp_path / "orl-faces-16px" / ".warmup")
        second = sweep(tmp_path, LONG, 3)
        process.kill()
    assert second.returncode == 2
    assert "in use by another process" in second.stderr and second.stderr.count("\n") == 1


def test_changed_settings_are_refused_with_the_difference(
    whole: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = whole
    before = slots(out)
    changed = ["--trials", "3", "--out", str(out), *LONG, "--alpha", "0.1:0.5", "--latent", "9"]
    assert main(changed) == 2
    message = capsys.readouterr().err
    assert (
        "latent: 8 -> 9" in message
        and "search.alpha: [0.05, 1.0] -> [0.1, 0.5]" in message
        and "--study NAME" in message
    )
    assert slots(out) == before


def test_absolute_ranges_and_another_name(tmp_path: Path) -> None:
    ranges = ["--alpha", "0.1:0.2", "--beta", "10:20", "--m", "30:60", "--study", "mine"]
    result = sweep(tmp_path, [*SHORT, *ranges], 2)
    assert result.returncode == 0, result.stderr
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path / 'mine' / 'study.db'}")
    for trial in study.trials:
        assert (
            0.1 <= trial.params["alpha"] <= 0.2 and 10 <= trial.params["beta"] <= 20 and 30 <= trial.params["m"] <= 60
        )


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_sweeps_killed_at_random_moments_continue_bit_for_bit(kills: int, tmp_path: Path) -> None:
    script = Path(__file__).parent / "killed_sweep.py"
    words = [sys.executable, str(script), str(tmp_path), str(kills), "--trials", "3", *LONG]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    outs = [path for path in tmp_path.iterdir() if path.name != "whole"]
    assert outs and all(slots(out) == slots(tmp_path / "whole") for out in outs)
