"""Measures of how close reconstructions are to their originals. Images are float (N, C, H, W) in [0, 1]."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.measures.copies import distinct

MOST_PSNR = 100.0  # dB; stands for identical images
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM's, from fine to coarse
WINDOW, SIGMA = 11, 1.5  # its Gaussian window in pixels
C1, C2 = 0.01**2, 0.03**2
MAPS = 32  # channels of images at once: more would leave the processor's cache


def mse(real: Tensor, reconstructions: Tensor) -> float:
    """Return the mean squared error of a pixel."""
    return (reconstructions - real).square().mean().item()


def psnr(real: Tensor, reconstructions: Tensor) -> float:
    """Return the peak signal-to-noise ratio, 10 log10(1 / MSE) in dB, at most 100."""
    error = mse(real, reconstructions)
    return min(-10 * math.log10(error), MOST_PSNR) if error != 0 else MOST_PSNR


def ssim(real: Tensor, reconstructions: Tensor) -> float:
    """Return the structural similarity (Wang et al. 2004), averaged over images and channels; 1 for identical images.

    As in scikit-image, windows are uniform with 7x7 pixels, and variances are divided by n - 1.
    """
    kernel = torch.full((7,), 1 / 7, dtype=torch.float64, device=real.device)

    def of_maps(x: Tensor, y: Tensor) -> Tensor:
        luminance, structure = _ssim_maps(x, y, kernel, 49 / 48)
        return (luminance * structure).flatten(1).mean(1)

    return _mean_of_maps(of_maps, real, reconstructions)


def ms_ssim(real: Tensor, reconstructions: Tensor) -> float:
    """Return the multi-scale structural similarity (Wang et al. 2003), averaged over images and channels.

    Small images have fewer than the five scales (`ms_ssim_scales`), whose weights are scaled to add up to 1. Identical
    images have 1.

    Raises:
        ValueError: If the images are smaller than 11 pixels.
    """
    weights = torch.tensor(SCALE_WEIGHTS[: ms_ssim_scales(min(real.shape[-2:]))], device=real.device)
    offsets = torch.arange(WINDOW, dtype=torch.float64, device=real.device) - WINDOW // 2
    kernel = torch.exp(-offsets.square() / (2 * SIGMA**2))
    kernel = kernel / kernel.sum()

    def of_maps(x: Tensor, y: Tensor) -> Tensor:
        parts = []
        for scale in range(len(weights)):
            if scale:
                x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
            luminance, structure = _ssim_maps(x, y, kernel)
            last = scale == len(weights) - 1
            parts.append((luminance * structure if last else structure).flatten(1).mean(1).clamp(min=0))
        return torch.stack(parts, 1).pow(weights / weights.sum()).prod(1)

    return _mean_of_maps(of_maps, real, reconstructions)


def ms_ssim_scales(size: int) -> int:
    """Return the number of scales for images of `size` pixels: each halves them, and the last must hold the window.

    Raises:
        ValueError: If the images are smaller than the window, 11 pixels.
    """
    if size < WINDOW:
        raise ValueError(f"images of {size} px are smaller than the window of {WINDOW} px")
    return min(len(SCALE_WEIGHTS), 1 + int(math.log2(size / WINDOW)))


def _mean_of_maps(measure: Callable[[Tensor, Tensor], Tensor], real: Tensor, reconstructions: Tensor) -> float:
    """Average a measure over images and channels, a few at a time."""
    maps = [images.flatten(0, 1)[:, None].split(MAPS) for images in (real, reconstructions)]
    return torch.cat([measure(x.double(), y.double()) for x, y in zip(*maps, strict=True)]).mean().item()


def _ssim_maps(x: Tensor, y: Tensor, kernel: Tensor, correction: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return luminance and contrast-structure wherever the window fits, with `kernel` (n,) along both axes."""

    def smooth(images: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(images, kernel[None, None, None]), kernel[None, None, :, None])

    mean_x, mean_y = smooth(x), smooth(y)
    var_x, var_y, covariance = (
        (smooth(product) - means) * correction
        for product, means in ((x * x, mean_x**2), (y * y, mean_y**2), (x * y, mean_x * mean_y))
    )
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return luminance, (2 * covariance + C2) / (var_x + var_y + C2)


def variance_explained(real: Tensor, reconstructions: Tensor) -> float:
    """Return 1 - MSE / MSE of the mean image: 1 is perfect, 0 no better than the mean image, negative worse.

    If the real images are all alike, 1 for reconstructions that equal them, else negative infinity.
    """
    variance = mse(real, real.mean(0, keepdim=True).expand_as(real))
    error = mse(real, reconstructions)
    if variance == 0:
        return 1.0 if error == 0 else -math.inf
    return 1 - error / variance


def retrieval(real: Tensor, reconstructions: Tensor) -> float:
    """Return the share of reconstructions that are closer to their own input than to any other, by pixel distance.

    Copies among the real images count once: no reconstruction could be closer to one of them than to the other.
    """
    once = distinct(real)
    distance = torch.cdist(reconstructions[once].flatten(1).double(), real[once].flatten(1).double())
    own = distance.diagonal().clone()
    distance.fill_diagonal_(math.inf)
    others = distance.min(dim=1).values
    return (own < others).double().mean().item()
