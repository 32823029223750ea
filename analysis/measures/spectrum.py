"""Predictions of a VAE from the covariance of its training images, before it is trained.

A linear VAE with loss KL + beta/2 sum (x_r - x)^2 has decoder variance 1/beta and is solved by probabilistic PCA
(Lucas et al. 2019, arXiv 1911.02469). With the covariance's eigenvalues l_1 >= l_2 >= ...

    KL_lin(beta)  = 1/2 sum_{i <= z} max(0, log(beta l_i))    in nats
    active units  = #{i <= z : beta l_i > 1}
    total collapse if beta < 1 / l_1
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from introvae.config import TrainConfig
from introvae.training.schedule import weights_at

if TYPE_CHECKING:  # PyTorch takes seconds to import, and a report needs the predictions alone
    from torch import Tensor

    from introvae.data.pixel_cache import Images

MOST_IMAGES = 3000  # more hardly move the leading eigenvalues
MOST_BYTES = 2**31  # of images in memory at once
NEGLIGIBLE = 1e-12  # far below one gray level in one pixel of one image: rounding, not variance


def eigenvalues(images: "Images") -> "Tensor":
    """Compute the eigenvalues of the pixels' covariance.

    Args:
        images: uint8 (N, C, H, W). Of larger sets 3,000 evenly spaced images are used, and fewer if these exceed
            2 GiB (above 500 px in color).

    Returns:
        float64, at most N - 1 values in falling order, for pixels in [0, 1].
    """
    import torch

    from introvae.data.pixel_cache import evenly

    count = min(len(images), MOST_IMAGES, max(2, MOST_BYTES // images.shape[1:].numel()))
    x = evenly(images, count).cpu().flatten(1)
    if count < x.shape[1]:
        gram = torch.zeros(count, count, dtype=torch.float64)
        for pixels in x.split(MOST_IMAGES, dim=1):  # a float64 copy of all would be eight times as large
            centered = _centered(pixels)
            gram += centered @ centered.T
    else:
        centered = _centered(x)
        gram = centered.T @ centered
    values = torch.linalg.eigvalsh(gram / max(1, count - 1)).flip(0)
    return values[values > NEGLIGIBLE]


def _centered(images: "Tensor") -> "Tensor":
    x = images.double() / 255
    return x - x.mean(0)


def beta_range(spectrum: "Tensor", latent: int) -> tuple[float, float]:
    """Return the range of beta worth searching: from a quarter of the latent dimensions active to ten times all.

    Below it the posterior has all but collapsed; above it more beta only adds ever finer detail to the code.

    Raises:
        ValueError: If the images do not vary.
    """
    usable = spectrum[:latent]
    if len(usable) == 0:
        raise ValueError("the training images are all alike: their covariance is 0")
    return 1 / usable[len(usable) // 4].item(), 10 / usable[-1].item()


def vae_kl(config: TrainConfig, spectrum: "Tensor", rows: Sequence[Mapping[str, float]]) -> float:
    """Estimate the KL in nats that a VAE reaches at the run's final beta: c KL_lin(beta).

    c is `warmup_correction`, and 1 where nothing is measured: the KL is then a prediction, and named so wherever it is
    shown. The margin m over this KL is the margin ratio.
    """
    correction = warmup_correction(config, spectrum, rows)
    beta = weights_at(config, config.steps).beta
    return (1.0 if correction is None else correction) * predicted_kl(spectrum, beta, config.latent)


def warmup_correction(config: TrainConfig, spectrum: "Tensor", rows: Sequence[Mapping[str, float]]) -> float | None:
    """Return KL_measured / KL_lin at the end of the warm-up; None where no warm-up has measured it.

    Args:
        config: The run's settings.
        spectrum: Eigenvalues of the training images' covariance.
        rows: Rows of metrics.csv, of the run or of its warm-up.
    """
    warm = [row for row in rows if row["step"] <= config.warmup_steps]
    predicted = predicted_kl(spectrum, warm[-1]["beta"], config.latent) if warm else 0.0
    return warm[-1]["kl_real"] / predicted if predicted > 0 else None


def predicted_kl(spectrum: "Tensor | Sequence[float]", beta: float, latent: int) -> float:
    """Return KL_lin(beta) in nats of a linear VAE with `latent` dimensions."""
    return float(0.5 * np.log(np.maximum(beta * np.asarray(spectrum[:latent]), 1)).sum())


def predicted_active_units(spectrum: "Tensor | Sequence[float]", beta: float, latent: int) -> int:
    """Return the number of latent dimensions that a linear VAE uses at this beta."""
    return int((beta * np.asarray(spectrum[:latent]) > 1).sum())
