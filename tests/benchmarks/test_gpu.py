"""The command for a machine with a GPU runs to its end on a CPU."""

from pathlib import Path

import gpu
import pytest


@pytest.mark.slow
def test_everything_runs_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = gpu.parts(tmp_path, None, smoke=True)["tests"]
    names = gpu.parts(tmp_path, None, smoke=True).keys()
    assert {"tests", "step-16px", "cost-16px-fp32", "trials", "torchrun"} == names
    monkeypatch.setattr("sys.argv", ["gpu.py", "--out", str(tmp_path), "--smoke"])
    assert gpu.main() == 0, capsys.readouterr().out
    assert all((tmp_path / f"{name}.txt").stat().st_size for name in (*names, "machine"))
    assert (tmp_path / "trials" / "report.html").exists() and (tmp_path / "torchrun" / "scores.json").exists()
    assert "gpu" in tests


def test_a_gpu_is_asked_for_where_it_is_no_smoke(tmp_path: Path) -> None:
    found = gpu.parts(tmp_path, "faces", smoke=False)
    assert {f"cost-{size}px-{mode}" for size in (64, 128, 256) for mode in ("fp32", "bf16", "compiled")} < found.keys()
    assert all("cuda" in words for name, words in found.items() if name != "tests")
    assert "cost-256px-fp32" not in gpu.parts(tmp_path, None, smoke=False)
