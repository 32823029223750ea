"""introvae-export: what is given away is whole, small, and can be used for everything but going on."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from helpers import CPU, exit_code, forgive, tiny_config, tiny_flags
from safetensors.torch import load_file
from studies import read_scores

import introvae
from analysis.cli import main as report
from analysis.train import main as train
from introvae.commands.export import FORMATS, main
from introvae.data.image_set import ImageSet
from introvae.runs.folder import load_checkpoint, read_config, read_metrics
from introvae.training.trainer import Trainer

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "trial-000"
    with pytest.MonkeyPatch.context() as patch:
        forgive(patch)
        assert exit_code(train, [*tiny_flags("ema_decay"), "--ema-decay", "0.5", "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def run(run_once: Path, tmp_path: Path, forgiving: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a run that has ended, in the working folder."""
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(run_once, Path("study/trial-000"))


def test_a_copy_holds_the_weights_that_are_evaluated_and_all_small_files(run: Path, capsys: Captured) -> None:
    assert main(["study", "--best", "--out", "given"]) == 0
    copy = Path("given/trial-000")
    assert f"{copy}: " in capsys.readouterr().out
    state = load_checkpoint(copy)
    assert state and state.keys() == {"step", "model"} and state["step"] == 20
    assert (copy / "checkpoint.pt").stat().st_size < 0.4 * (run / "checkpoint.pt").stat().st_size
    samples = [introvae.load_run(folder, "cpu").sample(3, 0) for folder in (run, copy)]
    assert torch.equal(*samples)
    left_out = {"checkpoint.pt", "checkpoint.previous.pt", ".lock"}
    files = {path.relative_to(run) for path in run.rglob("*") if path.name not in left_out}
    assert files | {Path("README.md")} == {p.relative_to(copy) for p in copy.rglob("*") if p.name not in left_out}
    assert str(read_metrics(copy)) == str(read_metrics(run))  # NaN and all


def test_a_copy_is_reported_and_scored_again(run: Path, capsys: Captured) -> None:
    assert main([str(run), "--out", "given"]) == 0
    before = read_scores(Path("given/trial-000"))
    assert before and exit_code(report, ["given", "--rescore"]) == 0
    after = read_scores(Path("given/trial-000"))
    assert after and after["score"] == pytest.approx(before["score"], rel=1e-9)
    assert "trial-000" in capsys.readouterr().out


@pytest.mark.slow
def test_training_starts_over_from_a_copy_s_weights(run: Path, capsys: Captured) -> None:
    assert main([str(run), "--out", "given"]) == 0
    assert exit_code(train, ["--from", "given/trial-000", "--steps", "4", "--out", "new"]) == 0
    assert "given/trial-000 holds weights alone; this is a new run from them" in capsys.readouterr().err
    config = read_config(Path("new"))
    assert (config.start_weights, config.steps, config.warmup_steps) == ("given/trial-000", 4, 0)
    again = ["--config", "given/trial-000/params.toml", "--out", "given/trial-000"]
    assert exit_code(train, again) == 0  # which shows a run that has ended
    Path("given/trial-000/scores.json").unlink()
    assert exit_code(train, again) == 2
    assert "it holds weights alone, from which no training can continue" in capsys.readouterr().err


def test_a_run_without_a_checkpoint_is_copied_without_weights(run: Path) -> None:
    (run / "checkpoint.pt").unlink()
    (run / "checkpoint.previous.pt").unlink(missing_ok=True)
    assert main([str(run), "--out", "given"]) == 0
    assert sorted(path.name for path in Path("given").iterdir()) == ["trial-000"]
    assert not (Path("given/trial-000") / "checkpoint.pt").exists()


def test_what_cannot_be_copied_is_refused_before_anything_is_written(run: Path, capsys: Captured) -> None:
    shutil.copytree(run, "other/trial-000")
    shutil.copytree(run, "linked/trial-000")
    Path("secret").write_text("of somebody")
    Path("linked/trial-000/images/step-000099.png").symlink_to(Path("secret").resolve())
    for flags, message in (
        ([str(run), "study", "--out", "given"], "study is a folder of runs"),
        (["nowhere", "--best", "--out", "given"], "nowhere holds no complete run"),
        ([str(run), "--out", "other"], "other/trial-000 exists; remove it or choose another --out"),
        ([str(run), "other/trial-000", "--out", "given"], "given/trial-000 would be written twice"),
        ([str(run), "--out", f"{run}/images"], f"{run}/images lies in the run {run}; choose another --out"),
        (["linked/trial-000", "--out", "given"], "step-000099.png is a link, and only files are copied"),
    ):
        capsys.readouterr()
        assert exit_code(main, flags) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    assert not Path("given").exists()


def test_a_copy_describes_itself(run: Path) -> None:
    assert main([str(run), "--out", "given"]) == 0
    text = Path("given/trial-000/README.md").read_text()
    assert text.startswith("---\nlibrary_name: introvae\n") and "# trial-000\n" in text
    scores = read_scores(run)
    assert f"| score | {scores['score']:.3f} | {scores['test']['score']:.3f} |\n" in text
    assert "| latent | 8 |\n" in text and "images of orl-faces, after 20 of 20 steps." in text
    (picture,) = re.findall(r"!\[.*\]\((.*)\)", text)
    assert (Path("given/trial-000") / picture).exists()


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["group", "batch"])
def test_other_tools_compute_what_the_run_does(norm: str, small_faces: ImageSet, tmp_path: Path) -> None:
    trainer = Trainer(tiny_config(norm=norm), small_faces, tmp_path / "run", CPU)
    trainer.run()
    flags = [word for name in FORMATS for word in ("--format", name)]
    assert main([str(tmp_path / "run"), "--out", str(tmp_path / "given"), *flags]) == 0
    given, model = tmp_path / "given/run", introvae.load_run(tmp_path / "run", "cpu")
    images = small_faces.validation[:5] / 255
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(1))
    expected = {"encoder": torch.cat(model.encode(images)), "decoder": model.decode(z, "sample")}
    for name, x in (("encoder", images), ("decoder", z)):
        session = onnxruntime.InferenceSession(str(given / f"{name}.onnx"))
        found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
        torch.testing.assert_close(torch.from_numpy(np.concatenate(found)), expected[name], rtol=1e-4, atol=1e-4)
        program = torch.export.load(given / f"{name}.pt2").module()(x)
        whole = torch.cat(program) if isinstance(program, tuple) else program
        torch.testing.assert_close(whole, expected[name], rtol=1e-4, atol=1e-4)
    weights = load_file(given / "model.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_odd_names_and_missing_weights(run: Path, capsys: Captured) -> None:
    odd = run.rename("a|b`c\n# d")
    (odd / "checkpoint.pt").unlink()
    for previous in odd.glob("checkpoint.previous.pt"):
        previous.unlink()
    assert main([str(odd), "--out", "given"]) == 0
    text = Path("given", odd.name, "README.md").read_text()
    assert "\n# a\\|b\\`c \\# d\n" in text and "without its weights" in text and "load_run" not in text
    assert main([str(odd), "--out", "again", "--format", "pt2"]) == 2
    assert "has no checkpoint, from which --format could be written" in capsys.readouterr().err
    assert not Path("again").exists()


def test_of_two_exports_at_once_the_second_says_that_the_first_was_there(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    rename = Path.rename

    def late(part: Path, target: Path) -> Path:
        shutil.copytree(part, target)  # as the other process has done by now
        return rename(part, target)

    monkeypatch.setattr(Path, "rename", late)
    assert main([str(run), "--out", "given"]) == 2
    said = "introvae-export: given/trial-000 exists; remove it or choose another --out\n"
    assert capsys.readouterr().err == said
    assert [path.name for path in Path("given").iterdir()] == ["trial-000"]


def test_a_broken_record_leaves_the_best_run(run: Path, capsys: Captured) -> None:
    (run.parent / "trial-001").mkdir()
    (run.parent / "trial-001" / "scores.json").write_text("{}")
    assert main(["study", "--best", "--out", "given"]) == 0
    assert "cannot read study/trial-001/scores.json: state is None" in capsys.readouterr().err
    assert Path("given/trial-000/checkpoint.pt").exists()


def test_a_missing_package_is_named(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main([str(run), "--out", "given", "--format", "onnx"]) == 2
    assert "--format onnx needs a package that is missing; pip install 'introvae[onnx]'" in capsys.readouterr().err
    assert not list(Path("given").iterdir())
