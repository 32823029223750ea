"""Settings: their checks, their form in TOML, and schedules."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest

from introvae.config import Schedule, TrainConfig, default_widths, differences, dump_toml, load_toml
from introvae.errors import UserError

RAMP: Schedule = ((10, 0.0), (20, 0.5), (40, 0.25))


def test_toml_gives_back_the_same_configuration() -> None:
    config = TrainConfig(alpha=RAMP, alpha_decoder=0.5, seed=2**62, warmup_seed=3, norm="batch", mirror=False)
    assert TrainConfig.from_dict(tomllib.loads(dump_toml(config.to_dict()))) == config


def test_widths_follow_from_the_image_size() -> None:
    assert TrainConfig().widths == (16, 32, 64)
    assert TrainConfig(image_size=28).widths == (16, 32, 64)
    assert default_widths(256) == (16, 32, 64, 128, 256, 512)
    assert default_widths(1024) == (16, 32, 64, 128, 256, 512, 512, 512)
    assert default_widths(16) == (16, 32)


def test_a_whole_number_stands_for_a_number() -> None:
    assert TrainConfig(beta=3, m=120, alpha_decoder=1).beta == 3.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"betta": 1.0}, "unknown setting 'betta'; did you mean 'beta'"),
        ({"zzz": 1.0}, "unknown setting 'zzz'$"),
        ({"beta": -1.0}, "beta is -1.0; allowed: a finite number, 0 or more"),
        ({"beta": math.nan}, "beta is nan"),
        ({"alpha": "much"}, r"alpha is 'much'; it takes a number or a list of \[step, value\]"),
        ({"alpha": [[10, 0.0], [5, 1.0]]}, "alpha is .* with rising steps"),
        ({"alpha": [[0, -0.5]]}, "alpha is .*0 or more"),
        ({"m": math.inf}, "m is inf"),
        ({"lr": 0.0}, "lr is 0.0; allowed: more than 0"),
        ({"image_size": 15}, "image_size is 15; allowed: 16 to 2048 pixels"),
        ({"image_size": 32.0}, "image_size is 32.0; it takes a whole number"),
        ({"channels": 2}, "channels is 2; allowed: 0, 1 or 3"),
        ({"mirror": "yes"}, "mirror is 'yes'; it takes true or false"),
        ({"norm": "layer"}, "norm is 'layer'; allowed: group, batch, none"),
        ({"widths": [16, 32]}, "widths is .*allowed: 3 of them for network residual at 32 px"),
        ({"widths": [16, 16, 16, 16]}, "widths is .*allowed: 3 of them"),
        ({"widths": [0, 1, 2]}, "widths is .*1 to 65536 each"),
        ({"network": "mlp"}, "norm is 'group'; allowed: none, as network mlp"),
        ({"network": "mlp", "norm": "none", "widths": [16]}, "widths is .*allowed: 0 of them for network mlp"),
        ({"network": "plain", "widths": [8] * 6}, "widths is .*allowed: 1 to 5 of them for network plain"),
        ({"hidden": [0]}, "hidden is"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0; allowed: 0 or more, less than 1"),
        ({"compile": True, "activation_checkpointing": True}, "compile is True; allowed: no with"),
        ({"latent": 0}, "latent is 0"),
        ({"steps": 100, "warmup_steps": 101}, "warmup_steps is 101; allowed: 0 to steps"),
        ({"checkpoint_every": 30}, "checkpoint_every is 30; allowed: a multiple of log_every"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TrainConfig.from_dict(values)


def test_differences_name_what_changed() -> None:
    assert differences({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == ["b: 2 -> 3", "c: unset -> 4"]


def test_a_broken_toml_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("alpha = = 1")
    for name in ("x.toml", "missing.toml"):
        with pytest.raises(UserError, match=name):
            load_toml(tmp_path / name)
