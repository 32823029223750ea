"""Commands and scripts of the README work as typed: each is run, with fewer steps and smaller images."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from helpers import COMMANDS, exit_code, forgive, make_celeba, save_image, tiny_flags
from studies import make_run
from torchvision.datasets import CelebA

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMITTED = ("beta-comparison", "gallery")  # below predictions/
TESTED_ELSEWHERE = ("pip", "pytest", "torchrun", "optuna-dashboard", "python")
INDENTED = re.findall(r"^    (.*)$", README.split("\n## ")[0], re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the commands of the shell blocks and the first lines, in their order, as words."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    parts = [part for line in [*INDENTED, *lines] for part in line.split("&&")]
    return [words for part in parts if (words := shlex.split(part, comments=True))]


def smaller(words: list[str]) -> list[str]:
    """Flags after those that are written, which they override: a training of seconds."""
    command = words[0]
    if command == "introvae-train":
        if "--from" in words:
            larger = ["--image-size=32", "--widths=8,8,8"] if "--image-size" in words else []
            every = ["--checkpoint-every=2", "--picture-every=2", "--log-every=2"]
            return [*larger, "--steps=4", "--warmup-steps=2", *every]
        kept = {"beta", "m"} if "--preset" in words else {word[2:] for word in words if word in ("--beta", "--m")}
        return [*tiny_flags(*kept), "--hidden=8", "--decoder-hidden=8"]
    if command == "introvae-sweep":
        flags = [*tiny_flags("beta", "m"), "--hidden=8", "--decoder-hidden=8", "--workers=1"]
        if words == ["introvae-sweep", "--trials", "50"]:
            flags += ["--study=orl-faces-32px"]  # as it is called with images of that size
        if "--like" in words:
            flags += ["--study=larger" if "--image-size" in words else "--study=narrower"]  # likewise
        if "--trials" in words:
            flags += ["--trials=2", "--pruner=none", "--steps=200", "--warmup-steps=160"]
        return [*flags, *(["--seeds=2"] if "--seeds" in words else []), *([] if "--search" in words else ["--lr=3e-3"])]
    return []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout's predictions, and a home with photographs and CelebA."""
    for name in COMMITTED:
        shutil.copytree(ROOT / "predictions" / name, tmp_path / "predictions" / name)
    make_run(tmp_path / "predictions" / "lessons" / "vae")
    for index in range(40):
        save_image(tmp_path / "home" / "photographs" / f"{index}.png", (20, 20), seed=index)
    make_celeba(tmp_path / "home" / "datasets", 60)
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)  # checksums of the real pictures
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BROWSER", "true")
    forgive(monkeypatch)
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_every_command_does_as_written(world: None, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert {words[0] for words in found} == {*COMMANDS, *TESTED_ELSEWHERE}
    for words in found:
        if words[0] in COMMANDS:
            module = importlib.import_module(COMMANDS[words[0]])
            code = exit_code(module.main, [*words[1:], *smaller(words)])
            assert code == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"


def test_its_extras_and_the_files_that_it_names_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    machines = (ROOT / "docs" / "machines.md").read_text(encoding="utf-8")
    named = re.findall(r"\.\[(\w+)\]", README + machines)
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


@pytest.mark.slow
def test_python_does_as_written(world: None) -> None:
    (script,) = blocks("python")
    there, here = "StudyConfig(trials=50)", "study_config(Path('out'), trials=2)"
    assert there in script
    names: dict[str, object] = {"Path": Path, **vars(importlib.import_module("studies"))}
    exec(script.replace(there, here), names)
    assert len(names["study"].trials) == 2 and names["again"].shape == names["samples"].shape  # type: ignore[attr-defined]


@pytest.mark.slow
def test_torchrun_as_written(world: None, tmp_path: Path) -> None:
    """Two processes instead of eight, on photographs, as the checksums of CelebA are looked at."""
    (words,) = (words for words in commands() if words[0] == "torchrun")
    words = ["2" if word == "8" else word.replace("celeba:~/datasets", "home/photographs") for word in words]
    flags = [*tiny_flags("beta", "m"), "--hidden=8", "--decoder-hidden=8", "--device=cpu"]
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    subprocess.run([torchrun, *words[1:], *flags], cwd=tmp_path, check=True, timeout=300)
