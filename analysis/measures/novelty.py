"""Measures of the variety of samples, and of their novelty against the training images.

Images are float (N, C, H, W) in [0, 1].
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from analysis.measures.reconstruction import ms_ssim
from introvae.data.image_set import to_float
from introvae.data.pixel_cache import Images
from introvae.randomness import generator

MOST_PAIRS = 250
NEAREST_SIDE = 16  # pixels at which images and training images are compared
CHUNK = 1024  # training images at once
ROUNDING = 1e-5  # less than one gray level of one pixel makes at 256 px


def variance_ratio(real: Tensor, images: Tensor) -> float:
    """Return the total variance of the images over that of the real ones; 0 if the images are all alike."""
    total = [x.var(0, unbiased=False).sum().item() for x in (images, real)]
    return total[0] / total[1] if total[1] > 0 else float(total[0] == 0)


def ms_ssim_among(images: Tensor) -> float:
    """Return the mean MS-SSIM between images of a set (Odena et al. 2017), in [0, 1]; 1 if all are alike.

    There are as many random pairs as images, at most 250, and sets of the same size are paired in the same way.

    Raises:
        ValueError: If there are fewer than two images, or they are smaller than 11 pixels.
    """
    if len(images) < 2:
        raise ValueError(f"{len(images)} images make no pair")
    order = torch.randperm(len(images), generator=generator(0, "pairs")).to(images.device)
    return ms_ssim(images[order[:MOST_PAIRS]], images[order.roll(-1)[:MOST_PAIRS]])


def nearest_training(validation: Tensor, samples: Tensor, training: Images) -> float:
    """Return the median distance of samples to their nearest training image, over that of validation images.

    Distances are Euclidean between images averaged down to at most 16 pixels a side, where blur does not bring
    everything closer. Mirrored training images count as training images.

    Args:
        validation: Images that were not trained on.
        samples: Samples of the model.
        training: The training images, uint8 (N, C, S, S); 1,024 are in memory at once.

    Returns:
        About 1 for samples as new as the validation images, near 0 for memorized training images. Infinite if only the
        validation images are found in the training set, 1 if the samples are found there too.
    """
    distances = nearest_distances(torch.cat([samples, validation]), training)
    new, expected = (part.median().item() for part in distances.split([len(samples), len(validation)]))
    if expected == 0:
        return math.inf if new > 0 else 1.0
    return new / expected


def nearest_distances(images: Tensor, training: Images) -> Tensor:
    """Return the distance of each image to its nearest training image, mirrored or not, (N,).

    Images are compared at no more than 16 pixels a side.
    """
    points = _small(images)
    nearest = points.new_full((len(points),), math.inf)
    for first in range(0, len(training), CHUNK):
        others = to_float(training[first : first + CHUNK].to(images.device))
        for side in (others, others.flip(-1)):
            nearest = torch.minimum(nearest, torch.cdist(points, _small(side)).amin(1))
    return torch.where(nearest < ROUNDING, 0, nearest)


def _small(images: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(images, min(NEAREST_SIDE, *images.shape[-2:])).flatten(1).double()
