"""How near reconstructions come to their originals. Images are float (N, C, H, W) in [0, 1]."""

import math

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

MOST_PSNR = 100.0  # dB, stands for identical images


def mse(real: Tensor, reconstructions: Tensor) -> float:
    """Mean squared error for each number of an image."""
    return (reconstructions - real).square().mean().item()


def psnr(real: Tensor, reconstructions: Tensor) -> float:
    """10 log10(1 / MSE) in dB, at most 100."""
    error = mse(real, reconstructions)
    return min(MOST_PSNR, -10 * math.log10(error)) if error > 0 else MOST_PSNR


def ssim(real: Tensor, reconstructions: Tensor) -> float:
    """Structural similarity (Wang et al. 2004), windows of 7x7, mean over images; 1 for identical ones."""
    pairs = zip(real.cpu().double().numpy(), reconstructions.cpu().double().numpy(), strict=True)
    return float(np.mean([structural_similarity(x, y, data_range=1.0, channel_axis=0) for x, y in pairs]))


def relative_error(real: Tensor, reconstructions: Tensor) -> float:
    """MSE / MSE of the mean image: 0 is perfect, 1 no better than the mean image.

    For real images that are all alike: 0 if the reconstructions equal them, else infinite.
    """
    variance = mse(real, real.mean(0, keepdim=True).expand_as(real))
    error = mse(real, reconstructions)
    if variance == 0:
        return 0.0 if error == 0 else math.inf
    return error / variance


def retrieval(real: Tensor, reconstructions: Tensor) -> float:
    """Share of reconstructions that are nearer to their own input than to any other, by pixel distance."""
    distance = torch.cdist(reconstructions.flatten(1).double(), real.flatten(1).double())
    own = distance.diagonal().clone()
    distance.fill_diagonal_(math.inf)
    others = distance.min(dim=1).values
    return (own < others).double().mean().item()
