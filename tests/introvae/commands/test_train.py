"""The commands as a user meets them: help, nonsense, a training from start to end."""

import os
import resource
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from helpers import COMMANDS, save_image, tiny_config, tiny_flags
from PIL import Image
from studies import read_scores

from analysis.train import main
from introvae.commands.train import run_name
from introvae.runs.folder import read_config, read_machine, write_params


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_quick_short_and_names_defaults(name: str) -> None:
    """Quick beside a start of Python, in the processor's time, as wall time is that of whatever runs beside."""
    script = str(Path(sys.executable).with_name(name))
    times: dict[str, list[float]] = {"start": [], "help": []}
    for _ in range(3):
        for kind, command in (("start", [sys.executable, "-c", "pass"]), ("help", [script, "--help"])):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times[kind].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times["help"]) < 6 * min(times["start"])
    assert len(result.stdout.splitlines()) <= 75
    assert "[" in result.stdout.partition("-h, --help")[2] or name == "introvae-export"  # which has none to name


@pytest.mark.parametrize("module", COMMANDS.values())
def test_help_imports_nothing_heavy(module: str) -> None:
    code = (
        "import sys, importlib; main = importlib.import_module(sys.argv[1]).main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = ('torch', 'torchvision', 'optuna', 'pandas', 'matplotlib', 'numpy')\n"
        "print('HEAVY', [m for m in heavy if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True)
    assert result.stdout.endswith("HEAVY []\n")


def test_a_training_from_start_to_end(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [*tiny_flags("beta", "m"), "--alpha", "0:0,10:0.5", "--beta", "12", "--m", "9", "--device", "cpu"]
    assert main(command) == 0
    first = capsys.readouterr()
    (folder,) = (tmp_path / "predictions").iterdir()
    assert (
        f"{folder.relative_to(tmp_path)}: complete, score " in first.out
        and "next: introvae-report predictions" in first.out
    )
    assert "step 20/20" in first.err
    config = read_config(folder)
    assert (config.alpha, config.beta, config.m, config.channels) == (((0, 0.0), (10, 0.5)), 12.0, 9.0, 1)
    files = ("params.toml", "metrics.csv", "checkpoint.pt", "scores.json", "images/step-000020.png")
    for name in (*files, "curves.png", "images/training.gif"):
        assert (folder / name).is_file()
    scores = read_scores(folder)
    assert main(command) == 0  # nothing is left to do, and nothing is done
    assert read_scores(folder) == scores
    assert len(list((tmp_path / "predictions").iterdir())) == 1


def test_settings_come_from_a_file_and_flags_go_before_it(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    write_params(first, tiny_config(alpha=0.0), {})
    assert main(["--config", str(first / "params.toml"), "--seed", "3", "--out", str(second), "--device", "cpu"]) == 0
    assert read_config(second).to_dict() == read_config(first).to_dict() | {"seed": 3}


def test_folders_of_ones_own_are_for_validation_and_the_test(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test folder is inside of the data, and one of the validation images is a training image mirrored."""
    monkeypatch.chdir(tmp_path)
    for folder, first, count in (("faces", 0, 9), ("faces/test", 20, 8), ("others", 40, 7)):
        for index in range(first, first + count):
            save_image(Path(folder) / f"{index}.png", (20, 20), "L", seed=index)
    with Image.open("faces/3.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save("others/mirrored.png")
    command = [*tiny_flags(), "--data", "faces", "--validation", "others", "--test", "faces/test", "--device", "cpu"]
    assert main([*command, "--out", "run"]) == 0
    printed = capsys.readouterr()
    assert "1 of 9 images in faces are left out, as near duplicates of validation or test images\n" in printed.err
    scores = read_scores(Path("run"))
    assert f", score {scores['score']:.3f} (on test images {scores['test']['score']:.3f})" in printed.out
    config, machine = read_config(Path("run")), read_machine(Path("run"))
    assert (config.validation, config.test) == ("others", "faces/test")
    assert [machine[f"{name}_images"] for name in ("training", "validation", "test")] == [8, 8, 8]
    assert main([*tiny_flags(), "--test", "others", "--out", "none", "--device", "cpu"]) == 2
    assert "--test others needs a folder as --data; orl-faces has test images of its own" in capsys.readouterr().err


def test_a_vae_learns_with_alpha_0(tmp_path: Path) -> None:
    assert main([*tiny_flags("warmup_steps"), "--warmup-steps", "0", "--alpha", "0", "--out", str(tmp_path / "v")]) == 0
    assert "alpha = 0.0" in (tmp_path / "v" / "params.toml").read_text()


def test_a_diverged_run_ends_with_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*tiny_flags(), "--lr", "1e30", "--out", str(tmp_path), "--device", "cpu"]) == 1
    assert "is not finite" in capsys.readouterr().err
    scores = read_scores(tmp_path)
    assert scores and scores["state"] == "diverged" and scores["score"] == 0
    assert (tmp_path / "curves.png").is_file() and (tmp_path / "images" / "training.gif").is_file()


def test_a_diverged_run_keeps_its_log_and_exit_code_when_its_command_is_typed_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log is longer than what the last checkpoint has seen."""
    schedule = "0:10,14:10,15:3e38"
    command = [*tiny_flags("beta"), "--alpha", "0", "--beta", schedule, "--log-every", "1", "--out", str(tmp_path)]
    assert main([*command, "--device", "cpu"]) == 1
    reason = capsys.readouterr().err.splitlines()[-1]
    log = (tmp_path / "metrics.csv").read_bytes()
    assert log.count(b"\n") > 13 and "not finite" in reason
    assert main([*command, "--device", "cpu"]) == 1
    printed = capsys.readouterr()
    assert printed.err.splitlines()[-1] == reason and f"{tmp_path}: diverged, score 0.000" in printed.out
    assert (tmp_path / "metrics.csv").read_bytes() == log
    assert main([*command, "--lr", "0.5", "--device", "cpu"]) == 2
    assert "holds another run (lr: 0.001 -> 0.5)" in capsys.readouterr().err


@pytest.mark.parametrize(("data", "shown"), [(".faces", "faces"), ("a/..", "here"), ("漢" * 80, "漢" * 40)])
def test_a_run_is_named_so_that_it_is_seen(
    data: str, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert run_name(tiny_config(data=data)).startswith(f"{shown}-alpha0.25-")


def test_a_path_that_is_empty_or_no_text_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            import_module(COMMANDS[name]).main(["--out" if name != "introvae-report" else "--tensorboard", ""])
        assert ended.value.code == 2
        assert "the path is empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", os.fsdecode(b"x\xff")])
    assert "argument --out: 'x\\udcff' is not UTF-8" in capsys.readouterr().err
    for name in ("--data", "--validation", "--test"):
        assert main([name, ""]) == 2
        assert capsys.readouterr().err == f"introvae-train: {name[2:]} is ''; allowed: the name of what is there\n"


def test_a_folder_for_pictures_that_leads_elsewhere_is_not_written_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "run" / "images").symlink_to("../other")
    assert main([*tiny_flags(), "--out", str(tmp_path / "run"), "--device", "cpu"]) == 2
    assert "images: is a link; remove it" in capsys.readouterr().err
    assert not list((tmp_path / "other").iterdir())


@pytest.mark.parametrize("flag", ["data", "validation"])
def test_a_run_is_not_written_among_its_images(
    flag: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the pictures of the run would be images when the command is typed again."""
    monkeypatch.chdir(tmp_path)
    for index in range(18):
        save_image(Path("ab"[index % 2]) / f"{index}.png", (20, 20), "L", seed=index)
    places = {"data": "a", "validation": "b"}
    command = [*tiny_flags(), *(f"--{name}={place}" for name, place in places.items()), "--device", "cpu"]
    for more in ([], ["--dry-run"]):
        assert main([*command, "--out", f"./{places[flag]}/", *more]) == 2
        assert f"{places[flag]} is the folder of --{flag}, and holds images" in capsys.readouterr().err
    assert not list(tmp_path.rglob("params.toml"))


def test_a_name_that_is_not_utf_8_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = os.fsdecode(b"su\xff")
    for index in range(9):
        save_image(tmp_path / odd / f"{index}.png", (20, 20), "L", seed=index)
    assert main([*tiny_flags(), "--data", odd, "--out", "run", "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("introvae-train: a name is not UTF-8, near ") and len(line) < 150
