"""Defaults belong to the image size: both commands take them from one row of presets."""

from pathlib import Path

import pytest
from helpers import exit_code, tiny_config

from analysis.train import main
from introvae.commands.options import Parser, config_from
from introvae.commands.train import command_line
from introvae.config import TrainConfig
from introvae.errors import UserError
from introvae.presets import OF_SIZE, load_preset, size_defaults
from introvae.runs.folder import write_params
from sweeps.cli import command_line as sweep_command_line
from sweeps.points import settings_of


def parsed(*flags: str) -> TrainConfig:
    return config_from(command_line().parse_args(flags))


@pytest.mark.parametrize("size", [16, 28, 32])
def test_up_to_32_px_the_defaults_are_those_of_python(size: int) -> None:
    assert parsed("--image-size", str(size)) == TrainConfig(image_size=size)
    assert parsed("--image-size", str(size), "--steps", "3000").warmup_steps == TrainConfig.warmup_steps
    for steps, warmup_steps in ((2001, 2000), (2000, 1111), (400, 222), (1, 0)):  # else there would be nothing but it
        short = parsed("--image-size", str(size), "--steps", str(steps))
        assert (short.steps, short.warmup_steps) == (steps, warmup_steps)
    with pytest.raises(UserError, match=r"warmup_steps is 2000; allowed: 0 to steps \(1000\)"):
        parsed("--image-size", str(size), "--steps", "1000", "--warmup-steps", "2000")


@pytest.mark.parametrize(("sizes", "preset"), [
    ((33, 64), "celeba-64"), ((65, 128), "paper-128"), ((129, 256), "paper-256"), ((257, 2048), "paper-256"),
    ((1024,), "paper-1024"),
])  # fmt: skip
def test_larger_images_have_the_settings_of_a_preset(sizes: tuple[int, ...], preset: str) -> None:
    """Only settings that belong to the size are taken from it: alpha, beta, m and networks stay."""
    row = {name: load_preset(preset)[name] for name in OF_SIZE}
    row["warmup_steps"] = row["steps"] // 10  # which measures the KL that m is chosen by
    for size in sizes:
        flags = ("--image-size", str(size))
        assert parsed(*flags) == TrainConfig(image_size=size, **row)
        assert config_from(sweep_command_line().parse_args(flags)) == TrainConfig(image_size=size, **row)


def test_what_is_given_goes_before_the_defaults_of_a_size(tmp_path: Path) -> None:
    row, file = size_defaults(64), tmp_path / "own.toml"
    file.write_text("image_size = 64\nlatent = 7\n")
    assert parsed("--config", str(file)) == TrainConfig(**row | {"image_size": 64, "latent": 7})
    assert (
        parsed("--config", str(file), "--latent", "9", "--lr", "1").to_dict().items() >= {"latent": 9, "lr": 1}.items()
    )
    assert parsed("--preset", "paper-128", "--image-size", "64", "--widths", "8,8,8,8").latent == 256
    base = TrainConfig().to_dict() | {"image_size": 64, "widths": ()}  # of a run that an earlier version has trained
    assert config_from(command_line().parse_args([]), base) == TrainConfig(image_size=64)
    claims = config_from(command_line().parse_args(["--image-size", "64"]), settings_of("claims"))
    assert (claims.steps, claims.warmup_steps, claims.latent) == (1000, 0, row["latent"])


@pytest.mark.parametrize(("flags", "steps", "warmup_steps"), [
    ("--steps 5000", 5000, 500), ("--steps 100000", 100_000, 10_000), ("--steps 400000", 400_000, 40_000),
    ("--steps 5000 --warmup-steps 3000", 5000, 3000), ("--warmup-steps 3000", 200_000, 3000), ("--steps 9", 9, 0),
])  # fmt: skip
def test_of_larger_images_the_warm_up_is_a_tenth_of_the_steps(flags: str, steps: int, warmup_steps: int) -> None:
    config = parsed("--image-size", "64", *flags.split())
    assert (config.steps, config.warmup_steps) == (steps, warmup_steps)


@pytest.mark.parametrize(("toml", "message"), [
    ("image_size = '64'", "image_size is '64'; it takes a whole number"),
    ("image_size = 64\nsteps = '9'", "steps is '9'; it takes a whole number"),
    ("image_size = 64\nsteps = -9", "steps is -9; allowed: 1 to"),
    ("image_size = 64\nwarmup_steps = 300000", r"warmup_steps is 300000; allowed: 0 to steps \(200000\)"),
    ("image_size = 4096", "image_size is 4096; allowed: 16 to 2048 pixels"),
])  # fmt: skip
def test_bad_values_are_still_named(toml: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(toml)
    with pytest.raises(UserError, match=message):
        parsed("--config", str(tmp_path / "bad.toml"))


def test_a_run_of_an_earlier_version_is_refused_with_what_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_params(tmp_path, tiny_config(image_size=64, widths=(8, 8, 8, 8), channels=1), {})
    flags = ["--image-size", "64", "--widths", "8,8,8,8", "--out", str(tmp_path), "--device", "cpu"]
    assert exit_code(main, flags) == 2
    assert f"{tmp_path} holds another run (batch_size: 8 -> 32; " in capsys.readouterr().err


@pytest.mark.parametrize("parser", [command_line(), sweep_command_line()], ids=["introvae-train", "introvae-sweep"])
def test_the_help_says_of_what_size_its_defaults_are(parser: Parser) -> None:
    assert "defaults for up to 32 px" in parser.format_help()
