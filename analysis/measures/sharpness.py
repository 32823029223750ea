"""Sharpness, always against the real images: noise is no more right than blur.

Images are float (N, C, H, W) in [0, 1].
"""

import math

import numpy as np
import torch
from skimage.measure import blur_effect as blur_effect_of
from torch import Tensor
from torch.nn import functional as F

H_SIZE = 11  # pixels of the blur that blur_effect compares with
PART = 32  # images or channels at once: more would leave the processor's cache


def laplacian_variance(images: Tensor) -> float:
    """Variance of the four-neighbour Laplacian inside each channel, mean over channels and images."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    parts = images.flatten(0, 1)[:, None].split(PART)
    return torch.cat([F.conv2d(x, kernel).flatten(1).var(1, unbiased=False) for x in parts]).mean().item()


def blur_effect(images: Tensor) -> float:
    """Compute the perceived blur (Crete et al. 2007) by scikit-image, in [0, 1]; 0 is sharp.

    The share of the edges that a further blur of 11 pixels leaves, the larger of both directions, of the mean over
    channels; the mean over images. Images without edges are left out; 1 if all are.
    """
    gray = images.double().mean(1).cpu().numpy()
    effects = [blur_effect_of(image, h_size=H_SIZE) for image in gray if image.max() > image.min()]
    return float(np.mean(effects)) if effects else 1.0


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
    """Mean power and radius at each frequency of square images."""
    powers, radius = zip(*(_powers(x) for x in images.split(PART)), strict=True)
    return torch.stack([x.sum((0, 1)) for x in powers]).sum(0) / (len(images) * images.shape[1]), radius[0]


def _powers(images: Tensor) -> tuple[Tensor, Tensor]:
    """Power of each channel of each image and radius at each frequency, (N, C, S, S) and (S, S)."""
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64, device=images.device)
    centred = images.double() - images.double().mean((-2, -1), keepdim=True)
    waves = torch.fft.fft2(centred * window * window[:, None])
    power = waves.real.square() + waves.imag.square()
    frequency = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=images.device)
    return power, torch.hypot(frequency, frequency[:, None])


def edge_energy(images: Tensor) -> Tensor:
    """Energy of the Laplacian at each whole radius in frequency space, 0 to half the side, of each image, (N, radii).

    |k|^4 times the power, summed over directions and averaged over channels: the power spectrum as edges see it.
    """
    energies = []
    for x in images.split(PART):
        power, radius = _powers(x)
        energy = (power.mean(1) * radius**4).flatten(1)
        bins = radius.round().long().flatten()
        rings = energy[:, bins.argsort()].split(torch.bincount(bins).tolist(), dim=1)
        energies.append(torch.stack([ring.sum(1) for ring in rings[: images.shape[-1] // 2 + 1]], 1))
    return torch.cat(energies)


def shared_energy(energy: Tensor, reference: Tensor, tolerance: Tensor | float = 0.0) -> float:
    """sqrt(sum min(a, b) / sum max(a, b)) over frequencies of two mean edge energies, in [0, 1]: 1 if they are equal.

    Where one is c times the other, this is exp(-1/2 |log c|): the agreement of the Laplacian variances as amplitudes,
    the same above and below. But noise at high frequencies does not make up for blur at those below. Differences
    within the `tolerance` at a frequency are none.
    """
    joint = torch.maximum(energy, reference).sum().item()
    apart = ((energy - reference).abs() - tolerance).clamp(min=0).sum().item()
    return math.sqrt(1 - apart / joint) if joint > 0 else 1.0
