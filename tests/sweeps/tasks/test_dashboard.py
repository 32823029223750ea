"""optuna-dashboard on a study as this project leaves it."""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from studies import make_run
from waiting import wait_until

from introvae.runs.pictures import last_picture
from sweeps.study import open_study
from sweeps.tasks.dashboard import ARTIFACTS, upload_picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Study of two trials: one complete, one infeasible."""
    folder = tmp_path_factory.mktemp("out") / "faces"
    study = open_study(folder, {"beta": 2.0})

    def objective(trial: optuna.Trial) -> float:
        value = trial.suggest_float("alpha", 0.05, 1.0, log=True)
        state = "collapsed" if trial.number else "complete"
        run = make_run(folder / f"trial-{trial.number:03d}", state, value)
        trial.set_user_attr("outcome", state)
        upload_picture(trial, run)
        if trial.number:
            raise optuna.TrialPruned
        return value

    study.optimize(objective, n_trials=2)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """Address of a dashboard; a warning in it is an error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("optuna-dashboard")), f"sqlite:///{folder / 'study.db'}",
               "--artifact-dir", str(folder / ARTIFACTS), "--port", str(port)]  # fmt: skip
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    log = folder / "dashboard.log"
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file, env=environment) as process:

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            with socket.socket() as client:
                return client.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers)
        yield f"http://127.0.0.1:{port}"
        process.terminate()
    assert "Warning" not in log.read_text() and "Traceback" not in log.read_text()


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        return answer.read()


def trials(server: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the id of the study, and its trials."""
    (summary,) = json.loads(get(f"{server}/api/studies"))["study_summaries"]
    assert summary["study_name"] == "faces"
    return summary["study_id"], json.loads(get(f"{server}/api/studies/{summary['study_id']}"))["trials"]


def test_it_shows_the_trials_and_how_they_ended(server: str, folder: Path) -> None:
    _, shown = trials(server)
    kept = open_study(folder, {"beta": 2.0}).trials
    assert [trial["state"] for trial in shown] == ["Complete", "Pruned"]
    assert [float(trial["values"][0]) for trial in shown[:1]] == kept[0].values
    assert [float(trial["params"][0]["param_external_value"]) for trial in shown] == [t.params["alpha"] for t in kept]
    attributes = [{item["key"]: item["value"] for item in trial["user_attrs"]} for trial in shown]
    assert ["complete" in found["outcome"] for found in attributes] == [True, False]


def test_it_shows_the_last_picture_of_each_run(server: str, folder: Path) -> None:
    study, shown = trials(server)
    for trial in shown:
        (artifact,) = trial["artifacts"]
        assert artifact["mimetype"] == "image/png"
        picture = last_picture(folder / f"trial-{trial['number']:03d}")
        assert picture and artifact["filename"] == picture.name
        address = f"{server}/artifacts/{study}/{trial['trial_id']}/{artifact['artifact_id']}"
        assert get(address) == picture.read_bytes()


def test_a_run_without_a_picture_has_no_artifact(tmp_path: Path) -> None:
    trial = optuna.create_study().ask()
    upload_picture(trial, tmp_path / "run")
    assert not (tmp_path / ARTIFACTS).exists()


def test_a_disk_that_takes_no_picture_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (tmp_path / ARTIFACTS).symlink_to(tmp_path / "gone")
    with pytest.raises(OSError, match="artifacts"):
        upload_picture(optuna.create_study().ask(), run)
