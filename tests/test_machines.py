"""The recipes of docs/guide/machines.md work as written, as far as one machine without Slurm and Kubernetes tells."""

import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest
import yaml
from cluster import two_nodes
from helpers import ROOT, save_image, tiny_flags
from optuna.trial import TrialState
from waiting import wait_until

from introvae.runs.folder import last_row
from sweeps.cli import command_line

PAGE = (ROOT / "docs" / "guide" / "machines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
FASTER = [
    *tiny_flags("beta", "m", "steps", "warmup_steps"), "--lr=3e-3", "--trials=2", "--pruner=none", "--device=cpu",
    "--steps=60", "--warmup-steps=40", "--study=study",
]  # fmt: skip

SCHEMA = json.loads((ROOT / "tests" / "support" / "rayjob.json").read_text(encoding="utf-8"))


def recipe(word: str) -> list[str]:
    """Return the introvae-sweep command of the block that holds a word."""
    (block,) = (block for block in BLOCKS if word in block)
    (line,) = re.findall(r"^(?:exec )?(introvae-sweep .*)$", block.replace("\\\n", " "), re.MULTILINE)
    return shlex.split(line)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    for index in range(40):
        save_image(tmp_path / "faces" / f"{index}.png", (20, 20), seed=index)
    return tmp_path


def runs(words: list[str], shared: Path, **changed: str) -> list[str]:
    """Return a command as it can run here, with other values of some flags."""
    here = [word.replace("/shared", str(shared)) for word in words[1:]]
    for flag, value in changed.items():
        here[here.index(f"--{flag}") + 1] = value
    return [sys.executable, "-m", "sweeps.cli", *here, *FASTER]


def ended(shared: Path) -> list[TrialState]:
    storage = f"sqlite:///{shared / 'predictions' / 'study' / 'study.db'}"
    return [trial.state for trial in optuna.load_study(study_name="study", storage=storage).trials]


def test_every_command_is_one_that_exists() -> None:
    commands = [
        line for block in BLOCKS for line in block.replace("\\\n", " ").splitlines() if "introvae-sweep" in line
    ]
    assert len(commands) == 3
    for line in commands:
        command_line().parse_args(shlex.split(line.removeprefix("exec "))[1:])


def test_the_job_of_kuberay_has_the_fields_of_its_types() -> None:
    job = yaml.safe_load((ROOT / "docs" / "kuberay.yaml").read_text())
    jsonschema.validate(job, SCHEMA)
    spec, cluster = job["spec"], job["spec"]["rayClusterSpec"]
    head, workers = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    for group in workers:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (head, *workers):
        (container,) = group["template"]["spec"]["containers"]
        volumes = {volume["name"] for volume in group["template"]["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    name, *flags = shlex.split(spec["entrypoint"])
    assert name == "introvae-sweep"
    command_line().parse_args(flags)


@pytest.mark.parametrize("wrong", ["backoffLimit: three", "backoffLimits: 3", "backoffLimit: 3.5"])
def test_another_name_or_type_is_seen(wrong: str) -> None:
    text = (ROOT / "docs" / "kuberay.yaml").read_text()
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace("backoffLimit: 3", wrong)), SCHEMA)


@pytest.mark.slow
def test_the_script_for_one_node_stops_with_checkpoints_and_continues(shared: Path) -> None:
    """Slurm would send SIGTERM to the shell, which the command has taken the place of."""
    (script,) = (block for block in BLOCKS if "#SBATCH" in block)
    command = shlex.join(runs(recipe("#SBATCH"), shared))
    written = shared / "script"
    written.write_text(re.sub(r"^exec .*$", lambda _: f"exec {command}", script, flags=re.MULTILINE))
    run = shared / "predictions" / "study" / "trial-000"
    process = subprocess.Popen(["sh", str(written)], stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (last_row(run) or {"step": 0})["step"] > 40, 120)
    process.terminate()
    shown = process.communicate()[1]
    assert process.returncode == 128 + signal.SIGTERM and "rerun the same command to resume" in shown
    assert TrialState.RUNNING in ended(shared)
    assert subprocess.run(["sh", str(written)]).returncode == 0
    assert len(ended(shared)) == 2 and TrialState.RUNNING not in ended(shared)


@pytest.mark.slow
def test_jobs_of_slurm_and_tasks_of_ray(shared: Path) -> None:
    words = recipe("--engine slurm")
    local = {"slurm": "cluster=local,timeout_min=10", "workers": "2"}
    assert subprocess.run(runs(words, shared, **local)).returncode == 0
    assert TrialState.RUNNING not in ended(shared)
    with two_nodes(gpus=1) as (address, _):
        there: list[Any] = runs(recipe("--engine ray"), shared, address=address)
        assert subprocess.run([*there, "--study=other"]).returncode == 0
