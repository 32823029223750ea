"""Runs that are measured again are as if they had just been trained."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers import exit_code, save_image, tiny_config, tiny_flags
from studies import read_scores, write_scores

from analysis import rescore
from analysis.cli import main
from analysis.evaluate import finish, score_run
from analysis.measures.distance import kid_efficientnet_lite0
from analysis.outputs import HeldOut, outputs_of, scored_images
from analysis.report.runs import read_runs
from analysis.report.table import frame
from analysis.train import main as train
from introvae.config import dump_toml
from introvae.data.image_set import ImageSet, load_images
from introvae.errors import UserError
from introvae.runs.folder import save_checkpoint
from introvae.runs.record import SCORES, RunRecord, RunState
from introvae.training.trainer import Trainer


@pytest.fixture
def study(trained: Trainer, forgiving: None, tmp_path: Path) -> Path:
    """One trained run in several states; each has the scores of an older version."""
    states = {"good": "complete", "pruned": "pruned", "diverged": "diverged", "bare": "complete", "running": ""}
    for name, state in states.items():
        shutil.copytree(trained.folder, tmp_path / "study" / name)
        if state:
            write_scores(tmp_path / "study" / name, {"state": state, "reason": f"why {name}", "score": 0.125})
    for path in (tmp_path / "study" / "bare").glob("checkpoint*"):
        path.unlink()
    return tmp_path / "study"


@pytest.mark.slow
def test_scores_are_those_of_this_version(
    study: Path, trained: Trainer, small_faces: ImageSet, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {name: (study / name / SCORES).read_bytes() for name in ("diverged", "bare")}
    assert main([str(study), "--rescore"]) == 0
    for name, state in (("good", RunState.COMPLETE), ("pruned", RunState.PRUNED)):
        expected = finish(
            trained.folder, trained.config, small_faces, trained.evaluated, state=state, reason=f"why {name}"
        )
        assert read_scores(study / name) == expected.to_dict() and expected.state is state
        assert ("test" in read_scores(study / name)) == (state is RunState.COMPLETE)
    assert before == {name: (study / name / SCORES).read_bytes() for name in before}
    assert not (study / "running" / SCORES).exists()
    printed = capsys.readouterr()
    lines = printed.err.splitlines()
    assert lines[:3] == [
        "1/5 bare: passed over: it has no checkpoint",
        "2/5 diverged: passed over: diverged",
        f"3/5 good: score 0.125 -> {expected.scores.score:.3f}",
    ]
    assert re.search(f"^good +{expected.scores.score:.3f} ", printed.out, re.MULTILINE)


def test_a_run_that_failed_stays_worth_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The checkpoint may be good, but the training that was asked for has not come to its end."""
    write_scores(study / "good", {"state": "failed", "reason": "out of memory", "score": 0.0})
    before = (study / "good" / SCORES).read_bytes()
    rescore.rescore([run for run in read_runs(study) if run.name == "good"])
    assert capsys.readouterr().err == "1/1 good: passed over: failed\n"
    assert (study / "good" / SCORES).read_bytes() == before


def test_data_that_are_gone_stop_nothing(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tiny_config(data="/nowhere/faces")
    (study / "good" / "params.toml").write_text(dump_toml({"config": config.to_dict()}))
    rescore.rescore(read_runs(study))
    lines = capsys.readouterr().err.splitlines()
    assert lines[2].startswith("3/5 good: passed over: ") and "/nowhere/faces" in lines[2]
    assert lines[3].startswith("4/5 pruned: score 0.125 -> ")


def test_a_run_that_was_trained_on_other_images_is_passed_over(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The images that are held out now might be among them, as with a split of an earlier version."""
    params = study / "good" / "params.toml"
    text = params.read_text()
    assert "training_images = 240" in text and "validation_images = 80\ntest_images = 80\n" in text
    params.write_text(text.replace("training_images = 240", "training_images = 320").replace("test_images = 80\n", ""))
    before = (study / "good" / SCORES).read_bytes()
    rescore.rescore([run for run in read_runs(study) if run.name == "good"])
    said = (
        f"{study / 'good'} was trained with other images (training_images: 320 -> 240); restore them, or train it again"
    )
    assert capsys.readouterr().err == f"1/1 good: passed over: {said}\n"
    assert (study / "good" / SCORES).read_bytes() == before
    params.write_text(text.replace("test_images = 80", "test_images = 70"))
    with pytest.raises(UserError, match=r"was trained with other images \(test_images: 70 -> 80\)"):
        score_run(study / "good", "cpu")


def test_a_foreign_checkpoint_is_passed_over(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(study / "good", {"step": 20, "model": {}, "average": None})
    before = (study / "good" / SCORES).read_bytes()
    rescore.rescore([run for run in read_runs(study) if run.name in ("good", "pruned")])
    lines = capsys.readouterr().err.splitlines()
    said = f"{study / 'good'} cannot be used: its checkpoint holds no weights of this package; train it again"
    assert lines[0] == f"1/2 good: passed over: {said}"
    assert lines[1].startswith("2/2 pruned: score 0.125 -> ")
    assert (study / "good" / SCORES).read_bytes() == before


@pytest.mark.slow
def test_a_failure_half_way_leaves_each_score_whole(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between two runs, the command has measured the first and left the second as it was."""
    calls = []

    def stopping(*args: Any, **given: Any) -> RunRecord:
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return finish(*args, **given)

    monkeypatch.setattr(rescore, "finish", stopping)
    assert main([str(study), "--rescore"]) == 130
    good, pruned = (read_scores(study / name) or {} for name in ("good", "pruned"))
    assert "measures" in good and pruned == {"state": "pruned", "reason": "why pruned", "score": 0.125}


def test_a_trial_is_measured_on_the_images_that_its_study_held_back(
    study: Path, trained: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials have a seed each, and the study's for the split of a folder."""
    for name, split_seed in (("good", None), ("pruned", 7)):
        config = replace(trained.config, seed=3, split_seed=split_seed)
        (study / name / "params.toml").write_text(dump_toml({"config": config.to_dict()}))
    seeds = []

    def noted(seed: int, **arguments: Any) -> ImageSet:
        seeds.append(seed)
        return load_images(seed=seed, **arguments)

    monkeypatch.setattr(rescore, "load_images", noted)
    rescore.rescore(read_runs(study))
    assert seeds == [3, 7]


def test_a_file_of_weights_that_is_not_there_is_refused_before_any_run_is_measured(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(main, [str(study), "--rescore", "--fid", str(tmp_path / "none.pth")]) == 2
    error = capsys.readouterr().err
    assert re.search(r"FID needs a file .*none.pth does not exist", error) and "good" not in error


@pytest.mark.slow
def test_distances_that_need_a_network_come_on_request(
    study: Path, trained: Trainer, small_faces: ImageSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(study), "--rescore", "--kid"]) == 0
    names = ("kid_efficientnet_lite0", "kid_efficientnet_lite0_deviation")
    scores = read_scores(study / "good")
    kept: list[tuple[HeldOut, dict[str, Any]]] = [("validation", scores), ("test", scores["test"])]
    for on, part in kept:
        real = scored_images(small_faces, on=on)
        expected = kid_efficientnet_lite0(real, outputs_of(trained.evaluated, real, on).samples)
        assert tuple(part["measures"][name] for name in names) == pytest.approx(expected)
    assert scores["test"]["measures"].keys() == set(names)
    pruned = read_scores(study / "pruned")  # it has not reached its end
    assert names[0] in pruned["measures"] and "test" not in pruned
    (row,) = frame(read_runs(study / "good")).to_dict("records")
    for name, (_, part) in zip((names[0], f"test_{names[0]}"), kept, strict=True):
        assert row[name] == part["measures"][names[0]]
    shutil.rmtree(study / "pruned")
    assert main([str(study), "--rescore"]) == 0  # what was computed on request stays
    again = read_scores(study / "good")
    assert again["test"]["measures"] == scores["test"]["measures"]
    assert [again["measures"][name] for name in names] == [scores["measures"][name] for name in names]
    with pytest.raises(SystemExit):
        main([str(study), "--kid"])
    assert "--kid and --fid need --rescore" in capsys.readouterr().err


@pytest.mark.slow
def test_too_few_images_for_a_distance_leave_the_other_measures(
    tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, count in (("faces", 12), ("held", 16), ("tested", 8)):
        for index in range(count):
            save_image(Path(name) / f"{index}.png", (20, 20), "L", seed=100 * len(name) + index)
    folders = ["--data", "faces", "--validation", "held", "--test", "tested"]
    assert train([*tiny_flags(), *folders, "--device", "cpu", "--out", "runs/few"]) == 0
    before = read_scores(Path("runs/few"))
    capsys.readouterr()
    assert main(["runs", "--rescore", "--kid"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    score, shapes = f"score {before['score']:.3f} -> {before['score']:.3f}", "(8, 1, 16, 16) and (8, 1, 16, 16)"
    assert line == f"1/1 few: {score}; no KID on test images: images of shapes {shapes} are fewer than 16"
    after = read_scores(Path("runs/few"))
    assert "kid_efficientnet_lite0" in after["measures"] and after["test"] == before["test"]
