"""Measures of sharpness. All are compared with the real images, as noise is no better than blur.

Images are float (N, C, H, W) in [0, 1].
"""

import math

import numpy as np
import torch
from skimage.measure import blur_effect as blur_effect_of
from torch import Tensor
from torch.nn import functional as F

H_SIZE = 11  # pixels of the blur that an image is compared with
PART = 32  # images or channels at once: more would leave the processor's cache


def laplacian_variance(images: Tensor) -> float:
    """Return the variance of the four-neighbor Laplacian inside each channel, averaged over channels and images."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    parts = images.flatten(0, 1)[:, None].split(PART)
    return torch.cat([F.conv2d(x, kernel).flatten(1).var(1, unbiased=False) for x in parts]).mean().item()


def blur_effect(images: Tensor) -> float:
    """Return the perceived blur (Crete et al. 2007) as scikit-image computes it, averaged over images; 0 is sharp.

    An image's blur is the share of its edges that a further blur of 11 pixels leaves, for the mean of its channels and
    in that direction, horizontal or vertical, where more is left. Images without edges are left out; if no others
    remain, the blur is 1.
    """
    gray = images.double().mean(1).cpu().numpy()
    effects = [blur_effect_of(image, h_size=H_SIZE) for image in gray if image.max() > image.min()]
    return float(np.mean(effects)) if effects else 1.0


def power_spectrum(images: Tensor) -> Tensor:
    """Return the mean power at each whole radius in frequency space, from 0 to half the side, (side // 2 + 1,).

    Each channel is taken less its mean and under a Hann window, and power is averaged over directions, channels and
    images. Radius r stands for r periods across the image. Images are square.
    """
    power, radius = _power(images)
    bins = radius.round().long().flatten()
    sums = torch.bincount(bins, power.flatten()) / torch.bincount(bins)
    return sums[: images.shape[-1] // 2 + 1]


def high_frequency_share(images: Tensor) -> float:
    """Return the share of the power at S / 4 and more periods across images of S pixels; 0 if there is no power."""
    power, radius = _power(images)
    total = power.sum().item()
    return power[radius >= images.shape[-1] / 4].sum().item() / total if total > 0 else 0.0


def _power(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean power and the radius at each frequency, both (S, S)."""
    powers, radius = zip(*(_powers(x) for x in images.split(PART)), strict=True)
    return torch.stack([x.sum((0, 1)) for x in powers]).sum(0) / (len(images) * images.shape[1]), radius[0]


def _powers(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the power of each channel, (N, C, S, S), and the radius, (S, S), at each frequency."""
    side = images.shape[-1]
    window = torch.hann_window(side, periodic=False, dtype=torch.float64, device=images.device)
    centered = images.double() - images.double().mean((-2, -1), keepdim=True)
    waves = torch.fft.fft2(centered * window * window[:, None])
    power = waves.real.square() + waves.imag.square()
    frequency = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64, device=images.device)
    return power, torch.hypot(frequency, frequency[:, None])


def edge_energy(images: Tensor) -> Tensor:
    """Return each image's energy of the Laplacian at each whole radius in frequency space, (N, side // 2 + 1).

    This is |k|^4 times the power, summed over directions and averaged over channels: the power spectrum weighted
    toward edges.
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
    """Return the agreement of two mean edge energies a and b, sqrt(sum min(a, b) / sum max(a, b)) over frequencies.

    If a = c b, this is exp(-|log c| / 2): too much and too little energy count alike, as amplitudes. Noise at high
    frequencies does not make up for blur at lower ones.

    Args:
        energy: Mean of `edge_energy` over images.
        reference: The same of the real images.
        tolerance: Differences that do not count, at each frequency.

    Returns:
        A value in [0, 1]; 1 if the energies are equal, up to the tolerance.
    """
    joint = torch.maximum(energy, reference).sum().item()
    apart = ((energy - reference).abs() - tolerance).clamp(min=0).sum().item()
    return math.sqrt(1 - apart / joint) if joint > 0 else 1.0
