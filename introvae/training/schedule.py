"""What a configuration means at one step: the seed of its phase and the weights of its losses."""

from bisect import bisect_right
from dataclasses import dataclass

from introvae.config import Schedule, TrainConfig


@dataclass(frozen=True)
class Weights:
    """The weights of one step's losses; `m` in nats.

    `scale` multiplies the losses that both networks share, those of real images and the decoder's;
    `beta_neg` and `gamma_r` belong to the objective "soft".
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
    """The schedule's value at a step counted from 0, exact at its points."""
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


def phase_seed(config: TrainConfig, step: int) -> int:
    """The initial weights and the warm-up have a seed of their own, so that runs can share them."""
    if step >= config.warmup_steps or config.warmup_seed is None:
        return config.seed
    return config.warmup_seed


def weights_at(config: TrainConfig, step: int) -> Weights:
    """The loss weights of a step counted from 0: during the warm-up alpha is 0 and beta is warmup_beta."""
    c = config
    warmup = step < c.warmup_steps
    alpha = 0.0 if warmup else value_at(c.alpha, step)
    beta = c.warmup_beta if warmup and c.warmup_beta is not None else value_at(c.beta, step)
    alpha_decoder = alpha if c.alpha_decoder is None else c.alpha_decoder
    scale = 1.0 if c.objective == "intro" else 1 / (c.channels * c.image_size**2)
    kl_weight = value_at(c.kl_weight, step)
    return Weights(
        alpha, alpha_decoder, beta, kl_weight, c.m, c.hinge, c.objective, scale, c.beta_neg, c.gamma_r
    )  # fmt: skip
