"""Measures of sharpness. All are compared with the real images, as noise is no better than blur.

Images are float (N, C, H, W) in [0, 1].
"""

import numpy as np
import torch
from skimage.measure import blur_effect as blur_effect_of
from torch import Tensor
from torch.nn import functional as F

H_SIZE = 11  # pixels of the blur that an image is compared with
OPPONENT = (  # brightness and two color differences, an orthonormal basis
    (3**-0.5, 3**-0.5, 3**-0.5),
    (2**-0.5, -(2**-0.5), 0.0),
    (6**-0.5, 6**-0.5, -2 * 6**-0.5),
)
ROUNDING = 1 / 255**2 / 12  # variance of rounding to 8 bits
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


def plane_power(images: Tensor) -> Tensor:
    """Return each image's power over the whole plane of frequencies, corners included, (N, C, S, S // 2 + 1).

    Colors are turned into brightness and two color differences first, so that a loss of color is a loss of power. The
    power of rounding to 8 bits is added: what lies below it cannot be seen.
    """
    x = images.double()
    if x.shape[1] == 3:
        x = torch.einsum("oc,nchw->nohw", x.new_tensor(OPPONENT), x)
    height, width = x.shape[-2:]
    window = torch.outer(
        *(torch.hann_window(side, periodic=False, dtype=x.dtype, device=x.device) for side in (height, width))
    )
    waves = torch.fft.rfft2((x - x.mean((-2, -1), keepdim=True)) * window)
    return waves.real.square() + waves.imag.square() + window.square().sum() * ROUNDING


def spectral_divergence(power: Tensor, reference: Tensor) -> float:
    """Return the Itakura-Saito divergence between mean powers, 1/2 (r - 1 - log r) with r = power / reference.

    This is the Kullback-Leibler divergence, in nats per frequency, between Gaussian textures with these spectra. It is
    averaged over channels and over all frequencies but 0. Blur (r near 0) costs the logarithm of what is lost; stripes,
    noise and ringing (r above 1) cost in proportion to what is too much, at however few frequencies.

    Args:
        power: Mean of `plane_power` over images, (C, S, S // 2 + 1).
        reference: The same of real images.
    """
    ratio = (power / reference).flatten(1)[:, 1:]
    return max(0.0, 0.5 * (ratio - 1 - ratio.log()).mean().item())
