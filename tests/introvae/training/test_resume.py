"""--from RUN: longer, or a new run from its weights; --from STUDY --best."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from helpers import CPU, equal_states, exit_code, forgive, save_image, tiny_config, tiny_flags
from studies import read_scores

from analysis.cli import main as report
from analysis.train import main
from introvae.data.image_set import ImageSet
from introvae.runs.folder import load_checkpoint, read_config, read_metrics
from introvae.training.trainer import Trainer
from sweeps.cli import main as sweep


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finished") / "short"
    with pytest.MonkeyPatch.context() as patch:
        forgive(patch)
        assert exit_code(main, [*tiny_flags(), "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def finished(finished_once: Path, forgiving: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run that has ended, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished_once, Path("study/short"))


def end(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder)
    assert state is not None
    return state["model"]


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


@pytest.mark.slow
def test_a_finished_run_continued_for_longer_equals_a_long_one(finished: Path) -> None:
    assert exit_code(main, ["--from", str(finished), "--steps", "40", "--out", "longer"]) == 0
    assert exit_code(main, [*tiny_flags("steps"), "--steps", "40", "--out", "long"]) == 0
    assert equal(end(Path("longer")), end(Path("long")))
    rows = [[row["kl_real"] for row in read_metrics(Path(name))] for name in ("longer", "long")]
    assert rows[0] == rows[1] and len(rows[0]) == 20
    assert read_config(finished).steps == 20  # the source is as it was


@pytest.mark.slow
def test_best_takes_the_study_s_best_complete_run(finished: Path) -> None:
    others = {
        "diverged": {"state": "diverged", "score": 1.0},
        "worse": {"state": "complete", "score": 0.0},
        "optimized": {"state": "complete", "score": 1.0, "optimized": 0.0},
    }
    for name, scores in others.items():
        (finished.parent / name).mkdir()
        (finished.parent / name / "scores.json").write_text(json.dumps(scores))
    assert exit_code(main, ["--from", "study", "--best", "--steps", "24", "--out", "best"]) == 0
    assert exit_code(main, ["--from", str(finished), "--steps", "24", "--out", "same"]) == 0
    assert equal(end(Path("best")), end(Path("same")))


def test_another_setting_starts_a_new_run_from_the_weights(finished: Path) -> None:
    flags = ["--from", str(finished), "--beta", "30", "--steps", "4", "--checkpoint-every", "2", "--picture-every", "2"]
    assert exit_code(main, [*flags, "--out", "new"]) == 0
    config = read_config(Path("new"))
    assert (config.beta, config.warmup_steps, config.start_weights) == (30.0, 0, str(finished))
    assert [row["step"] for row in read_metrics(Path("new"))] == [2, 4]
    before, after = end(finished), end(Path("new"))
    moved = max((after[name] - value).abs().max().item() for name, value in before.items())
    assert 0 < moved < 0.02  # four steps of Adam at 1e-3 from there
    assert read_scores(Path("new")) is not None


@pytest.mark.slow
def test_a_run_goes_on_though_the_one_whose_weights_it_began_with_is_gone(finished: Path) -> None:
    flags = ["--beta", "30", "--steps", "4", "--checkpoint-every", "2", "--picture-every", "2"]
    assert exit_code(main, ["--from", str(finished), *flags, "--out", "new"]) == 0
    shutil.rmtree(finished)
    assert exit_code(main, ["--from", "new", "--steps", "6", "--out", "longer"]) == 0
    assert [row["step"] for row in read_metrics(Path("longer"))] == [2, 4, 6]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--from", "study/short"], "has its 20 steps; give more --steps, or a setting to change"),
        (["--from", "study", "--steps", "30"], "study is a folder of runs; name one, such as study/"),
        (["--from", "nowhere", "--best"], "nowhere holds no complete run"),
        (["--best"], "--best needs --from STUDY"),
        (["--from", "study/bare", "--steps", "30"], "study/bare has no checkpoint; give a run folder that has one"),
        (["--from", "study/short", "--latent", "9", "--steps", "30"], "have other shapes than its settings say"),
    ],
)
def test_what_cannot_be_continued_is_refused(
    flags: list[str], message: str, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, "study/bare", ignore=shutil.ignore_patterns("checkpoint*"))
    capsys.readouterr()
    assert exit_code(main, flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_run_from_a_trial_keeps_the_split_of_its_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another split would validate on images that the weights have been trained on."""
    monkeypatch.chdir(tmp_path)
    for index in range(40):
        save_image(Path("faces") / f"{index:02d}.png", (16, 16), "L", seed=index)
    flags = [
        *tiny_flags("beta", "m", "steps", "warmup_steps"),
        "--data",
        "faces",
        "--warmup-steps",
        "4",
        "--steps",
        "8",
    ]
    assert exit_code(sweep, [*flags, "--trials", "1", "--study", "study", "--keep", "all"]) == 0
    trial = Path("predictions/study/trial-000")
    assert read_config(trial).seed != read_config(trial).images_seed == 0
    assert exit_code(main, ["--from", str(trial), "--beta", "30", "--steps", "4", "--out", "other"]) == 0
    assert read_config(Path("other")).images_seed == 0


def test_a_run_that_was_asked_to_stop_continues_bit_for_bit(small_faces: ImageSet, tmp_path: Path) -> None:
    """The run stops at the log after the request, which is at no other checkpoint."""
    whole = Trainer(tiny_config(), small_faces, tmp_path / "whole", CPU)
    whole.run()
    first = Trainer(tiny_config(), small_faces, tmp_path / "cut", CPU)
    first.run(stop=lambda: first.step >= 9)
    state = load_checkpoint(tmp_path / "cut")
    assert first.step == 10 and state and state["step"] == 10
    second = Trainer(tiny_config(), small_faces, tmp_path / "cut", CPU)
    second.run()
    assert equal_states(second.state.as_dict(), whole.state.as_dict())
    assert [row["step"] for row in read_metrics(tmp_path / "cut")] == list(range(2, 21, 2))


def test_a_run_whose_images_have_changed_is_not_continued(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An image that is gone, or new, moves others between the sets."""
    monkeypatch.chdir(tmp_path)
    for name, count in (("faces", 12), ("held", 8), ("tested", 8), ("others", 9)):
        for index in range(count):
            save_image(Path(name) / f"{index}.png", (20, 20), "L", seed=100 * len(name) + index)
    command = [*tiny_flags(), "--data", "faces", "--validation", "held", "--test", "tested", "--device", "cpu"]
    assert exit_code(main, [*command, "--out", "run"]) == 0
    save_image(Path("tested/new.png"), (20, 20), "L", seed=7)
    refused = "run was trained with other images (test_images: 8 -> 9); restore them, or train it again\n"
    for flags in (
        [*command, "--out", "run"],  # which would resume it
        ["--from", "run", "--steps", "24", "--out", "longer"],
        ["--from", "run", "--beta", "30", "--out", "new"],
    ):
        assert exit_code(main, flags) == 2
        assert capsys.readouterr().err.endswith(refused)
    assert not Path("longer/params.toml").exists() and not Path("new/params.toml").exists()
    assert exit_code(main, ["--from", "run", "--data", "others", "--steps", "4", "--out", "elsewhere"]) == 0


def test_as_many_images_that_are_others_are_refused_too(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another name may move an image from the training to the test."""
    monkeypatch.chdir(tmp_path)
    for index in range(30):
        save_image(Path(f"faces/{index:02d}.png"), (20, 20), "L", seed=index)
    command = [*tiny_flags(), "--data", "faces", "--device", "cpu"]
    assert exit_code(main, [*command, "--out", "predictions/run"]) == 0
    for index in range(10):
        Path(f"faces/{index:02d}.png").rename(f"faces/z{index}.png")
    capsys.readouterr()
    for flags in ([*command, "--out", "predictions/run"], ["--from", "predictions/run", "--steps", "24"]):
        assert exit_code(main, flags) == 2
        assert "run was trained with other images (fingerprint: " in capsys.readouterr().err
    assert exit_code(report, ["predictions", "--rescore"]) == 0
    assert "passed over: predictions/run was trained with other images (fingerprint: " in capsys.readouterr().err
