"""Plans: what the trials of a study share, the warm-ups that they start from, and the plan of each trial."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from analysis.measures.spectrum import vae_kl
from introvae.config import TrainConfig, dump_toml
from introvae.data.image_set import ImageSet
from introvae.errors import DivergedError
from introvae.randomness import derive
from introvae.runs.folder import CHECKPOINT, read_metrics
from introvae.training.trainer import Trainer
from sweeps.config import searched
from sweeps.search.space import OTHER, Space, rounded
from sweeps.workers.slots import CutOff, Stop, patient_lock
from sweeps.workers.watch import Watch


@dataclass(frozen=True, kw_only=True)
class Setup:
    """Everything that the trials of a study share.

    Attributes:
        config: The study's seed, its warm-up and everything that is not searched.
        space: The ranges that are searched.
        images: The images that all trials train on.
        spectrum: Eigenvalues of the training images' covariance.
        folder: The study's folder.
        device: The device to train on.
        weights: Weights of the score's parts in what the study maximizes.
        prune: Prune trials; without, each trains to its last step unless it diverges.
        points: Values that the first slots are given.
    """

    config: TrainConfig
    space: Space
    images: ImageSet
    spectrum: Tensor
    folder: Path
    device: torch.device
    weights: Mapping[str, float]
    prune: bool = True
    points: Sequence[Mapping[str, float]] = ()

    def warmup_folder(self, config: TrainConfig) -> Path:
        """Return the run folder of the warm-up that a run with this configuration starts from."""
        digest = hashlib.sha256(dump_toml(warmup_config(config).to_dict()).encode()).hexdigest()[:8]
        return self.folder / ".warmup" / digest

    def point(self, slot: int) -> Mapping[str, float]:
        """Return the values that the slot is given; mostly none."""
        return self.points[slot] if slot < len(self.points) else {}

    def searched(self, trials: int) -> dict[str, list[float]]:
        """Return the ranges that some of `trials` trials draw from: none where all values are given."""
        given = [self.point(slot).keys() for slot in range(trials)]
        ranges = self.space.to_dict().items()
        return {name: ends for name, ends in ranges if any(not {name, OTHER.get(name)} & names for names in given)}

    @property
    def varies_warmup(self) -> bool:
        """Tell whether the warm-up depends on what is searched, so that each trial has its own."""
        ends = [{name: end} for name, bounds in self.space.search.items() for end in bounds]
        return any(warmup_config(replace(self.config, **searched(end))) != warmup_config(self.config) for end in ends)

    def shares_warmup(self, trials: int) -> bool:
        """Tell whether some of `trials` trials start from the study's own warm-up."""
        if not self.config.warmup_steps or self.varies_warmup:
            return False
        return any("seed" not in self.point(slot) for slot in range(trials))

    def run_folder(self, slot: int) -> Path:
        """Return the run folder of a slot."""
        return self.folder / f"trial-{slot:03d}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that a trial's run needs to know, resolved once.

    Attributes:
        config: The settings of the run, its margin m included.
        folder: The run folder.
        warmup: The run folder of the warm-up that the run starts from; None without a warm-up.
        vae_kl: KL in nats that a VAE reaches at the run's beta.
    """

    config: TrainConfig
    folder: Path
    warmup: Path | None
    vae_kl: float


def plan_trial(
    setup: Setup, slot: int, values: Mapping[str, float], stop: Stop = lambda: False, watch: Watch | None = None
) -> Plan:
    """Resolve the run of a slot, once its warm-up is trained, which tells the KL that the margin is measured by.

    Args:
        setup: What the trials of the study share.
        slot: The slot; its point, or else its number, gives the seed.
        values: The values that are searched, either m or margin_ratio among them.
        stop: Returns true once the warm-up is to be interrupted.
        watch: Counts the time that the warm-up takes.

    Raises:
        CutOff: If the warm-up was interrupted.
    """
    seed = setup.point(slot).get("seed")
    config = replace(
        setup.config, alpha=values["alpha"], beta=values["beta"], split_seed=setup.config.images_seed,
        seed=derive(setup.config.seed, "trial", slot) if seed is None else int(seed),
        warmup_seed=setup.config.seed if seed is None else int(seed), **searched(values),
    )  # fmt: skip
    warmup, rows = None, []
    if config.warmup_steps:
        warmup = setup.warmup_folder(config)
        with suppress(DivergedError):  # the run diverges as well, and shows it
            train_warmup(setup, config, stop, watch)
        rows = read_metrics(warmup)
    kl = vae_kl(config, setup.spectrum, rows)
    m = rounded(values["m"] if "m" in values else values["margin_ratio"] * kl)
    return Plan(config=replace(config, m=m), folder=setup.run_folder(slot), warmup=warmup, vae_kl=kl)


def warmup_config(config: TrainConfig) -> TrainConfig:
    """Return the VAE phase of a run as a run: all that it depends on, and nothing else."""
    beta = config.beta if config.warmup_beta is None else config.warmup_beta
    seed = config.seed if config.warmup_seed is None else config.warmup_seed
    return replace(
        config, alpha=0.0, alpha_decoder=None, beta=beta, m=TrainConfig.m, steps=config.warmup_steps,
        seed=seed, warmup_seed=None, split_seed=config.images_seed,
    )  # fmt: skip


def train_warmup(setup: Setup, config: TrainConfig, stop: Stop = lambda: False, watch: Watch | None = None) -> None:
    """Train the VAE phase that a run with this configuration starts from, once for all trials that share it.

    Other workers wait until the first one has trained it.

    Raises:
        CutOff: Once `stop` is true.
        DivergedError: If the phase diverges.
    """
    folder, config = setup.warmup_folder(config), warmup_config(config)
    watch = watch or Watch()
    watch.enter("waiting")
    with patient_lock(folder, stop):
        watch.enter("start")
        rows = read_metrics(folder, most=2)
        if rows and rows[-1]["step"] == config.steps and (folder / CHECKPOINT).exists():
            return
        if not stop():
            trainer = Trainer(config, setup.images, folder, setup.device)
            watch.enter("keeping")
            trainer.run(on_log=watch.follow("warm-up", trainer, "warm-up"), stop=stop)
            watch.enter("study")
            if trainer.step == config.steps:
                return
    raise CutOff("asked to stop in the warm-up")
