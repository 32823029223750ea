"""A study that an earlier version trained, trained again: the same draws, reports, outcomes, scores and logs."""

import argparse
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driven import Drawing, drive, study_of
from kept_study import FLAGS, KEPT, STUDY, machine, read_study
from waiting import wait_until
from worker_processes import is_amid, send_amid

from introvae.commands.options import config_from
from sweeps.cli import command_line
from sweeps.config import FIELDS, StudyConfig
from sweeps.engines.local import InlineEngine
from sweeps.run import prepare

ALONE = os.environ | {"OMP_NUM_THREADS": "1"}


def driver(out: Path, *words: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "sweeps.cli", *FLAGS, "--quiet", "--out", str(out), *words]
    return subprocess.Popen(command, env=ALONE)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The study, trained again in the driver's own process, which nobody disturbs."""
    out = tmp_path_factory.mktemp("whole")
    assert driver(out).wait() == 0
    return json.loads(json.dumps(read_study(out / STUDY)))


@pytest.mark.slow
def test_a_study_is_what_it_was(whole: dict[str, Any]) -> None:
    """Settings and draws everywhere; all bits on the type of processor, and by the PyTorch, of the kept study."""
    kept = json.loads(KEPT.read_text())
    versions = {"version.torch", "version.optuna"}
    for name in kept["settings"].keys() - versions:
        assert whole["settings"][name] == kept["settings"][name], f"{name}: see kept_study.py for how to keep another"
    assert list(whole["trials"]) == list(kept["trials"])
    for name in list(kept["trials"])[:10]:  # which TPE draws at random
        old, new = kept["trials"][name], whole["trials"][name]
        assert new["params"] == pytest.approx(old["params"], rel=1e-6) and new["m"] == pytest.approx(old["m"], rel=0.02)
    if machine() != kept["machine"] or any(kept["settings"][name] != whole["settings"][name] for name in versions):
        pytest.skip("bits are compared where the processor and PyTorch are those of the kept study")
    assert whole["trials"] == kept["trials"]


@pytest.mark.slow
def test_a_study_is_the_same_though_two_workers_and_two_drivers_are_killed(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    """On any machine, to the bit."""

    def run(number: int) -> Path:
        return tmp_path / STUDY / f"trial-{number:03d}"

    for worker_of, amid, driver_of, later in ((0, 220, 0, 260), (2, 210, 3, 220)):  # on their way from rungs
        process = driver(tmp_path, "--isolate")
        send_amid(run(worker_of), amid, signal.SIGKILL, process.pid)
        wait_until(lambda number=driver_of, step=later: is_amid(run(number), step), 300)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert driver(tmp_path, "--isolate").wait() == 0
    assert json.loads(json.dumps(read_study(tmp_path / STUDY))) == whole


def test_settings_are_drawn_and_seeded_as_in_the_kept_study(tmp_path: Path) -> None:
    """The first ten, which TPE draws at random; nothing is trained for them."""
    kept = list(json.loads(KEPT.read_text())["trials"].values())[:10]
    args = command_line().parse_args([*FLAGS, "--pruner=none", f"--out={tmp_path}"])
    asked = {name: value for name, value in vars(args).items() if name in FIELDS}
    flags = {name: value for name, value in vars(args).items() if name not in FIELDS}
    config = StudyConfig(train=config_from(argparse.Namespace(**flags)), **asked | {"trials": 10, "points": ()})
    setup, _ = prepare(config)
    study = study_of(setup, config)
    drive(replace(setup, config=replace(setup.config, warmup_steps=0)), config, study, InlineEngine(Drawing()))
    for trial, old in zip(study.trials, kept, strict=True):
        assert trial.params == pytest.approx(old["params"], rel=1e-6)


def test_the_kept_study_holds_what_can_differ() -> None:
    trials: list[dict[str, Any]] = list(json.loads(KEPT.read_text())["trials"].values())
    assert len(trials) == 16 > 10  # the last of which TPE draws by what it has seen
    assert {trial["outcome"].split(":")[0] for trial in trials} == {"complete", "pruned"}
    assert {len(trial["reports"]) for trial in trials} == {1, 3, 4, 5}
