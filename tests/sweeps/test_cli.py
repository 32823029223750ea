"""introvae-sweep in processes of its own: whole, killed and continued, refused."""

import csv
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from forks import Command
from helpers import equal_states, tiny_flags
from killed_sweep import kill_and_continue
from optuna.trial import TrialState
from studies import read_scores
from waiting import wait_until

from analysis.cli import main as report
from analysis.train import main as train
from introvae.runs.folder import load_checkpoint, read_config
from sweeps.cli import main

TINY = tiny_flags("steps", "warmup_steps", "beta", "m", "checkpoint_every")
FLAGS = [*TINY, "--checkpoint-every", "10", "--lr", "3e-3", "--device", "cpu"]
SHORT = [*FLAGS, "--warmup-steps", "8", "--steps", "14"]
LONG = [*FLAGS, "--warmup-steps", "200", "--steps", "260"]
STUDY = "orl-faces-16px"
KILLS = 20


def words(out: Path, flags: list[str], trials: int) -> list[str]:
    return ["--trials", str(trials), "--out", str(out), *flags]


def sweep(out: Path, flags: list[str], trials: int) -> Command:
    return Command(main, words(out, flags, trials)).wait()


def ended(out: Path) -> dict[int, tuple[dict[str, float], float | None, TrialState, dict[int, float]]]:
    """Return parameters, value, state and reports of each trial that has ended."""
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{out / 'orl-faces-16px' / 'study.db'}")
    trials = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    return {t.number: (t.params, t.value, t.state, t.intermediate_values) for t in trials}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("whole")
    result = sweep(out, LONG, 3)
    assert result.code == 0, result.stderr
    assert ", complete;" in result.stdout  # or the tests below would compare little
    return out, result.stdout


def with_warmup(whole: tuple[Path, str], out: Path) -> None:
    """Copy the warm-up of the same study, which is trained once for all tests."""
    shutil.copytree(whole[0] / STUDY / ".warmup", out / STUDY / ".warmup")


def test_a_sweep_leaves_a_table_pictures_and_the_next_command(whole: tuple[Path, str]) -> None:
    out, printed = whole
    study = out / STUDY
    lines = [line for line in printed.splitlines() if line.startswith("trial ")]
    shown = sorted(line.split(":")[0] for line in lines if ", complete;" in line or ", pruned: score " in line)
    assert shown == ["trial 0", "trial 1", "trial 2"]
    assert sum(" at step 202; " in line for line in lines) >= 3  # which each of them came to
    assert f"next: introvae-report {out}" in printed
    assert str(study / "comparison.png") in printed and (study / "comparison.png").exists()
    with (study / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"trial-000", "trial-001", "trial-002"}
    assert sorted(ended(out)) == [0, 1, 2]
    drawn = [params["margin_ratio"] for params, *_ in ended(out).values()]
    assert len(set(drawn)) == 3 and all(1 <= ratio <= 16 for ratio in drawn)


@pytest.mark.slow
def test_the_same_command_adds_nothing_and_a_larger_total_adds_the_rest(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    with_warmup(whole, tmp_path)
    for _ in range(2):
        assert sweep(tmp_path, LONG, 1).code == 0
        assert sorted(ended(tmp_path)) == [0]
    before = ended(tmp_path)
    continued = sweep(tmp_path, LONG, 2)
    assert "continuing with trial 1" in continued.stdout
    assert sorted(ended(tmp_path)) == [0, 1] and ended(tmp_path)[0] == before[0]


@pytest.mark.slow
def test_a_signal_leaves_a_checkpoint_from_which_the_same_command_resumes(
    whole: tuple[Path, str], tmp_path: Path
) -> None:
    with_warmup(whole, tmp_path)
    seen = 0

    def rows() -> int:
        logs = (tmp_path / STUDY).glob("trial-*/metrics.csv")
        return sum(len(log.read_text().splitlines()) for log in logs)

    for number in (signal.SIGINT, signal.SIGTERM):
        process = Command(main, words(tmp_path, LONG, 3))
        wait_until(lambda before=seen: rows() > before, 120)
        os.kill(process.pid, number)
        assert process.wait().code == 128 + number
        end = r"0 of 3 trials are done; rerun the same command to resume, from the checkpoint of trial 0(, \d)*\n$"
        assert re.search(f"introvae-sweep: stopped; {end}", process.stderr)
        seen = rows()
    continued = sweep(tmp_path, LONG, 3)
    assert continued.code == 0, continued.stderr
    assert "continuing with trial 0, from its last checkpoint\n" in continued.stdout
    assert ended(tmp_path) == ended(whole[0])


@pytest.mark.slow
def test_a_study_whose_budget_is_spent_has_ended(tmp_path: Path) -> None:
    for _ in range(2):
        result = sweep(tmp_path, [*SHORT, "--budget", "6"], 5)
        assert result.code == 0 and "ended after 1 of 5 trials, by --budget 6\n" in result.stdout
        assert "next: introvae-report" in result.stdout and sorted(ended(tmp_path)) == [0]


def test_two_sweeps_on_one_study_are_refused(tmp_path: Path) -> None:
    process = Command(main, words(tmp_path, LONG, 3))
    wait_until((tmp_path / STUDY / ".warmup").exists)
    second = sweep(tmp_path, LONG, 3)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait().code == -signal.SIGKILL
    assert second.code == 2
    holder = f"in use by process {process.pid} on {socket.gethostname()}"
    assert holder in second.stderr and second.stderr.count("\n") == 1


@pytest.mark.slow
def test_workers_fill_the_total_exactly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweeps.cli", "--workers", "2", *words(tmp_path, SHORT, 3)]
    assert subprocess.run(command).returncode == 0
    assert sorted(ended(tmp_path)) == [0, 1, 2]


@pytest.mark.slow
def test_a_trial_trained_alone_is_the_same_bit_for_bit(whole: tuple[Path, str], tmp_path: Path) -> None:
    """The warm-up is trained again, and nothing else before it."""
    number = max(number for number, (_, _, state, _) in ended(whole[0]).items() if state == TrialState.COMPLETE)
    trial = whole[0] / STUDY / f"trial-{number:03d}"
    assert train(["--config", str(trial / "params.toml"), "--out", str(tmp_path / "alone"), "--device", "cpu"]) == 0
    assert equal_states(load_checkpoint(tmp_path / "alone"), load_checkpoint(trial))
    alone, before = read_scores(tmp_path / "alone") or {}, read_scores(trial) or {}
    assert len(before["measures"].pop("rungs")) == 4  # which a run on its own has none of
    assert alone["measures"] == before["measures"] and alone["score"] == before["score"]


def with_little_room(words: list[str]) -> int:
    """Run the command where no file can be as large as a checkpoint of wide networks."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    return main(words)


@pytest.mark.slow
def test_a_full_disk_stops_the_command_until_there_is_room(tmp_path: Path) -> None:
    wide = [*SHORT, "--widths", "64,64"]
    assert sweep(tmp_path, wide, 1).code == 0
    stopped = Command(with_little_room, words(tmp_path, wide, 2)).wait()
    assert stopped.code == 1
    checkpoint = tmp_path / STUDY / "trial-001" / "checkpoint.pt"
    end = f"{checkpoint}: File too large; free some space, then rerun the same command"
    assert stopped.stderr.splitlines()[-1] == f"introvae-sweep: {end}"
    continued = sweep(tmp_path, wide, 2)
    assert continued.code == 0 and "continuing with trial 1" in continued.stdout
    assert sorted(ended(tmp_path)) == [0, 1]


def test_changed_settings_are_refused_with_the_difference(
    whole: tuple[Path, str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, _ = whole
    before = ended(out)
    changed = ["--trials", "3", "--out", str(out), *LONG, "--alpha", "0.1:0.5", "--latent", "9"]
    assert main(changed) == 2
    message = capsys.readouterr().err
    for part in ("latent: 8 -> 9", "search.alpha: [0.1, 0.75] -> [0.1, 0.5]", "--study NAME"):
        assert part in message
    assert ended(out) == before


@pytest.mark.slow
def test_absolute_ranges_and_another_name(tmp_path: Path) -> None:
    ranges = ["--alpha", "0.1:0.2", "--beta", "10:20", "--m", "30:60", "--study", "mine"]
    result = sweep(tmp_path, [*SHORT, *ranges], 2)
    assert result.code == 0, result.stderr
    study = optuna.load_study(study_name="mine", storage=f"sqlite:///{tmp_path / 'mine' / 'study.db'}")
    for trial in study.trials:
        alpha, beta, m = (trial.params[name] for name in ("alpha", "beta", "m"))
        assert 0.1 <= alpha <= 0.2 and 10 <= beta <= 20 and 30 <= m <= 60


@pytest.mark.slow
def test_words_and_linear_ranges_are_searched_reported_and_kept(tmp_path: Path, forgiving: None) -> None:
    flags = [*SHORT, "--pruner", "none", "--alpha", "lin:0:0.5"]
    search = ["--search", "norm=group,none,lr=lin:0.001:0.003", "--sampler", "sobol", "--seed", "1"]
    result = sweep(tmp_path, [*flags, *search], 2)
    assert result.code == 0, result.stderr
    assert "alpha 0 to 0.5 on a linear scale" in result.stdout and "norm group or none, lr 0.001 to " in result.stdout
    drawn = {number: params["norm"] for number, (params, *_) in ended(tmp_path).items()}
    assert set(drawn.values()) == {"group", "none"}
    assert all(f" norm {norm}" in result.stdout for norm in drawn.values())
    runs = [read_config(tmp_path / STUDY / f"trial-00{number}") for number in drawn]
    assert [run.norm for run in runs] == list(drawn.values())
    assert len(list((tmp_path / STUDY / ".warmup").iterdir())) == 2
    (winner,) = (line for line in result.stdout.splitlines() if line.startswith("winner: trial-00"))
    assert f", norm {drawn[int(winner[14:17])]}, lr 0.00" in winner
    assert report([str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f'"norm":"{norm}"' in page for norm in ("group", "none"))
    other = sweep(tmp_path, [*flags, "--search", "norm=group,batch,lr=0.001:0.003", *search[2:]], 2)
    assert other.code == 2 and other.stderr.count("\n") == 1
    assert "search.lr: ['lin', 0.001, 0.003] -> [0.001, 0.003]; search.norm: ['group', 'none'] -> " in other.stderr


@pytest.mark.slow
def test_sweeps_killed_at_random_moments_continue_bit_for_bit(whole: tuple[Path, str], tmp_path: Path) -> None:
    kill_and_continue(tmp_path, KILLS, ["--trials", "3", *LONG])
    outs = list(tmp_path.iterdir())
    assert outs and all(ended(out) == ended(whole[0]) for out in outs)
