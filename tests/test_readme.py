"""Commands and scripts of README and documentation work as typed: each is run, with fewer steps and smaller images."""

import ast
import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import COMMANDS, exit_code, forgive, make_celeba, save_image, tiny_flags
from studies import make_run
from torchvision.datasets import CelebA

from introvae.config import TrainConfig
from introvae.presets import size_defaults

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = {
    path: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
}
APART = ROOT / "docs" / "guide" / "machines.md"  # whose commands have tests of their own
COMMITTED = ("beta-comparison", "gallery")  # below predictions/
TESTED_ELSEWHERE = ("pip", "pytest", "torchrun", "optuna-dashboard", "python")
SHELL = re.compile(r"^```sh\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.findall(r"^    (.*)$", README, re.MULTILINE)


def commands() -> list[list[str]]:
    """Return the commands of shell blocks and README's first lines, in their order, as words."""
    blocks = [block for path, page in PAGES.items() if path != APART for block in SHELL.findall(page)]
    lines = [line for block in blocks for line in block.splitlines()]
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
        if "~/photographs" in words:
            flags += ["--study=photographs-64px"]  # likewise
        if "--like" in words:
            flags += ["--study=larger" if "--image-size" in words else "--study=narrower"]  # likewise
        if "--trials" in words:
            flags += ["--trials=2", "--pruner=none", "--steps=200", "--warmup-steps=160"]
        return [*flags, *(["--seeds=2"] if "--seeds" in words else []), *([] if "--search" in words else ["--lr=3e-3"])]
    return []


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout's predictions, and a home with photographs, CelebA and CelebA-HQ."""
    for name in COMMITTED:
        shutil.copytree(ROOT / "predictions" / name, tmp_path / "predictions" / name)
    make_run(tmp_path / "predictions" / "lessons" / "vae")
    for index in range(40):
        save_image(tmp_path / "home" / "photographs" / f"{index}.png", (20, 20), seed=index)
    make_celeba(tmp_path / "home" / "datasets", 60)
    (tmp_path / "home" / "celeba-hq").symlink_to("photographs")
    monkeypatch.setattr(CelebA, "_check_integrity", lambda self: True)  # checksums of the real pictures
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BROWSER", "true")
    forgive(monkeypatch)
    monkeypatch.chdir(tmp_path)


def test_a_best_run_is_trained_for_longer_than_its_study_had_it() -> None:
    """The numbers of steps as written, which the trainings of the tests do without."""
    lengths = {"orl-faces-32px": TrainConfig.steps}
    longer = []
    for words in commands():
        steps = int(words[words.index("--steps") + 1]) if "--steps" in words else None
        if words[0] == "introvae-sweep" and "~/photographs" in words:
            lengths["photographs-64px"] = steps or size_defaults(64)["steps"]
        if words[0] == "introvae-train" and "--from" in words and steps:
            study = Path(words[words.index("--from") + 1]).name
            longer.append(steps > lengths[study])
    assert len(longer) > 1 and all(longer)


@pytest.mark.slow
def test_every_command_does_as_written(world: None, capsys: pytest.CaptureFixture[str]) -> None:
    found = commands()
    assert {words[0] for words in found} == {*COMMANDS, *TESTED_ELSEWHERE}
    for words in found:
        if words[0] in COMMANDS:
            module = importlib.import_module(COMMANDS[words[0]])
            code = exit_code(module.main, [*words[1:], *smaller(words)])
            assert code == 0, f"{shlex.join(words)}: {capsys.readouterr().err}"


def test_readme_is_short() -> None:
    assert README.count("\n") <= 150


def test_extras_and_files_that_are_named_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = re.findall(r"\.\[(\w+)\]", "".join(PAGES.values()))
    assert named and set(named) <= set(extras)
    for page, text in PAGES.items():
        links = re.findall(r"\]\(([^):#]+)[)#]", text) + re.findall(r'src="([^"]+)"', text)
        files = re.findall(r"`(?:python )?((?:benchmarks|docs|examples|introvae|predictions)/[\w/.-]+)", text)
        assert all((page.parent / link).exists() for link in links), page
        assert all((ROOT / file).exists() for file in files if "orl-faces-32px" not in file), page


def test_anchors_that_are_linked_exist() -> None:
    for page, text in PAGES.items():
        for link, anchor in re.findall(r"\]\(([^):#]*)#([^)]+)\)", text):
            headings = re.findall(r"^#+ (.*)$", PAGES[(page.parent / link).resolve() if link else page], re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, (page, anchor)


def said() -> Iterator[str]:
    """Yield every string of the packages, with a 0 character for each value in it."""
    for package in ("introvae", "analysis", "sweeps"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield node.value


def test_messages_that_have_a_cure_are_those_of_the_code() -> None:
    """Between the values, which are numbers and words in capitals."""
    page = (ROOT / "docs" / "guide" / "troubleshooting.md").read_text(encoding="utf-8")
    strings = list(said())
    messages = [message for message in re.findall(r"^\| `(.*?)`", page, re.MULTILINE) if "attribute" not in message]
    assert len(messages) > 12
    for message in messages:
        parts = re.split(r"\.\.\.|\b[A-Z]+(?::[A-Z]+)?\b|cuda:0|column image|\d+x\d+|\d+", message)
        pattern = re.compile(".*".join(re.escape(part.strip()) for part in parts if part.strip(" '/:")))
        assert any(pattern.search(text) for text in strings), message


def test_the_documentation_builds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    api = (tmp_path / "guide" / "python" / "index.html").read_text(encoding="utf-8")
    for package in ("introvae", "analysis", "sweeps"):
        assert all(f">{name}</" in api for name in importlib.import_module(package).__all__), package


def test_the_table_is_what_the_report_prints(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from analysis.cli import main

    for name in COMMITTED:
        shutil.copytree(ROOT / "predictions" / name, tmp_path / "predictions" / name)
    assert main([str(tmp_path / "predictions"), "--format", "md"]) == 0
    table = capsys.readouterr().out.split("\n\n", 1)[1].strip()
    assert table in PAGES[ROOT / "docs" / "getting-started.md"]


@pytest.mark.slow
def test_python_does_as_written(world: None) -> None:
    (script,) = re.findall(r"^```python\n(.*?)^```", "".join(PAGES.values()), re.DOTALL | re.MULTILINE)
    there, here = "StudyConfig(trials=50)", "study_config(Path('out'), trials=2)"
    assert there in script
    names: dict[str, object] = {"Path": Path, **vars(importlib.import_module("studies"))}
    exec(script.replace(there, here), names)
    assert len(names["study"].trials) == 2 and names["again"].shape == names["samples"].shape  # type: ignore[attr-defined]


@pytest.mark.slow
def test_torchrun_as_written(world: None, tmp_path: Path) -> None:
    """Two processes instead of eight."""
    (words,) = (words for words in commands() if words[0] == "torchrun")
    words = ["2" if word == "8" else word for word in words]
    flags = [*tiny_flags("beta", "m"), "--hidden=8", "--decoder-hidden=8", "--device=cpu"]
    torchrun = str(Path(sys.executable).with_name("torchrun"))
    subprocess.run([torchrun, *words[1:], *flags], cwd=tmp_path, check=True, timeout=300)
