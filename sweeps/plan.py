"""Plans: what the trials of a study share, and what each of them and their warm-ups train."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial
from torch import Tensor

from analysis.measures.spectrum import vae_kl
from introvae.config import TrainConfig, dump_toml, rounded
from introvae.errors import UserError
from introvae.randomness import derive
from introvae.runs.folder import CHECKPOINT, METRICS, last_row, read_metrics
from introvae.training.schedule import warmup_config
from sweeps.search.dimensions import Dimension, searched
from sweeps.search.space import OTHER, Space


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that the trials of a study share.

    Attributes:
        config: The study's seed, its warm-up and everything that is not searched.
        space: The dimensions that are searched.
        spectrum: Eigenvalues of the training images' covariance.
        folder: The study's folder.
        weights: Weights of the score's parts in what the study maximizes.
        prune: Prune trials; without, each trains to its last step unless it diverges.
        points: Values that the first trials are given.
        earlier: Trials of an earlier study, which the sampler learns from.
        images: Fingerprint of the images, `ImageSet.fingerprint`; "" leaves them unchecked.
    """

    config: TrainConfig
    space: Space
    spectrum: Tensor
    folder: Path
    weights: Mapping[str, float]
    prune: bool = True
    points: Sequence[Mapping[str, float]] = ()
    earlier: Sequence[FrozenTrial] = ()
    images: str = ""

    def warmup_folder(self, config: TrainConfig) -> Path:
        """Return the run folder of the warm-up that a run with this configuration starts from."""
        digest = hashlib.sha256(dump_toml(warmup_config(config).to_dict()).encode()).hexdigest()[:8]
        return self.folder / ".warmup" / digest

    def point(self, number: int) -> Mapping[str, float]:
        """Return the values that a trial is given; mostly none."""
        return self.points[number] if number < len(self.points) else {}

    def searched(self, trials: int) -> dict[str, Dimension]:
        """Return the dimensions that some of `trials` trials draw from: none where all values are given."""
        different = min(trials, len(self.points) + 1)  # all further ones are alike
        given = [self.point(number).keys() for number in range(different)]
        dimensions = self.space.dimensions.items()
        return {name: one for name, one in dimensions if any(not {name, OTHER.get(name)} & names for names in given)}

    def run_folder(self, number: int) -> Path:
        """Return the run folder of a trial."""
        return self.folder / f"trial-{number:03d}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a run of a study needs to know, resolved once.

    Attributes:
        config: The settings of the run, its margin m included.
        folder: The run folder.
        warmup: The run folder of the warm-up that the run starts from, if any.
        vae_kl: KL in nats that a VAE reaches at the run's beta, predicted where there is no warm-up; None for a
            warm-up, which is neither compared nor pruned.
    """

    config: TrainConfig
    folder: Path
    warmup: Path | None = None
    vae_kl: float | None = None


def run_config(setup: Setup, number: int, values: Mapping[str, Any]) -> TrainConfig:
    """Return the settings of a trial's run, but for its margin.

    Args:
        setup: What the trials of the study share.
        number: The trial's number; its point, or else the number, gives the seed.
        values: The values that are searched.
    """
    seed = setup.point(number).get("seed")
    return replace(
        setup.config, alpha=values["alpha"], beta=values["beta"], split_seed=setup.config.images_seed,
        seed=derive(setup.config.seed, "trial", number) if seed is None else int(seed),
        warmup_seed=setup.config.seed if seed is None else int(seed), **searched(values),
    )  # fmt: skip


def plan_trial(setup: Setup, number: int, values: Mapping[str, Any]) -> Plan:
    """Plan a trial whose warm-up is trained: that tells the KL by which its margin is measured.

    Args:
        setup: What the trials of the study share.
        number: The trial's number.
        values: The values that are searched, either m or margin_ratio among them.

    Raises:
        UserError: If the warm-up's log cannot be read.
    """
    config = run_config(setup, number, values)
    warmup = setup.warmup_folder(config) if config.warmup_steps else None
    rows = read_metrics(warmup, 2) if warmup else []  # none where the warm-up diverged before its first row
    if warmup and not (warmup / METRICS).exists():
        raise UserError(f"{warmup / METRICS}, by which margins are measured, is gone; remove {warmup} to start over")
    kl = vae_kl(config, setup.spectrum, rows)
    m = rounded(values["m"] if "m" in values else values["margin_ratio"] * kl)
    return Plan(config=replace(config, m=m), folder=setup.run_folder(number), warmup=warmup, vae_kl=kl)


def plan_warmup(setup: Setup, config: TrainConfig) -> Plan | None:
    """Plan the warm-up that a run with this configuration starts from; None if there is none, or it is trained."""
    if not config.warmup_steps:
        return None
    folder = setup.warmup_folder(config)
    if trained_warmup(setup, config) and (folder / CHECKPOINT).exists():
        return None
    return Plan(config=warmup_config(config), folder=folder)


def trained_warmup(setup: Setup, config: TrainConfig) -> list[dict[str, float]]:
    """Return the last row of the warm-up that a run with this configuration starts from, if that has been trained."""
    row = last_row(setup.warmup_folder(config)) if config.warmup_steps else None
    return [row] if row and row["step"] == config.warmup_steps else []
