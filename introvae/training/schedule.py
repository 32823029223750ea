"""Schedules: the loss weights and the random seed that a configuration gives each step, and its warm-up as a run."""

from bisect import bisect_right
from dataclasses import dataclass, replace

from introvae.config import Schedule, TrainConfig


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights of one step's losses (`introvae.training.step`).

    Attributes:
        alpha: Amount of GAN in the encoder's loss; at 0 the step is a VAE's.
        alpha_decoder: Amount of GAN in the decoder's loss.
        beta: Weight of the reconstruction error.
        kl_weight: Weight of real images' KL.
        m: Margin in nats.
        hinge: "sample" applies the margin to each image, "batch" to the batch's mean energy.
        objective: "intro" or "soft" (Soft-IntroVAE).
        scale: Factor of the losses that both objectives share, those of real images and the decoder's.
        beta_neg: Weight of the fakes' KL in the encoder's loss; "soft" only.
        gamma_r: Weight of the fakes' own reconstruction in the decoder's loss; "soft" only.
    """

    alpha: float
    alpha_decoder: float
    beta: float
    kl_weight: float
    m: float
    hinge: str = "sample"
    objective: str = "intro"
    scale: float = 1.0
    beta_neg: float = 0.0
    gamma_r: float = 0.0


def value_at(schedule: Schedule, step: int) -> float:
    """Return the schedule's value at a step counted from 0: exact at its points, linear in between."""
    if not isinstance(schedule, tuple):
        return schedule
    right = bisect_right(schedule, step, key=lambda point: point[0])
    if right == 0:
        return schedule[0][1]
    step0, value0 = schedule[right - 1]
    if right == len(schedule) or step == step0:
        return value0
    step1, value1 = schedule[right]
    return value0 + (value1 - value0) * (step - step0) / (step1 - step0)


def weights_at(config: TrainConfig, step: int) -> Weights:
    """Return the loss weights of a step counted from 0: during the warm-up alpha is 0 and beta is warmup_beta."""
    warmup = step < config.warmup_steps
    alpha = 0.0 if warmup else value_at(config.alpha, step)
    beta = config.warmup_beta if warmup and config.warmup_beta is not None else value_at(config.beta, step)
    return Weights(
        alpha=alpha,
        alpha_decoder=alpha if config.alpha_decoder is None else config.alpha_decoder,
        beta=beta,
        kl_weight=value_at(config.kl_weight, step),
        m=config.m,
        hinge=config.hinge,
        objective=config.objective,
        scale=1.0 if config.objective == "intro" else 1 / (config.channels * config.image_size**2),
        beta_neg=config.beta_neg,
        gamma_r=config.gamma_r,
    )


def warmup_config(config: TrainConfig) -> TrainConfig:
    """Return the VAE phase of a run as a run: all that it depends on, and nothing else."""
    beta = config.beta if config.warmup_beta is None else config.warmup_beta
    seed = config.seed if config.warmup_seed is None else config.warmup_seed
    return replace(
        config, alpha=0.0, alpha_decoder=None, beta=beta, m=TrainConfig.m, hinge=TrainConfig.hinge,
        beta_neg=TrainConfig.beta_neg, gamma_r=TrainConfig.gamma_r, steps=config.warmup_steps, seed=seed,
        warmup_seed=None, split_seed=config.images_seed,
    )  # fmt: skip


def phase_step(config: TrainConfig, step: int) -> int:
    """Return how many steps of its phase, the warm-up or what follows it, come before a step."""
    return step - config.warmup_steps if step >= config.warmup_steps else step


def phase_seed(config: TrainConfig, step: int) -> int:
    """Return the seed of a step's draws; the warm-up, initial weights included, may have its own, for runs to share."""
    if step >= config.warmup_steps or config.warmup_seed is None:
        return config.seed
    return config.warmup_seed
