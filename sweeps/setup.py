"""What the trials of a study share, the warm-ups that they start from, and the configuration of each."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from analysis.measures.spectrum import vae_kl
from introvae.config import TrainConfig, dump_toml
from introvae.data.image_set import ImageSet
from introvae.randomness import derive
from introvae.runs.folder import CHECKPOINT, read_metrics
from introvae.training.trainer import Trainer
from sweeps.config import searched
from sweeps.search.space import Space, rounded
from sweeps.workers.slots import CutOff, patient_lock
from sweeps.workers.watch import Watch


@dataclass(frozen=True)
class Setup:
    """What the trials of a study share. `config` holds the study's seed, its warm-up and everything not searched.

    `weights` of the score's parts say what is optimised; `points` are values that the first slots are given. Without
    `prune` every trial is trained to its last step unless it diverges.
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
        """Of the warm-up that a run with this configuration starts from."""
        digest = hashlib.sha256(dump_toml(warmup_config(config).to_dict()).encode()).hexdigest()[:8]
        return self.folder / ".warmup" / digest

    def vae_kl(self, config: TrainConfig) -> float:
        """The KL in nats that a VAE reaches at the run's beta: predicted, put right by its warm-up."""
        rows = read_metrics(self.warmup_folder(config)) if config.warmup_steps else []
        return vae_kl(config, self.spectrum, rows)

    def point(self, slot: int) -> Mapping[str, float]:
        """The values that the slot is given; mostly none."""
        return self.points[slot] if slot < len(self.points) else {}

    def searched(self, trials: int) -> dict[str, list[float]]:
        """The ranges that some of so many trials draw from: none where all values are given."""
        drawn = [self.space.drawn(self.point(slot)) for slot in range(trials)]
        return {name: ends for name, ends in self.space.to_dict().items() if any(name in ranges for ranges in drawn)}

    @property
    def varies_warmup(self) -> bool:
        """Whether the warm-up depends on what is searched, so that each trial has one of its own."""
        ends = [{name: end} for name, bounds in self.space.search.items() for end in bounds]
        return any(warmup_config(replace(self.config, **searched(end))) != warmup_config(self.config) for end in ends)

    def shares_warmup(self, trials: int) -> bool:
        """Whether some of so many trials start from the study's own warm-up."""
        if not self.config.warmup_steps or self.varies_warmup:
            return False
        return any("seed" not in self.point(slot) for slot in range(trials))

    def run_folder(self, slot: int) -> Path:
        return self.folder / f"trial-{slot:03d}"


def warmup_config(config: TrainConfig) -> TrainConfig:
    """The VAE phase of a run as a run: all that it depends on, and nothing else."""
    beta = config.beta if config.warmup_beta is None else config.warmup_beta
    seed = config.seed if config.warmup_seed is None else config.warmup_seed
    return replace(
        config, alpha=0.0, alpha_decoder=None, beta=beta, m=TrainConfig.m, steps=config.warmup_steps,
        seed=seed, warmup_seed=None, split_seed=config.images_seed,
    )  # fmt: skip


def train_warmup(
    setup: Setup, config: TrainConfig, stop: Callable[[], bool] = lambda: False, watch: Watch | None = None
) -> None:
    """The VAE phase that a run with this configuration starts from, trained once; its KL also sets the margins.

    Other workers wait until the first one has trained it. Raises CutOff once `stop` is true and DivergedError if the
    phase diverges.
    """
    config, folder = warmup_config(config), setup.warmup_folder(config)
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


def run_config(setup: Setup, slot: int, values: Mapping[str, float]) -> TrainConfig:
    """The run of a slot but for m, which takes its warm-up; the seed is its point's or follows from the slot."""
    seed = setup.point(slot).get("seed")
    return replace(
        setup.config,
        alpha=values["alpha"],
        beta=values["beta"],
        seed=derive(setup.config.seed, "trial", slot) if seed is None else int(seed),
        warmup_seed=setup.config.seed if seed is None else int(seed),
        split_seed=setup.config.images_seed,
        **searched(values),
    )


def trial_config(setup: Setup, slot: int, values: Mapping[str, float]) -> TrainConfig:
    """The run of a slot: m = margin ratio x the KL that a VAE reaches at this beta, told by the run's warm-up."""
    config = run_config(setup, slot, values)
    m = values.get("m")
    if m is None:
        m = values["margin_ratio"] * setup.vae_kl(config)
    return replace(config, m=rounded(m))
