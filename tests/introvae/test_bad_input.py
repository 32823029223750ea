"""Requests that cannot be met are refused: one line with what and why, exit code 2, and nothing on disk changes."""

import shutil
from pathlib import Path

import pytest
from helpers import CPU, tiny_config, tiny_flags
from refusals import assert_refused, write_bad_files

from analysis.cli import main as report
from analysis.train import main as train
from introvae.data.image_set import ImageSet
from introvae.files import lock
from introvae.training.trainer import Trainer

FLAGS = [
    ("--alpha much", "schedule value: 'much'"),
    ("--alpha -1", "alpha is -1.0; allowed: a finite number, 0 or more"),
    ("--alpha 0:0,10", "schedule value: '0:0,10'"),
    ("--alpha 10:0.5,5:0.1", "alpha is ((10, 0.5), (5, 0.1)); it takes a number or a list of [step, value] with"),
    ("--alpha 0:0,10:nan", "alpha is ((0, 0.0), (10, nan)); allowed: a finite number"),
    ("--alpha=-5:0,10:1", "with rising steps from 0 up"),
    ("--alpha-decoder inf", "alpha_decoder is inf; allowed"),
    ("--beta nan", "beta is nan; allowed"),
    ("--beta 5:1:2", "schedule value: '5:1:2'"),
    ("--warmup-beta -3", "warmup_beta is -3.0; allowed"),
    ("--kl-weight inf", "kl_weight is inf; allowed"),
    ("--m nan", "m is nan; allowed"),
    ("--lr 0", "lr is 0.0; allowed: more than 0"),
    ("--lr fast", "invalid number value: 'fast'"),
    ("--steps 0 --warmup-steps 0", "steps is 0; allowed: 1 to 1000000000"),
    ("--steps 1e4", "invalid whole number value: '1e4'"),
    ("--warmup-steps 21", "warmup_steps is 21; allowed: 0 to steps (20)"),
    ("--batch-size 0", "batch_size is 0; allowed: 1 to 65536"),
    ("--batch-size 1000000", "batch_size is 1000000; allowed: 1 to 65536"),
    ("--latent 0", "latent is 0; allowed"),
    ("--latent 99999999999999999999", "latent is 99999999999999999999; it takes a whole number"),
    ("--image-size 15", "image_size is 15; allowed: 16 to 2048 pixels"),
    ("--image-size 4096", "image_size is 4096; allowed: 16 to 2048 pixels"),
    ("--channels 2", "channels is 2; allowed: 0, 1 or 3"),
    ("--widths 8", "widths is (8,); allowed: 2 of them for network residual"),
    ("--widths 8,8,8", "widths is (8, 8, 8); allowed: 2 of them for network residual"),
    ("--widths 8,0", "widths is (8, 0); allowed: 1 to 65536 each"),
    ("--widths 8,1000000", "widths is (8, 1000000); allowed: 1 to 65536 each"),
    ("--widths 8,x", "list of whole numbers, such as 16,32,64 value: '8,x'"),
    ("--norm layer", "invalid choice: 'layer'"),
    ("--precision fp16", "invalid choice: 'fp16'"),
    ("--seed -1", "seed is -1; allowed: 0 or more"),
    ("--seed 1180591620717411303424", "seed is 1180591620717411303424; it takes a whole number of at most 63 bits"),
    ("--log-every 3", "checkpoint_every is 4; allowed: a multiple of log_every (3)"),
    ("--picture-every 6", "picture_every is 6; allowed: a multiple of checkpoint_every (4)"),
    ("--data nowhere", "there is no folder nowhere; --data takes"),
    ("--data empty", "the folder empty holds no images"),
    ("--data texts", "the folder texts holds no images"),
    ("--data broken", "2 of 2 images are unusable"),
    ("--data celeba:empty", "empty holds no CelebA"),
    ("--device tpu", "--device tpu is not known"),
    ("--device cuda:99", "--device cuda:99 is not on this machine"),
    ("--device cpu:x", "--device cpu:x is not known"),
    ("--config missing.toml", "cannot read missing.toml: No such file or directory"),
    ("--config empty", "cannot read empty: Is a directory"),
    ("--config picture.png", "cannot read picture.png"),
    ("--betta 3", "unrecognized arguments: --betta"),
    ("--beta", "argument --beta: expected one argument"),
]  # fmt: skip

TOML = [
    ("betta = 3", "unknown setting 'betta' in bad.toml; did you mean 'beta'?"),
    ("[config]\nbatch-size = 3", "unknown setting 'batch-size' in bad.toml; did you mean 'batch_size'?"),
    ("[confg]\nbeta = 3", "unknown setting 'confg' in bad.toml"),
    ("[config]\nbeta = 3\n[extra]\nm = 2", "has extra beside [config]"),
    ("m = 2\n[config]\nbeta = 3", "has m beside [config]"),
    ("config = 3", "config is 3 in bad.toml; it takes a table"),
    ("beta = 3\nbeta = 4", "cannot read bad.toml: Cannot overwrite a value"),
    ("beta = = 3", "cannot read bad.toml: Invalid value"),
    ("beta = '3'", "beta is '3'; it takes a number"),
    ("beta = true", "beta is True; it takes a number"),
    ("beta = [3]", "beta is (3,); it takes a number or a list"),
    ("beta = []", "beta is (); it takes a number or a list"),
    ("beta = [[0, 1], [5, '2']]", "beta is ((0, 1), (5, '2')); it takes"),
    ("beta = [[0, 1], [0.5, 2]]", "beta is ((0, 1), (0.5, 2)); it takes"),
    ("beta = [[0, 1], [10, inf]]", "beta is ((0, 1), (10, inf)); allowed: a finite number"),
    ("beta = {low = 1}", "beta is {'low': 1}; it takes a number"),
    ("beta = 1979-05-27", "beta is datetime.date(1979, 5, 27); it takes a number"),
    ("m = [[0, 1]]", "m is ((0, 1),); it takes a number"),
    ("lr = nan", "lr is nan; allowed"),
    ("steps = 100.0", "steps is 100.0; it takes a whole number"),
    ("steps = true", "steps is True; it takes a whole number"),
    ("mirror = 1", "mirror is 1; it takes true or false"),
    ("norm = 'layer'", "norm is 'layer'; allowed: group, batch, none"),
    ("norm = 3", "norm is 3; it takes a word"),
    ("data = ['a', 'b']", "data is ('a', 'b'); it takes a word"),
    ("widths = 16", "widths is 16; it takes a list of whole numbers"),
    ("widths = [16.0, 32.0]", "widths is (16.0, 32.0); it takes a list of whole numbers"),
    ("seed = '1'", "seed is '1'; it takes a whole number"),
    ("seed = 9223372036854775808", "seed is 9223372036854775808; it takes a whole number of at most 63 bits"),
    (f"beta = 1{400 * '0'}", "; it takes a number"),
    (f"beta = 1{5000 * '0'}", "cannot read bad.toml: Exceeds the limit"),
    (f"beta = {5000 * '['}", "cannot read bad.toml"),
]  # fmt: skip

REPORT = [
    ("nowhere", "nowhere"),
    ("empty", "empty"),
    ("picture.png", "picture.png"),
    ("--format xml", "xml"),
    ("--top 3", "--top"),
]


@pytest.fixture(scope="module")
def run(small_faces: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "run"
    with lock(folder):
        Trainer(tiny_config(), small_faces, folder, CPU).run(4)
    return folder


@pytest.fixture(autouse=True)
def here(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: nothing that can be trained on, and a run that was begun."""
    monkeypatch.chdir(tmp_path)
    write_bad_files()
    shutil.copytree(run, "run")
    return tmp_path


@pytest.mark.parametrize(("flags", "message"), FLAGS)
@pytest.mark.parametrize("out", ["new", "run"])
def test_flags(flags: str, message: str, out: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(train, [*tiny_flags(), "--device", "cpu", "--out", out, *flags.split()], message, capsys)


@pytest.mark.parametrize(("text", "message"), TOML)
def test_toml(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.toml").write_text(text)
    assert_refused(train, ["--config", "bad.toml", "--device", "cpu", "--out", "run"], message, capsys)


@pytest.mark.parametrize(("flags", "message"), REPORT)
def test_report(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused(report, flags.split(), message, capsys)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--out run", "run holds another run (channels: 1 -> 3; m: 20.0 -> 21.0); choose another --out"),
        ("--out picture.png", "cannot write to picture.png: File exists"),
        ("--out picture.png/run", "cannot write to picture.png/run: Not a directory"),
        ("--out /proc/x", "cannot write to /proc/x"),
        (f"--out {300 * 'x'}", "File name too long"),
    ],
)
def test_out(flags: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*tiny_flags("m"), "--m", "21", "--channels", "3", "--device", "cpu", *flags.split()]
    assert_refused(train, command, message, capsys)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("params.toml", b"", "params.toml has no table [config]"),
        ("params.toml", b"[config]\nbeta = 'x", "cannot read run/params.toml"),
        ("params.toml", b"[config]\nbetta = 3", "unknown setting 'betta'; did you mean 'beta'?"),
        ("metrics.csv", b"", "metrics.csv"),
        ("metrics.csv", b"step,kl\n4,1\n", "metrics.csv does not lead to step 4"),
        ("metrics.csv", b"\x00\xff\n", "cannot read run/metrics.csv"),
        ("metrics.csv", b"step\n2\nx\n4\n", "cannot read run/metrics.csv: could not convert string to float: 'x'"),
        ("metrics.csv", b"step,kl\n2\n4,1\n", "cannot read run/metrics.csv"),
        ("scores.json", b"{", "cannot read run/scores.json"),
        ("scores.json", b"[1]", "cannot read run/scores.json"),
        ("checkpoint.pt", b"", "no checkpoint in run can be read"),
    ],
)
def test_a_broken_run_folder(name: str, content: bytes, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run", name).write_bytes(content)
    command = [*tiny_flags(), "--channels", "1", "--device", "cpu", "--out", "run"]
    assert_refused(train, command, message, capsys)
