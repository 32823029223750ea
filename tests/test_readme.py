"""What the README says can be typed."""

import re
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from conftest import tiny_flags

README = Path(__file__).parent.parent / "README.md"
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


@pytest.mark.slow
def test_torchrun_inside_a_trial(tmp_path: Path) -> None:
    """As written, but for the number of trials and processes, and a run of a few seconds."""
    (script,) = (code for code in PYTHON.findall(README.read_text()) if "torchrun" in code)
    flags = ", ".join(map(repr, [*tiny_flags("beta", "m"), "--device=cpu"]))
    for there, here in {'"--data=/shared/faces"': flags, "per-node=4": "per-node=2", "study, 50": "study, 2"}.items():
        assert there in script
        script = script.replace(there, here)
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=300)
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/predictions/several-gpus/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert (tmp_path / "predictions" / "several-gpus" / "trial-001" / "checkpoint.pt").exists()
