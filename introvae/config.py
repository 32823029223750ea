"""Settings of a training run: checked on creation, read from and written to TOML."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import tomli_w

from introvae.errors import UserError

DATA_SETS = "orl-faces, mnist-5k, mnist:ROOT, cifar10:ROOT, celeba:ROOT, or a path to images"

Schedule = float | tuple[tuple[int, float], ...]
"""A number, or (step, value) points joined by straight lines; the first and the last value hold outside them."""

FITS = ("crop", "pad", "stretch")  # ways in which images of a folder become square
RESIDUAL = ("residual", "official", "paper")  # families whose dense layers are at BASE x BASE pixels
BASE = 4

LARGEST = 2**16  # latent dimensions, channels, images per step
LONGEST = 10**9  # steps
NUMBERS_AT_256 = 256 * 256 * 3  # numbers in an image of the size that published betas are for

FLOATS = (float, float | None, Schedule)  # types that a whole number stands for, too


def option(default: Any, text: str, choices: tuple[str, ...] = ()) -> Any:
    """Define a field by its default, its line of help and, for a word, the `choices`."""
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of one training run.

    Args:
        **settings: Fields by name; `introvae-train --help` explains each. All but the last three change the result.
            Defaults are for up to 32 px; `size_defaults` returns those of larger images.

    Raises:
        UserError: If a value is out of range, with the field, the value and what is allowed.

    Examples:
        >>> from introvae import TrainConfig
        >>> TrainConfig(data="orl-faces", image_size=16, beta=20.0).widths
        (16, 32)
        >>> TrainConfig(channels=2)
        Traceback (most recent call last):
        introvae.errors.UserError: channels is 2; allowed: 0, 1 or 3
    """

    data: str = option("orl-faces", DATA_SETS)
    validation: str | None = option(None, "folder of images for validation [part of --data]")
    test: str | None = option(None, "folder of images for the test [part of --data]")
    fit: str = option("crop", "center crop, pad with white, or stretch", FITS)
    image_size: int = option(32, "side of the square images, 16 pixels or more")
    channels: int = option(0, "1: gray, 3: RGB, 0: as in the data")
    mirror: bool = option(True, "mirror training images at random")
    latent: int = option(64, "latent dimensions")
    network: str = option("residual", "network family", (*RESIDUAL, "plain", "mlp"))
    widths: tuple[int, ...] = option((), "channels at each resolution [16,32,64,...]")
    hidden: tuple[int, ...] = option((), "units of the encoder's dense layers [none]")
    decoder_hidden: tuple[int, ...] = option((), "units of the decoder's dense layers [none]")
    norm: str = option("group", "normalization", ("group", "batch", "none"))
    output: str = option("sigmoid", "last layer of the decoder", ("sigmoid", "linear"))
    objective: str = option("intro", "intro: IntroVAE; soft: Soft-IntroVAE", ("intro", "soft"))
    alpha: Schedule = option(0.25, "weight of the adversarial terms; 0: plain VAE")
    alpha_decoder: float | None = option(None, "alpha in the decoder's loss [alpha]")
    beta: Schedule = option(100.0, "weight of 1/2 the squared error summed over pixels")
    m: float = option(100.0, "margin of the KL, in nats")
    kl_weight: Schedule = option(1.0, "weight of real images' KL; 0: autoencoder")
    hinge: str = option("sample", "margin for each image or for their mean", ("sample", "batch"))
    beta_neg: float = option(256.0, "soft: weight of fakes' KL in the encoder's loss")
    gamma_r: float = option(0.0, "soft: weight of fakes' own reconstruction in the decoder's loss")
    steps: int = option(3600, "updates of both networks, warm-up included")
    warmup_steps: int = option(2000, "first steps, as a plain VAE")
    warmup_beta: float | None = option(None, "beta of the warm-up [beta; in a study mid-range]")
    batch_size: int = option(16, "images per step")
    lr: float = option(1e-3, "learning rate of both Adam optimizers")
    ema_decay: float = option(0.998, "highest decay of the average; 0: none")
    precision: str = option("fp32", "bf16: compute the networks in bfloat16", ("fp32", "bf16"))
    compile: bool = option(False, "compile the networks (takes minutes)")
    activation_checkpointing: bool = option(False, "recompute activations to save memory")
    seed: int = option(0, "seed of every random draw")
    warmup_seed: int | None = option(None, "seed of initial weights and of the warm-up [seed]")
    split_seed: int | None = option(None, "seed of a folder's split into training, validation and test images [seed]")
    start_weights: str | None = option(None, "run folder whose weights this run starts from")
    log_every: int = option(20, "steps between rows of metrics.csv")
    checkpoint_every: int = option(200, "steps between checkpoints")
    picture_every: int = option(1000, "steps between pictures")

    def __post_init__(self) -> None:
        _check_types(self)
        if not self.widths and self.network != "mlp":
            object.__setattr__(self, "widths", default_widths(self.image_size))
        _check_ranges(self)

    @property
    def images_seed(self) -> int:
        """Seed for `load_images`: a run never validates on images that its initial weights were trained on."""
        return self.seed if self.split_seed is None else self.split_seed

    @property
    def images(self) -> dict[str, Any]:
        """Arguments of `load_images` for this run's images."""
        names = ("data", "image_size", "channels", "validation", "test", "fit")
        return {name: getattr(self, name) for name in names} | {"seed": self.images_seed}

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as TOML holds them; fields that are None are absent."""
        pairs = dataclasses.asdict(self).items()
        return {name: _plain(value) for name, value in pairs if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """Create settings from `to_dict`'s form.

        Raises:
            UserError: If a key is no field, with the nearest one as a suggestion, or a value is not allowed.
        """
        check_names(values)
        return cls(**{key: _tuples(value) for key, value in values.items()})


def check_names(settings: Iterable[str], place: str = "") -> None:
    """Raise UserError, with the nearest field as a suggestion, if a name is no field of TrainConfig."""
    known = [field.name for field in dataclasses.fields(TrainConfig)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise UserError(f"unknown setting {name!r}{place}" + (f"; did you mean {near[0]!r}?" if near else ""))


def default_widths(image_size: int) -> tuple[int, ...]:
    """Return 16 channels at full resolution, doubled (to at most 512) at each halving of it down to 4x4."""
    levels = max(2, math.ceil(math.log2(max(image_size, 1) / 4)))
    return tuple(min(16 * 2**level, 512) for level in range(levels))


def rounded(value: float) -> float:
    """Round to nine digits, on which machines whose linear algebra rounds otherwise agree."""
    return float(f"{value:.9g}")


def load_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises:
        UserError: If it is missing or damaged.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # bad TOML and bad UTF-8 are ValueErrors
        raise UserError(f"cannot read {path}: {error}") from error


def dump_toml(values: Mapping[str, Any]) -> str:
    """Return settings as the text of a TOML file."""
    return tomli_w.dumps(values)


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return one line "name: old -> new" for each value that differs."""
    names = sorted(old.keys() | new.keys())
    return [f"{n}: {old.get(n, 'unset')} -> {new.get(n, 'unset')}" for n in names if old.get(n) != new.get(n)]


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


@cache
def _types() -> dict[str, Any]:
    return get_type_hints(TrainConfig)


def _check_types(config: TrainConfig) -> None:
    for name, hint in _types().items():
        value = getattr(config, name)
        if hint in FLOATS and _is_whole(value):
            object.__setattr__(config, name, float(value))  # TOML's 1 means 1.0
        elif not _fits(value, hint):
            raise UserError(f"{name} is {value!r}; it takes {_describe(hint)}")


def _fits(value: Any, hint: Any) -> bool:
    if hint == Schedule:
        return isinstance(value, float) or _is_points(value)
    if hint == tuple[int, ...]:
        return isinstance(value, tuple) and all(_is_whole(item) for item in value)
    return type(value) in (get_args(hint) or (hint,)) and (type(value) is not int or _is_whole(value))


def _is_whole(value: Any) -> bool:
    """Check for an integer that TOML can hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def _is_points(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) > 0
        and all(isinstance(p, tuple) and len(p) == 2 and _is_whole(p[0]) for p in value)
        and all(type(p[1]) is float or _is_whole(p[1]) for p in value)
        and all(a[0] < b[0] for a, b in pairwise(((-1, 0.0), *value)))
    )


def _describe(hint: Any) -> str:
    if hint == Schedule:
        return "a number or a list of [step, value] with rising steps from 0 up"
    names = {int: "a whole number of at most 63 bits", float: "a number", str: "a word", bool: "true or false"}
    kinds = [kind for kind in get_args(hint) or (hint,) if kind is not NoneType]
    return "a list of whole numbers" if hint == tuple[int, ...] else names[kinds[0]]


def _check_ranges(c: TrainConfig) -> None:
    def need(holds: bool, name: str, allowed: str) -> None:
        if not holds:
            raise UserError(f"{name} is {getattr(c, name)!r}; allowed: {allowed}")

    for name, hint in _types().items():
        value = getattr(c, name)
        if hint in FLOATS and value is not None:
            numbers = [value] if isinstance(value, float) else [number for _, number in value]
            need(all(math.isfinite(n) and n >= 0 for n in numbers), name, "a finite number, 0 or more")
    for field in dataclasses.fields(c):
        choices = field.metadata["choices"]
        need(not choices or getattr(c, field.name) in choices, field.name, ", ".join(choices))
    for name in ("data", "validation", "test"):
        need(getattr(c, name) != "", name, "the name of what is there")
    need(16 <= c.image_size <= 2048, "image_size", "16 to 2048 pixels")
    need(c.channels in (0, 1, 3), "channels", "0, 1 or 3")
    need(c.lr > 0, "lr", "more than 0")
    need(c.ema_decay < 1, "ema_decay", "0 or more, less than 1")
    for name in ("latent", "batch_size"):
        need(1 <= getattr(c, name) <= LARGEST, name, f"1 to {LARGEST}")
    for name in ("steps", "log_every", "checkpoint_every", "picture_every"):
        need(1 <= getattr(c, name) <= LONGEST, name, f"1 to {LONGEST}")
    for name in ("widths", "hidden", "decoder_hidden"):
        need(all(1 <= number <= LARGEST for number in getattr(c, name)), name, f"1 to {LARGEST} each")
    need(c.network != "mlp" or c.norm == "none", "norm", "none, as network mlp has no convolutions")
    need(not (c.compile and c.activation_checkpointing), "compile", "no with activation_checkpointing yes")
    low, high = _lengths_of_widths(c)
    count = f"{low}" if low == high else f"{low} to {high}"
    need(low <= len(c.widths) <= high, "widths", f"{count} of them for network {c.network} at {c.image_size} px")
    need(0 <= c.warmup_steps <= c.steps, "warmup_steps", f"0 to steps ({c.steps})")
    for name in ("seed", "warmup_seed", "split_seed"):
        need((getattr(c, name) or 0) >= 0, name, "0 or more")
    need(c.checkpoint_every % c.log_every == 0, "checkpoint_every", f"a multiple of log_every ({c.log_every})")
    every = c.checkpoint_every
    need(c.picture_every % every == 0, "picture_every", f"a multiple of checkpoint_every ({every})")


def _lengths_of_widths(c: TrainConfig) -> tuple[int, int]:
    """Fewest and most halvings; residual networks end at 4x4, with padding for sizes in between."""
    if c.network == "mlp":
        return 0, 0
    if c.network == "plain":
        return 1, int(math.log2(c.image_size))
    length = len(default_widths(c.image_size))
    return length, length
