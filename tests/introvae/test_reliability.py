"""Runs that are killed, meet a full disk or find their files broken."""

import os
import pickle
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import CPU, ROOT, equal_states, script, tiny_config, tiny_flags
from permissions import bound_by_permissions

from analysis.train import main
from introvae import files
from introvae.data.image_set import ImageSet
from introvae.files import lock
from introvae.runs.folder import CHECKPOINT, PREVIOUS, read_metrics
from introvae.training.trainer import Trainer

FLAGS = [*tiny_flags(), "--channels", "1", "--alpha", "0:0,10:0.1,20:0.5", "--device", "cpu"]
KILLS = 20
OTHERS = ("metrics.csv", "images/step-000020.png", "scores.json")
SLOW = pytest.mark.slow
CONFIG = tiny_config(alpha=((0, 0.0), (10, 0.1), (20, 0.5)))


def assert_same_run(one: Path, other: Path) -> None:
    """Every file of the two folders holds the same, but for the speed in metrics.csv."""
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*") if path.suffix != ".broken")
    for name in names:
        if name in (CHECKPOINT, PREVIOUS):
            assert equal_states(*(torch.load(folder / name, weights_only=True) for folder in (one, other))), name
        elif name == "metrics.csv":
            rows = [[row | {"images_per_second": 0} for row in read_metrics(folder)] for folder in (one, other)]
            assert str(rows[0]) == str(rows[1])  # NaN equals itself in writing
        elif (one / name).is_file() and name != ".lock":  # which names the process
            assert (one / name).read_bytes() == (other / name).read_bytes(), name


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_runs_killed_at_random_moments_continue_bit_for_bit(tmp_path: Path) -> None:
    result = script(str(ROOT / "tests/support/killed.py"), str(tmp_path), str(KILLS), *FLAGS)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count(".part") >= KILLS // 3  # as many were killed in the midst of a write
    for number in range(KILLS):
        assert_same_run(tmp_path / "whole" / "run", tmp_path / str(number) / "run")


@pytest.fixture(scope="module")
def whole(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main([*FLAGS, "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def cut_once(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run cut off at step 12, with its checkpoint before that at step 8."""
    folder = tmp_path_factory.mktemp("cut") / "run"
    with lock(folder):
        Trainer(CONFIG, small_faces, folder, CPU).run(12)
    (folder / "images" / "step-000012.png").unlink()  # a run that is cut off leaves none at that step
    return folder


@pytest.fixture
def cut(cut_once: Path, tmp_path: Path) -> Path:
    """A copy of that run, for one test to break."""
    return shutil.copytree(cut_once, tmp_path / "run")


@pytest.mark.parametrize("count", [10, pytest.param(50, marks=pytest.mark.slow)])
def test_a_checkpoint_cut_off_anywhere_gives_way_to_the_one_before(
    count: int, small_faces: ImageSet, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, before = (cut / CHECKPOINT).read_bytes(), (cut / PREVIOUS).read_bytes()
    for offset in [0, *random.Random(0).sample(range(1, len(content)), count)]:
        (cut / CHECKPOINT).write_bytes(content[:offset])
        trainer = Trainer(CONFIG, small_faces, cut, CPU)
        trainer.run(0)
        assert trainer.step == 8 and (cut / PREVIOUS).read_bytes() == before
        assert capsys.readouterr().err == (
            f"warning: {cut / CHECKPOINT} cannot be used (it is cut off, or no checkpoint); "
            f"continuing from step 8 in {PREVIOUS}\n"
        )


class Malice:
    """Unpickled, it leaves a trace."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewritten(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


def without(*keys: Any) -> Callable[[Path], None]:
    def change(state: dict[str, Any]) -> dict[str, Any]:
        inner = state
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return state

    return rewritten(change)


def larger_moment(state: dict[str, Any]) -> dict[str, Any]:
    state["decoder"]["state"][0]["exp_avg"] = torch.zeros(3)
    return state


BROKEN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pickle that runs code": (
        lambda path: path.write_bytes(pickle.dumps(Malice(path.with_name("trace")))),
        "it is cut off, or no checkpoint",
    ),
    "an archive that runs code": (
        lambda path: torch.save({"step": 12, "model": Malice(path.with_name("trace"))}, path),
        "it holds more than tensors and plain values",
    ),
    "a flipped bit": (flipped, "its checksum is wrong"),
    "a folder": (directory, "Is a directory"),
    "text": (lambda path: path.write_text("checkpoint"), "it is cut off, or no checkpoint"),
    "a list": (rewritten(lambda state: [state]), "it holds no training state"),
    "no step": (without("step"), "it holds no training state"),
    "a step beyond the last": (rewritten(lambda state: state | {"step": 21}), "step 21 is not one of 1 to 20"),
    "no model": (without("model"), "its checkpoint holds no weights of this package; train it again"),
    "a model that lacks a weight": (without("model", "decoder.head.bias"), "Missing key(s) in state_dict"),
    "another model": (rewritten(lambda state: state | {"model": {"w": torch.ones(2)}}), "Missing key(s) in state_dict"),
    "no optimizer": (without("encoder"), "KeyError: 'encoder'"),
    "an optimizer that lacks a moment": (without("decoder", "state", 0), "the state of Adam does not fit the decoder"),
    "an optimizer of another model": (rewritten(larger_moment), "the state of Adam does not fit the decoder"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_checkpoint_gives_way_to_the_one_before(
    kind: str, small_faces: ImageSet, cut: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_it, reason = BROKEN[kind]
    break_it(cut / CHECKPOINT)
    trainer = Trainer(CONFIG, small_faces, cut, CPU)
    warning = capsys.readouterr().err
    assert warning.startswith(f"warning: {cut / CHECKPOINT} cannot be used (") and warning.count("\n") == 1
    assert reason in warning and f"continuing from step 8 in {PREVIOUS}" in warning
    assert equal_states(trainer.state.as_dict(), torch.load(cut / PREVIOUS, weights_only=True))
    assert [row["step"] for row in read_metrics(cut)] == [2, 4, 6, 8]
    assert not (cut / "trace").exists()


@pytest.mark.parametrize("kind", ["a flipped bit", "a model that lacks a weight", "an optimizer of another model"])
def test_a_run_whose_checkpoint_is_broken_ends_as_any_other(
    kind: str, small_faces: ImageSet, cut: Path, whole: Path
) -> None:
    """Nothing of the broken checkpoint stays, be it refused as a file, by the model or by Adam."""
    break_it, _ = BROKEN[kind]
    break_it(cut / CHECKPOINT)
    Trainer(CONFIG, small_faces, cut, CPU).run()
    assert equal_states(*(torch.load(folder / CHECKPOINT, weights_only=True) for folder in (cut, whole)))


@pytest.mark.parametrize("kind", BROKEN)
def test_two_broken_checkpoints_are_refused_and_kept(kind: str, cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    break_it, reason = BROKEN[kind]
    shutil.copy(cut / CHECKPOINT, cut / PREVIOUS)
    for name in (CHECKPOINT, PREVIOUS):
        break_it(cut / name)
    before = sorted(cut.iterdir())
    assert main([*FLAGS, "--out", str(cut)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.count(reason) == 2 and "remove the folder to start over" in error
    assert sorted(cut.iterdir()) == before


def refused(out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command ends, after those that tell of progress."""
    assert main([*FLAGS, "--out", str(out)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("run: step", f"{out}: "))]
    assert len(lines) == 1 and lines[0].startswith("introvae-train: ")
    return lines[0]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel lets no file of this process grow beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("name", "room"), [(CHECKPOINT, -1), *(pytest.param("metrics.csv", room, marks=SLOW) for room in (10, -1))]
)
def test_a_write_that_fails_leaves_all_as_it_was(
    name: str, room: int, cut: Path, whole: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (cut / CHECKPOINT).read_bytes()
    with largest_file((cut / name).stat().st_size + room):
        error = refused(cut, capsys)
    assert error.endswith(f"{cut / name}: File too large; free some space, then rerun the same command")
    assert (cut / CHECKPOINT).read_bytes() == before
    assert not list(cut.rglob("*.part"))
    assert main([*FLAGS, "--out", str(cut)]) == 0
    assert_same_run(whole, cut)


@pytest.mark.parametrize("name", [CHECKPOINT, *(pytest.param(name, marks=SLOW) for name in OTHERS)])
def test_no_space_left_on_the_device(
    name: str, cut: Path, whole: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writing to /dev/full gives the error of a full disk."""
    create = files.create
    with monkeypatch.context() as patch:
        full = Path("/dev/full")
        patch.setattr(
            files, "create", lambda path: full.open("wb") if f".{Path(name).name}." in path.name else create(path)
        )
        error = refused(cut, capsys)
    assert error.endswith(f"{cut / name}: No space left on device; free some space, then rerun the same command")
    assert main([*FLAGS, "--out", str(cut)]) == 0
    assert_same_run(whole, cut)


@pytest.mark.slow
@pytest.mark.parametrize("kilobytes", [4, 200, 350])
def test_a_full_disk(kilobytes: int, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fill a file system of its own, which only some machines let a test mount."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "none", str(disk), "-o"]
    if subprocess.run([*mount, f"size={kilobytes}k"], capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        assert "No space left on device" in refused(disk / "run", capsys)
        assert not list(disk.rglob("*.part"))
        subprocess.run([*mount, "remount,size=2m"], check=True)
        assert main([*FLAGS, "--out", str(disk / "run")]) == 0
        assert_same_run(whole, disk / "run")
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_cannot_be_written(mode: int, cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(cut)
    for out in (cut, cut / "new"):
        cut.chmod(mode)
        with bound_by_permissions():
            error = refused(out, capsys)
        cut.chmod(0o755)
        assert "Permission denied" in error and str(out) in error
        assert contents(cut) == before


def test_a_folder_in_use(cut: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(cut)
    code = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, fcntl.LOCK_EX); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(cut / ".lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout and holder.stdout.readline()
        error = refused(cut, capsys)
        holder.communicate(b"\n")
    assert error.startswith(f"introvae-train: {cut} is in use by ")
    assert error.endswith("; wait for it or choose another --out")
    assert contents(cut) == before
