"""What the eigenvalues of the training images' covariance predict (formulas: `analysis.spectrum`), without PyTorch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def predicted_kl(spectrum: "Tensor | Sequence[float]", beta: float, latent: int) -> float:
    """KL_lin(beta) in nats of a linear VAE with `latent` dimensions."""
    return float(0.5 * np.log(np.maximum(beta * np.asarray(spectrum[:latent]), 1)).sum())


def predicted_active_units(spectrum: "Tensor | Sequence[float]", beta: float, latent: int) -> int:
    return int((beta * np.asarray(spectrum[:latent]) > 1).sum())
