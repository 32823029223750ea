"""What a configuration means at one step: the seed of its phase and the weights of its losses."""

from introvae.config import TrainConfig, value_at
from introvae.step import Weights


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
