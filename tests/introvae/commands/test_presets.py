"""Every preset builds and takes a step, and the networks it names are those it says."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from helpers import exit_code
from torch import nn

from analysis.train import main
from introvae.commands.options import config_from
from introvae.commands.train import command_line
from introvae.config import TrainConfig
from introvae.errors import UserError
from introvae.nn.networks import build
from introvae.presets import load_preset, presets
from introvae.training.device import adam
from introvae.training.schedule import weights_at
from introvae.training.step import Noise, Optimizers, train_step

ORIGINALS = {  # alpha, alpha_decoder, beta, m, latent, in the paper's convention
    "paper-128": (0.25, None, 0.5, 110, 256),
    "paper-256": (0.25, None, 0.05, 120, 512),
    "paper-1024": (0.25, None, 0.0025, 90, 512),
    "official-256-a": (0.25, 0.5, 0.10, 120, 512),
    "official-256-b": (0.25, 0.5, 2.0, 1000, 512),
    "official-1024": (0.5, 0.5, 0.02, 500, 512),
    "seed-256-low-beta": (0.25, None, 0.05, 500, 512),
    "seed-256": (0.25, None, 0.75, 1000, 512),
}
OFFICIAL_EPOCHS = 501  # --start_epoch=0 --nEpochs=500, the last included
OFFICIAL_IMAGES = 29_000
CHANNELS = {"celeba:data": 3, "cifar10:data": 3, "mnist-5k": 1, "orl-faces": 1}


def preset(name: str) -> TrainConfig:
    config = TrainConfig.from_dict(load_preset(name))
    return replace(config, channels=CHANNELS[config.data])


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize("name", presets())
def test_every_preset_takes_a_whole_step_on_meta_tensors(name: str) -> None:
    """Take a step with the last step's weights, past the warm-up, on two images."""
    config = preset(name)
    with torch.device("meta"):
        model = build(config)
        x = torch.rand(2, config.channels, config.image_size, config.image_size)
        z = (2, config.latent)
        noise = Noise(torch.randn(z), torch.randn(z), torch.randn(2, *z))
    optimizers = Optimizers(adam(model.encoder, config.lr), adam(model.decoder, config.lr))
    terms = train_step(model, optimizers, x, noise, weights_at(config, config.steps - 1))
    assert terms.mu.shape == (2, config.latent)
    assert (terms.kl_sample is not None) == (config.alpha != 0)


@pytest.mark.parametrize("name", ORIGINALS)
def test_settings_are_those_of_the_original(name: str) -> None:
    config = preset(name)
    assert (config.alpha, config.alpha_decoder, config.beta, config.m, config.latent) == ORIGINALS[name]
    assert config.image_size == int(name.split("-")[1])
    assert config.hinge == ("sample" if name.startswith("paper") else "batch")


@pytest.mark.parametrize(("name", "warmup_epochs", "warmup_steps", "steps"), [
    ("official-256-a", 0, 0, 908_313), ("official-256-b", 10, 18_130, 908_313), ("official-1024", 4, 9_668, 1_210_917),
])  # fmt: skip
def test_official_lengths_are_those_of_the_scripts(
    name: str, warmup_epochs: int, warmup_steps: int, steps: int
) -> None:
    """A last batch that is not full is a step, too; --num_vae epochs, counted from 0, are a VAE's."""
    config = preset(name)
    epoch = math.ceil(OFFICIAL_IMAGES / config.batch_size)
    assert config.warmup_steps == warmup_steps == warmup_epochs * epoch
    assert config.steps == steps == OFFICIAL_EPOCHS * epoch


def test_soft_introvae_has_the_settings_that_its_readme_recommends_for_cifar10() -> None:
    """A batch of 32 of 50,000 images makes 1,563 steps an epoch."""
    config = preset("soft-cifar10")
    assert (config.objective, config.image_size, config.latent, config.batch_size) == ("soft", 32, 128, 32)
    assert config.widths == (64, 128, 256) and config.lr == 2e-4 and config.warmup_steps == 0
    assert config.steps == 250 * math.ceil(50_000 / config.batch_size)


def test_parameters_of_the_official_networks() -> None:
    """22.711M for the encoder at 256 px, and without the 1x1 convolutions that its 512 to 512 blocks do not need."""
    with torch.device("meta"):
        model, large = build(preset("official-256-a")), build(preset("official-1024"))
    assert parameters(model.encoder) == 22_711_456
    narrow = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(narrow) == 4 and all(conv.in_channels != conv.out_channels for conv in narrow)
    assert parameters(large.encoder) > parameters(model.encoder)


def test_parameters_of_the_dense_networks() -> None:
    encoder, decoder = build(preset("vae-mnist-mlp")).children()
    assert parameters(encoder) == (784 * 500 + 500) + (500 * 500 + 500) + (500 * 16 + 16)
    assert parameters(decoder) == (8 * 500 + 500) + (500 * 784 + 784)


def test_plain_convolutions_meet_their_dense_layer_at_7_pixels() -> None:
    encoder, decoder = build(preset("vae-mnist-conv")).children()
    assert parameters(encoder) == (16 * 64 + 64) + (64 * 16 * 64 + 64) + (3136 * 256 + 256) + (256 * 64 + 64)
    assert parameters(decoder) == ((32 * 256 + 256) + (256 * 3136 + 3136) + (64 * 16 * 64 + 64) + (64 * 16 + 1))


def test_the_autoencoder_differs_from_the_vae_by_its_kl_weight() -> None:
    changed = {k for k, v in load_preset("ae-mnist").items() if load_preset("vae-mnist-conv")[k] != v}
    assert changed == {"kl_weight"} and load_preset("ae-mnist")["kl_weight"] == 0


def test_the_default_preset_is_the_default() -> None:
    assert TrainConfig.from_dict(load_preset("orl-faces")) == TrainConfig()


def test_list_presets_prints_a_line_each_with_the_name_first(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(main, ["--list-presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(presets())
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


def parsed(*flags: str) -> Mapping[str, Any]:
    return vars(config_from(command_line().parse_args(flags)))


def test_flags_and_files_override_a_preset(tmp_path: Any) -> None:
    file = tmp_path / "own.toml"
    file.write_text("m = 7.0\nbeta = 3.0\n")
    found = parsed("--preset", "paper-256", "--config", str(file), "--beta", "4")
    assert (found["alpha"], found["m"], found["beta"], found["latent"]) == (0.25, 7.0, 4.0, 512)


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"there is no preset 'paper-255'; did you mean 'paper-256'\?"):
        parsed("--preset", "paper-255")
