"""Commands and scripts of the README work as typed: each is run, with fewer steps and smaller images."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from helpers import COMMANDS, exit_code, make_celeba, save_image, tiny_flags
from postgresql import PostgreSQL
from studies import make_run
from torchvision.datasets import CelebA

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMITTED = ("beta-comparison", "gallery")  # below predictions/
STORAGE = "postgresql+psycopg://me@db/introvae"
TESTED_ELSEWHERE = ("pip", "pytest", "torchrun", "optuna-dashboard", "python")
INDENTED = re.findall(r"^    (.*)$", README.split("\n## ")[0], re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the commands of the shell blocks and the first lines, in their order, as words."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    parts = [part for line in [*INDENTED, *lines] for part in line.split("&&")]
    words = [shlex.split(part, comments=True) for part in parts]
    return [line[1:] if line[0] == "srun" else line for line in words if line]


def smaller(words: list[str]) -> list[str]:
    """Flags after those that are written, which they override: a training of seconds."""
    command = words[0]
    if command == "introvae-train":
        if "--from" in words:
            return ["--steps=4", "--warmup-steps=2", "--checkpoint-every=2", "--picture-every=2", "--log-every=2"]
        kept = {"beta", "m"} if "--preset" in words else {word[2:] for word in words if word in ("--beta", "--m")}
        return [*tiny_flags(*kept), "--hidden=8", "--decoder-hidden=8"]
    if command == "introvae-sweep":
        flags = [*tiny_flags("beta", "m"), "--hidden=8", "--decoder-hidden=8", "--workers=1"]
        if words == ["introvae-sweep", "--trials", "50"]:
            flags += ["--study=orl-faces-32px"]  # as it is called with images of that size
        if "--trials" in words:
            flags += ["--trials=2", "--pruner=none", "--steps=200", "--warmup-steps=160"]
        return [*flags, *(["--seeds=2"] if "--seeds" in words else []), *([] if "--search" in words else ["--lr=3e-3"])]
    return []


@pytest.fixture
def world(
    tmp_path: Path, postgres: PostgreSQL, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[dict[str, str]]:
    """A checkout's predictions, a home with photographs and CelebA, a shared folder, a database; what to call them."""
    for name in COMMITTED:
        shutil.copytree(ROOT / "predictions" / name, tmp_path / "predictions" / name)
    make_run(tmp_path / "predictions" / "lessons" / "vae")
    for folder in ("home/photographs", "shared/faces"):
        for index in range(40):
            save_image(tmp_path / folder / f"{index}.png", (20, 20), seed=index)
    make_celeba(tmp_path / "home" / "datasets", 60)
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)  # checksums of the real pictures
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BROWSER", "true")
    monkeypatch.chdir(tmp_path)
    yield {"/shared": str(tmp_path / "shared"), STORAGE: postgres.url(request.node.name)}


@pytest.mark.slow
def test_every_command_does_as_written(world: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert {words[0] for words in found} == {*COMMANDS, *TESTED_ELSEWHERE}
    for words in found:
        if words[0] in COMMANDS:
            here = shlex.split(shlex.join(words).replace("/shared", world["/shared"]).replace(STORAGE, world[STORAGE]))
            module = importlib.import_module(COMMANDS[words[0]])
            code = exit_code(module.main, [*here[1:], *smaller(words)])
            assert code == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"


def test_its_extras_and_the_files_that_it_names_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"\.\[(\w+)\]", README)
    assert named and set(named) <= set(extras)
    prose = README + (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    named = [*re.findall(r"\]\(([^):#]+)[)#]", README), *re.findall(r'src="([^"]+)"', README)]
    for path in [*named, *re.findall(r"python (benchmarks/\w+\.py)", prose)]:
        assert (ROOT / path).exists(), path


def test_its_table_is_what_the_report_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from analysis.cli import main

    for name in COMMITTED:
        shutil.copytree(ROOT / "predictions" / name, tmp_path / "predictions" / name)
    assert main([str(tmp_path / "predictions"), "--format", "md"]) == 0
    table = capsys.readouterr().out.split("\n\n", 1)[1].strip()
    assert table in README


def test_python_does_as_written(world: dict[str, str]) -> None:
    (script,) = (code for code in blocks("python") if "torchrun" not in code)
    there, here = "StudyConfig(trials=50)", "study_config(Path('out'), trials=2)"
    assert there in script
    names: dict[str, object] = {"Path": Path, **vars(importlib.import_module("studies"))}
    exec(script.replace(there, here), names)
    assert len(names["study"].trials) == 2 and names["again"].shape == names["samples"].shape  # type: ignore[attr-defined]


def test_the_kubernetes_job_calls_a_command_that_exists() -> None:
    (job,) = blocks("yaml")
    (command,) = re.findall(r"command: \[(.*?)\]", job, re.DOTALL)
    name, *flags = shlex.split(command.replace(",", " "))
    importlib.import_module(COMMANDS[name]).command_line().parse_args(flags)


@pytest.mark.slow
def test_torchrun_as_written(world: dict[str, str], tmp_path: Path) -> None:
    """Two processes instead of eight, on photographs, as the checksums of CelebA are looked at."""
    (words,) = (words for words in commands() if words[0] == "torchrun")
    words = ["2" if word == "8" else word.replace("celeba:~/datasets", "home/photographs") for word in words]
    flags = [*tiny_flags("beta", "m"), "--hidden=8", "--decoder-hidden=8", "--device=cpu"]
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    subprocess.run([torchrun, *words[1:], *flags], cwd=tmp_path, check=True, timeout=300)


@pytest.mark.slow
def test_torchrun_inside_a_trial(tmp_path: Path) -> None:
    """Run the script as written, but for the number of trials and processes and the length of runs."""
    (script,) = (code for code in blocks("python") if "torchrun" in code)
    flags = ", ".join(map(repr, [*tiny_flags("beta", "m"), "--device=cpu"]))
    for there, here in {'"--data=/shared/faces"': flags, "per-node=4": "per-node=2", "study, 50": "study, 2"}.items():
        assert there in script
        script = script.replace(there, here)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where torchrun lies
    subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PATH": path}, check=True, timeout=300
    )
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path}/predictions/several-gpus/study.db")
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 2
    assert (tmp_path / "predictions" / "several-gpus" / "trial-001" / "checkpoint.pt").exists()
