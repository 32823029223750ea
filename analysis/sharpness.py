"""Sharpness, always against the real images: noise is no more right than blur.

Images are float (N, C, H, W) in [0, 1].
"""

import math

import numpy as np
import torch
from skimage.measure import blur_effect as skimage_blur_effect
from torch import Tensor
from torch.nn import functional as F


def laplacian_variance(images: Tensor) -> float:
    """Variance of the four-neighbour Laplacian inside each channel, mean over channels and images."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    edges = F.conv2d(images.flatten(0, 1)[:, None], kernel)
    return edges.flatten(1).var(1, unbiased=False).mean().item()


def blur_effect(images: Tensor) -> float:
    """Perceived blur (Crete et al. 2007) as scikit-image computes it with h_size 11: 0 sharp, 1 blurred."""
    grey = images.mean(1).cpu().double().numpy()
    values = [skimage_blur_effect(image, h_size=11) for image in grey if np.ptp(image) > 0]
    return float(np.mean(values)) if values else 1.0


def power_spectrum(images: Tensor) -> Tensor:
    """Mean power at each whole radius in frequency space, 0 to half the side, (side // 2 + 1,).

    Of each channel less its mean, under a Hann window, averaged over directions, channels and images. Radius r
    stands for r periods across the image.
    """
    power, radius = _power(images)
    bins = radius.round().long().flatten()
    sums = torch.bincount(bins, power.flatten()) / torch.bincount(bins)
    return sums[: images.shape[-1] // 2 + 1]


def high_frequency_share(images: Tensor) -> float:
    """Share of the power at a quarter of the side or more periods across the image, in [0, 1]; 0 if there is none."""
    power, radius = _power(images)
    total = power.sum().item()
    return power[radius >= images.shape[-1] / 4].sum().item() / total if total > 0 else 0.0


def _power(images: Tensor) -> tuple[Tensor, Tensor]:
    """Power and radius at each frequency of square images."""
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64, device=images.device)
    x = images.double()
    x = (x - x.mean((-2, -1), keepdim=True)) * window * window[:, None]
    power = torch.fft.fft2(x).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=images.device)
    return power, torch.hypot(frequency, frequency[:, None])


def agreement(value: float, reference: float) -> float:
    """exp(-1/2 |log(value / reference)|), in [0, 1]: 1 if equal, and falls the same way above and below.

    Half the logarithm of a variance is the logarithm of an amplitude.
    """
    if value == reference:
        return 1.0
    if value <= 0 or reference <= 0 or not math.isfinite(value):
        return 0.0
    return math.exp(-0.5 * abs(math.log(value / reference)))


def relative_sharpness(real: Tensor, images: Tensor) -> float:
    """Agreement of the Laplacian variances, in [0, 1]; falls with blur and with noise."""
    return agreement(laplacian_variance(images), laplacian_variance(real))
