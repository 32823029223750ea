"""A run's setting at another image size: alpha, beta per number in an image and m over a VAE's KL carry over.

The squared error is summed over the numbers of an image, and grows with them; so beta falls by as much. The KL that a
VAE reaches depends on data, size and network: a run translated measures it by its warm-up, at its own beta.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from introvae.config import TrainConfig, default_widths, dump_toml, rounded
from introvae.errors import UserError
from introvae.presets import size_defaults
from introvae.runs.folder import last_row, read_config
from introvae.runs.record import read_record
from introvae.training.schedule import warmup_config, weights_at

OF_A_RUN = ("warmup_beta", "warmup_seed", "start_weights")  # settings that no other run inherits


@dataclass(frozen=True)
class Translation:
    """The setting of a run, to be trained at another image size.

    Args:
        source: The run folder.
        found: Its settings.
        given: Settings that the user has given instead.

    Raises:
        UserError: If the run has a schedule, another objective, or no margin that could be translated.
    """

    source: Path
    found: TrainConfig
    given: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.found.objective == "soft":
            raise UserError(f"{self.source} is of --objective soft, whose weights no rule translates to another size")
        if isinstance(self.found.alpha, tuple) or isinstance(self.found.beta, tuple):
            raise UserError(f"{self.source} has a schedule, which no rule translates to another image size")
        if self.has_margin and not self.margin_ratio:
            raise UserError(f"{self.source} has not measured a VAE's KL, by which m is translated; give --m")

    @property
    def has_margin(self) -> bool:
        """True if m is translated: it has not been given, and is no plain VAE's."""
        return "m" not in self.given and bool(self.given.get("alpha", self.found.alpha))

    @cached_property
    def margin_ratio(self) -> float:
        """The run's m over the KL that a VAE reaches at its beta, as its warm-up has measured; 0 if none has."""
        record = read_record(self.source) if self.found.warmup_steps else None  # earlier versions kept predictions
        kl = record.measures.get("vae_kl") if record else None
        return self.found.m / kl if kl else 0.0

    def with_beta(self, config: TrainConfig) -> TrainConfig:
        """Return settings, whose `channels` are those of the images, with the translated beta."""
        if "beta" in self.given:
            return config
        scale = self.found.channels * self.found.image_size**2 / (config.channels * config.image_size**2)
        return replace(config, beta=rounded(weights_at(self.found, self.found.steps).beta * scale))

    def with_margin(self, config: TrainConfig, folder: Path, train: Callable[[TrainConfig, Path], None]) -> TrainConfig:
        """Have a warm-up trained, and return the settings with the m that follows from its KL.

        Raises:
            UserError: If there is no warm-up, or one at another beta.
        """
        if not config.warmup_steps or config.warmup_beta not in (None, config.beta):
            raise UserError(
                "m follows from the KL of a warm-up at the run's own beta, which there is none of; give --m"
            )
        warmup = warmup_config(config)
        row = last_row(folder)
        if row is None or row["step"] < warmup.steps or read_config(folder) != warmup:
            train(warmup, folder)
            row = last_row(folder)
        assert row
        return replace(config, m=rounded(self.margin_ratio * row["kl_real"]))

    def name(self, config: TrainConfig) -> str:
        """Return a name that is the same for the same settings, before m is known."""
        digest = hashlib.sha256(dump_toml(config.to_dict() | {"margin_ratio": self.margin_ratio}).encode()).hexdigest()
        return f"{self.source.parent.name}-{self.source.name}-{config.image_size}px-{digest[:6]}"

    def describe(self, config: TrainConfig, warm: bool) -> str:
        """Return a line on what is translated, given the settings that it has led to; `warm` if m is among them."""
        sizes = f"{self.found.image_size} px to {config.image_size} px"
        beta = f"beta {self.found.beta:.4g} -> {config.beta:.4g}" + " as given" * ("beta" in self.given)
        line = f"{self.source}, {sizes}: alpha {config.alpha:.4g}, {beta}"
        if not self.has_margin:
            return line
        known = f"{self.found.m:.4g} -> {config.m:.4g} nats, " if warm else ""
        return f"{line}, m {known}{self.margin_ratio:.3g} times a VAE's KL"


def inherited(found: TrainConfig) -> dict[str, Any]:
    """Return the settings of a run that one of another image size takes over, which is all but the size's defaults."""
    usual = size_defaults(found.image_size, found.steps) | {"widths": list(default_widths(found.image_size))}
    known = found.to_dict().items()
    return {name: value for name, value in known if name not in OF_A_RUN and (name, value) not in usual.items()}
