"""Likeness and diversity of samples, from features of samples and of real images that are blurred as much as they are.

Whether samples are sharp is a question of its own (`analysis.measures.sharpness`). Here real images are first blurred
to the sharpness of the samples: a blurred face is compared with blurred faces, and told apart by what it shows.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.measures.features import features, standardized

DEGREE = 3  # of the kernel, as in KID
SCALE = 0.005  # squared discrepancy
NEIGHBORS = 5  # radius of a real image's ball: another sample of real images reaches 97% of such balls


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Kernels and distances between all pairs of N real images and M samples, from which some rows can be kept.

    Attributes:
        real: Kernel among the real images, (N, N).
        samples: Kernel among the samples, (M, M).
        between: Kernel of samples and real images, (M, N).
        real_distance: Distances among the real images, (N, N).
        samples_distance: Distances among the samples, (M, M).
        distance: Distances of samples to real images, (M, N).
        real_nearest: Distance of each real image to the nearest other one, by features of quarters, (N,).
        nearest: Distance of each sample to the nearest real image, by these features, (M,).
    """

    real: Tensor
    samples: Tensor
    between: Tensor
    real_distance: Tensor
    samples_distance: Tensor
    distance: Tensor
    real_nearest: Tensor
    nearest: Tensor

    @staticmethod
    def of(real: Tensor, samples: Tensor) -> "Pairs":
        """Compare features, in units of their deviation among the real images."""
        whole, quarters = zip(features(blurred_like(real, samples)), features(samples), strict=True)
        (a, b), (c, d) = standardized(*whole), standardized(*quarters)

        def kernel(x: Tensor, y: Tensor) -> Tensor:
            return (x @ y.T / x.shape[1] + 1) ** DEGREE

        return Pairs(
            real=kernel(a, a), samples=kernel(b, b), between=kernel(b, a),
            real_distance=torch.cdist(a, a).fill_diagonal_(0), samples_distance=torch.cdist(b, b).fill_diagonal_(0),
            distance=torch.cdist(b, a), real_nearest=_nearest(torch.cdist(c, c).fill_diagonal_(0), 1),
            nearest=torch.cdist(d, c).amin(1),
        )  # fmt: skip

    def keep(self, real: Tensor, samples: Tensor) -> "Pairs":
        """Return the pairs of the real images and the samples in these rows.

        What is nearest to them is so among all real images: with fewer, every distance would be larger.
        """
        return Pairs(
            real=self.real[real][:, real], samples=self.samples[samples][:, samples],
            between=self.between[samples][:, real], real_distance=self.real_distance[real][:, real],
            samples_distance=self.samples_distance[samples][:, samples], distance=self.distance[samples][:, real],
            real_nearest=self.real_nearest[real], nearest=self.nearest[samples],
        )  # fmt: skip


def structure(pairs: Pairs) -> float:
    """Measure the resemblance of samples to real images of their own sharpness, in [0, 1].

    This is nearness / (1 + log(1 + D / 0.005)).

    D is the unbiased squared maximum mean discrepancy of features under the kernel (x.y / 112 + 1)^3, which is KID's
    (Bińkowski et al. 2018, arXiv 1801.01401), less three standard errors that it has for two draws of real images, and
    at least 0. A few terrible samples weigh heavily, since the kernel grows with the cube of what is unusual. The
    logarithm keeps this part from drowning the others where D is large, as it is in most runs.

    Nearness tells such runs apart, by features of quarters: the mean distance of a real image to the nearest other
    one, over that of a sample to the nearest real image, at most 1.
    """
    within = _off_diagonal_mean(pairs.real) + _off_diagonal_mean(pairs.samples)
    discrepancy = within - 2 * pairs.between.mean().item() - 3 * _chance(pairs.real, len(pairs.samples))
    return _nearness(pairs) / (1 + math.log1p(max(0.0, discrepancy) / SCALE))


def _nearness(pairs: Pairs) -> float:
    usual, found = pairs.real_nearest.mean().item(), pairs.nearest.mean().item()
    return min(1.0, usual / found) if usual and found else 1.0


def _chance(kernel: Tensor, samples: int) -> float:
    """Return the standard error of the discrepancy of as many samples from the distribution of the real images.

    It is (1/n + 1/m) sqrt(2 E[k(x, x')^2]) for the centered kernel (Gretton et al. 2012, JMLR 13, theorem 12).
    """
    centered = kernel - kernel.mean(0) - kernel.mean(1, keepdim=True) + kernel.mean()
    return (1 / len(kernel) + 1 / samples) * math.sqrt(2 * max(0.0, _off_diagonal_mean(centered.square())))


def diversity(pairs: Pairs) -> float:
    """Measure the variety of samples relative to that of the real images, in [0, 1].

    This is the geometric mean of the soft coverage of real images, each of which counts as much as the distance of its
    fifth neighbor over that of the nearest sample, at most 1 (the share of those at 1 is the coverage of Naeem et al.
    2020, arXiv 2002.09797), and of the distinctness of samples, which is 0 if each has a copy.
    """
    radius = _nearest(pairs.real_distance, NEIGHBORS)
    nearest = pairs.distance.amin(0)
    covered = (radius / nearest).nan_to_num(nan=1.0).clamp(max=1).mean().item()
    reached = _expected_coverage(*pairs.between.shape)
    return math.sqrt(min(1.0, covered / reached) * _distinct(pairs.samples_distance, pairs.real_distance))


def blurred_like(real: Tensor, samples: Tensor) -> Tensor:
    """Blur real images to the sharpness of samples: at each radius in frequency space, where samples have less power.

    What they lack is less two standard errors: images of the same distribution are left as they are.

    Args:
        real: Real images, (N, C, S, S).
        samples: Samples, (M, C, S, S).

    Returns:
        Images of the shape of `real`, in [0, 1]; what samples have too much of is not added.
    """
    side = real.shape[-1]
    bins = _radius(side, side).round().long().flatten()
    (power, error), (real_power, real_error) = (_radial_power(images, bins) for images in (samples, real))
    tolerance = 1 + 2 * torch.hypot(error, real_error)
    gain = (tolerance * power / real_power).nan_to_num(nan=1.0).clamp(max=1).sqrt()
    gain[0] = 1
    padded = F.pad(real.double(), [side // 2] * 4, mode="reflect")
    radius = _radius(padded.shape[-1], side).clamp(max=len(gain) - 1)
    below = radius.floor().long()
    above = (below + 1).clamp(max=len(gain) - 1)
    smooth = torch.lerp(gain[below], gain[above], radius - below)
    images = torch.fft.ifft2(torch.fft.fft2(padded) * smooth).real
    inner = slice(side // 2, side // 2 + side)
    return images[..., inner, inner].clamp(0, 1).to(real.dtype)


def _radius(side: int, periods: int) -> Tensor:
    """Return the radius at each frequency of images of `side` pixels, in periods across `periods` pixels."""
    frequency = torch.fft.fftfreq(side, 1 / periods, dtype=torch.float64)
    return torch.hypot(frequency, frequency[:, None])


def _radial_power(images: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean power at each whole radius, and its relative standard error."""
    window = torch.hann_window(images.shape[-1], periodic=False, dtype=torch.float64)
    centered = images.double() - images.double().mean((-2, -1), keepdim=True)
    powers = (torch.fft.fft2(x * window * window[:, None]).abs().square().mean(0).flatten() for x in centered)
    power = torch.stack([torch.bincount(bins, x) for x in powers]) / torch.bincount(bins)
    deviation, mean = torch.std_mean(power, 0, correction=0)
    return mean, (deviation / mean).nan_to_num(nan=0.0) / math.sqrt(len(images))


def _expected_coverage(samples: int, real: int) -> float:
    """Return the coverage that samples of the same distribution have: any of them is nearer than the fifth neighbor."""
    missed = ((real - 1 - k) / (real + samples - 1 - k) for k in range(min(NEIGHBORS, real)))
    return 1 - math.prod(missed)


def _off_diagonal_mean(kernel: Tensor) -> float:
    count = len(kernel)
    return (kernel.sum() - kernel.trace()).item() / (count * (count - 1)) if count > 1 else kernel.mean().item()


def _distinct(samples: Tensor, real: Tensor) -> float:
    """Return the mean of min(1, distance to the nearest other sample / its median among real images).

    The mean is relative to that of the real images, and at most 1.
    """
    own, expected = _nearest(samples, 1), _nearest(real, 1)
    typical = expected.median()
    if typical == 0:
        return 1.0

    def share(distance: Tensor) -> float:
        return (distance / typical).clamp(max=1).mean().item()

    return min(1.0, share(own) / share(expected))


def _nearest(distance: Tensor, k: int) -> Tensor:
    """Return the distance of each image to its k-th nearest neighbor, or to the furthest if there are fewer."""
    return distance.topk(min(k, len(distance) - 1) + 1, largest=False).values[:, -1]
