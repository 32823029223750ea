"""The public API: its names, their examples, and scripts that have no `if __name__ == "__main__"`."""

import doctest
import importlib
import inspect
import os
import shutil
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch
from helpers import ROOT
from nbclient import NotebookClient

import introvae
from introvae.commands.sample import main as sample

API = {
    "introvae": ("TrainConfig", "Trainer", "load_images", "load_run", "split_images"),
    "analysis": ("read_runs", "score_images", "score_run", "write_report"),
    "sweeps": ("Linear", "Space", "StudyConfig", "run_study"),
}
SLOW = {"run_study": [pytest.mark.slow]}  # whose example trains a study
NAMES = [pytest.param(package, name, marks=SLOW.get(name, [])) for package, names in API.items() for name in names]
STUDY = """
from introvae import TrainConfig
from sweeps import StudyConfig, run_study

print("the script begins", flush=True)
train = TrainConfig(
    image_size=16, channels=1, latent=8, widths=(8, 8), steps=20, warmup_steps=8, batch_size=8, log_every=2,
    checkpoint_every=4, picture_every=20,
)
study = run_study(StudyConfig(train=train, trials=1, workers=1, isolate=True, device="cpu", out="studies"))
print(len(study.trials), "trial", flush=True)
"""


@pytest.mark.parametrize("package", API)
def test_a_package_shows_its_public_names_and_no_others(package: str) -> None:
    module = importlib.import_module(package)
    assert sorted(module.__all__) == sorted(API[package])
    assert set(API[package]) == set(dir(module))
    code = f"import {package}, sys; dir({package}); assert not {{'torch', 'optuna', 'pandas'}} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match=f"No {package} attribute no_such_name"):
        _ = module.no_such_name


@pytest.mark.parametrize(("package", "name"), NAMES)
def test_the_examples_of_the_api_run(
    package: str, name: str, tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = getattr(importlib.import_module(package), name)
    for committed in ("beta-comparison", "gallery"):
        shutil.copytree(ROOT / "predictions" / committed, tmp_path / "predictions" / committed)
    monkeypatch.chdir(tmp_path)
    tests = [test for test in doctest.DocTestFinder(recurse=False).find(public, name) if test.examples]
    assert tests, f"{package}.{name} has no example"
    for test in tests:
        results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test)
        assert results.failed == 0
    said = inspect.getdoc(public) or ""
    assert "Args:" in said or "Attributes:" in said
    assert (
        inspect.isclass(public) or inspect.signature(public).return_annotation in (None, "None") or "Returns:" in said
    )


@pytest.mark.slow
@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_study_in_an_unguarded_script_runs_it_once(way: str, tmp_path: Path) -> None:
    script = tmp_path / "study.py"
    script.write_text(STUDY)
    command, given = [sys.executable, str(script) if way == "file" else "-"], "" if way == "file" else STUDY
    done = subprocess.run(command, input=given, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("the script begins") == 1 and done.stdout.endswith("1 trial\n")


@pytest.mark.slow
def test_a_study_runs_in_a_notebook(tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(STUDY)])
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for output in notebook.cells[0].outputs)
    assert printed.count("the script begins") == 1 and printed.endswith("1 trial\n")


def settings_of_the_process() -> dict[str, Any]:
    """Return what a library has no business to change."""
    return {
        "threads": torch.get_num_threads(),
        "precision": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "random": torch.get_rng_state().tolist(),
        "environment": dict(os.environ),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "filters": list(warnings.filters),
    }


def test_a_model_is_loaded_and_used_without_a_change_of_the_process() -> None:
    before = settings_of_the_process()
    model = introvae.load_run(ROOT / "predictions/gallery/trial-008", "cpu")
    model.reconstruct(model.sample(2))
    assert settings_of_the_process() == before


def test_a_command_gives_sigterm_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert sample([str(tmp_path)]) == 2
    assert signal.getsignal(signal.SIGTERM) is before
