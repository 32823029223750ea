"""Sharpness, always against the real images: noise is no more right than blur.

Images are float (N, C, H, W) in [0, 1].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

H_SIZE = 11  # pixels of the blur that blur_effect compares with
ROUNDING = 2.0**-52  # stands for no edge
PART = 32  # images or channels at once: more would leave the processor's cache


def laplacian_variance(images: Tensor) -> float:
    """Variance of the four-neighbour Laplacian inside each channel, mean over channels and images."""
    kernel = images.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
    parts = images.flatten(0, 1)[:, None].split(PART)
    return torch.cat([F.conv2d(x, kernel).flatten(1).var(1, unbiased=False) for x in parts]).mean().item()


def blur_effect(images: Tensor) -> float:
    """Perceived blur (Crete et al. 2007) as scikit-image computes it with h_size 11: 0 sharp, 1 blurred.

    How much of the edges a further blur of 11 pixels leaves, the larger of both directions; mean over images, of
    the channels' mean. Images without edges are left out; 1 if all are.
    """
    grey = images.double().mean(1, keepdim=True)
    grey = grey[grey.flatten(1).amax(1) > grey.flatten(1).amin(1)]
    if len(grey) == 0:
        return 1.0
    return torch.cat([torch.maximum(_edges_left(x), _edges_left(x.mT)) for x in grey.split(PART)]).mean().item()


def _edges_left(images: Tensor) -> Tensor:
    """Share of the edges across the rows of images (N, 1, H, W) that stay when these are blurred along, (N,)."""
    reach = H_SIZE // 2
    mirrored = torch.cat([images[..., :reach, :].flip(-2), images, images[..., -reach:, :].flip(-2)], -2)
    sobel = torch.outer(images.new_tensor([1, 0, -1]), images.new_tensor([1, 2, 1]))[None, None] / 8
    before, after = (
        F.conv2d(x, sobel)[..., 1:, 1:].abs().clamp(min=ROUNDING).flatten(1)
        for x in (images, F.avg_pool2d(mirrored, (H_SIZE, 1), 1))
    )
    return 1 - (before - after).relu().sum(1) / before.sum(1)


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
    power = torch.zeros(side, side, dtype=torch.float64, device=images.device)
    for x in images.flatten(0, 1).split(PART):
        centred = x.double() - x.double().mean((-2, -1), keepdim=True)
        power += torch.fft.fft2(centred * window * window[:, None]).abs().square().sum(0)
    power /= len(images) * images.shape[1]
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
