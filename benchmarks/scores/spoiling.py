"""Ways to spoil images, by which measures are tried; images are float (N, C, S, S) in [0, 1].

Each function takes images, a strength and a generator for what it draws.
"""

import io
import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional as F

Spoil = Callable[[Tensor, float, torch.Generator], Tensor]


def blur(images: Tensor, sigma: float, _: torch.Generator) -> Tensor:
    """Blur by a Gaussian, sigma in pixels."""
    return torch.from_numpy(gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def noise(images: Tensor, sigma: float, g: torch.Generator) -> Tensor:
    return (images + sigma * torch.randn(images.shape, generator=g)).clamp(0, 1)


def blurred_noise(images: Tensor, sigma: float, g: torch.Generator) -> Tensor:
    """Add noise to blurred images, which together can have the Laplacian variance of sharp ones."""
    return noise(blur(images, 1, g), sigma, g)


def checkerboard(images: Tensor, height: float, _: torch.Generator) -> Tensor:
    """Add a checkerboard of single pixels, the highest frequency of all."""
    rows = torch.arange(images.shape[-1])
    return (images + height / 2 * ((rows[:, None] + rows) % 2 * 2 - 1)).clamp(0, 1)


def fine_stripes(images: Tensor, height: float, _: torch.Generator) -> Tensor:
    """Add horizontal stripes of 4 pixels."""
    return (images + height * torch.cos(math.pi / 2 * torch.arange(images.shape[-1]))[:, None]).clamp(0, 1)


def finest_stripes(images: Tensor, height: float, _: torch.Generator) -> Tensor:
    """Add vertical stripes of 2 pixels."""
    return (images + height * torch.cos(math.pi * torch.arange(images.shape[-1]))).clamp(0, 1)


def black_lines(images: Tensor, depth: float, _: torch.Generator) -> Tensor:
    """Darken every 16th row."""
    spoiled = images.clone()
    spoiled[..., ::16, :] *= 1 - depth
    return spoiled


def plaid(images: Tensor, height: float, g: torch.Generator) -> Tensor:
    """Add bars of 8 pixels across and down, at other places in each image, as adversarial trainings do."""
    places = torch.arange(images.shape[-1]) + 8 * torch.rand(2, len(images), 1, 1, 1, generator=g)
    across, down = height * torch.cos(math.pi / 4 * places)
    return (images + across + down.transpose(-2, -1)).clamp(0, 1)


def sharpened(images: Tensor, amount: float, g: torch.Generator) -> Tensor:
    return (images + amount * (images - blur(images, 1, g))).clamp(0, 1)


def ringing(images: Tensor, amount: float, _: torch.Generator) -> Tensor:
    """Add echoes of edges at a distance of 4 pixels."""
    x = F.pad(images, [4] * 4, mode="reflect")
    across = x[..., 4:-4, 8:] - 2 * images + x[..., 4:-4, :-8]
    down = x[..., 8:, 4:-4] - 2 * images + x[..., :-8, 4:-4]
    return (images - amount * (across + down)).clamp(0, 1)


def pixelated(images: Tensor, side: float, _: torch.Generator) -> Tensor:
    return F.interpolate(F.avg_pool2d(images, int(side)), images.shape[-2:])


def jpeg(images: Tensor, quality: float, _: torch.Generator) -> Tensor:
    pictures = []
    for image in (images * 255).round().byte().numpy():
        file = io.BytesIO()
        Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(
            file, "JPEG", quality=int(quality)
        )
        pictures.append(np.atleast_3d(np.asarray(Image.open(file))).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pictures)) / 255


def gray(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    """Take the color away."""
    return (1 - share) * images + share * images.mean(1, keepdim=True)


def black(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    return (1 - share) * images


def mean(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    return (1 - share) * images + share * images.mean(0, keepdim=True)


def double(images: Tensor, contrast: float, _: torch.Generator) -> Tensor:
    """Average each image with another, which looks typical, and restore the contrast by a factor."""
    average = (images + images.roll(1, 0)) / 2
    middle = average.mean(0)
    return ((average - middle) * contrast + middle).clamp(0, 1)


def blank_band(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    """Paint over a band a third of the way down, where the eyes of a face are, by the color below it."""
    side = images.shape[-1]
    top, bottom, left, right = int(0.3 * side), int(0.5 * side), int(0.2 * side), int(0.8 * side)
    color = images[..., bottom : bottom + max(2, side // 10), left:right].mean((-2, -1), keepdim=True)
    spoiled = images.clone()
    band = spoiled[..., top:bottom, left:right]
    band.lerp_(color.expand_as(band), share)
    return spoiled


def shuffled(images: Tensor, blocks: float, g: torch.Generator) -> Tensor:
    """Shuffle blocks x blocks tiles of each image, which leaves texture without structure."""
    count, side = int(blocks), images.shape[-1] // int(blocks)
    images = images[..., : count * side, : count * side]
    tiles = images.unfold(2, side, side).unfold(3, side, side).flatten(2, 3)
    order = torch.stack([torch.randperm(count**2, generator=g) for _ in images])
    mixed = torch.stack([image[:, o] for image, o in zip(tiles, order, strict=True)])
    return mixed.unflatten(2, (count, count)).permute(0, 1, 2, 4, 3, 5).reshape(images.shape)


def some_upside_down(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    return _some(images, share, images.flip(-2))


def some_plaid(images: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Lay bars on a share of the images."""
    return _some(images, share, plaid(images, 0.2, g))


def some_noise(images: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Replace a share of the images by white noise."""
    return _some(images, share, torch.rand(images.shape, generator=g))


def some_shuffled(images: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Shuffle the tiles of a share of the images."""
    return _some(images, share, shuffled(images, 4, g))


def alike(images: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Replace a share of the images by one of them, sharp as it is."""
    spoiled = images.clone()
    chosen = torch.randperm(len(images), generator=g)[: round(share * len(images))]
    spoiled[chosen] = images[chosen[0]]
    return spoiled


def two_alike(images: Tensor, _: float, g: torch.Generator) -> Tensor:
    """Replace images by two sharp ones, whatever the input: the failure of the preset seed-256-low-beta."""
    two = torch.randperm(len(images), generator=g)[:2]
    return images[two[torch.randint(2, (len(images),), generator=g)]]


def few(images: Tensor, share: float, _: torch.Generator) -> Tensor:
    """Repeat a share of the images, shifted by a pixel and mirrored, in place of the others."""
    kept = images[: max(1, round(share * len(images)))]
    copies = [kept.roll((k % 2, k // 2 % 2), (-2, -1)) for k in range(4)]
    copies += [copy.flip(-1) for copy in copies]
    rounds = -(-len(images) // (8 * len(kept)))
    return torch.cat(copies * rounds)[: len(images)]


def one_side(pool: Tensor, share: float, g: torch.Generator) -> Tensor:
    """Keep the lowest share of images along their first principal component, in random order."""
    centered = (pool - pool.mean(0)).flatten(1)
    place = torch.linalg.eigh(centered @ centered.T).eigenvectors[:, -1]
    lowest = (place * place.sum().sign()).argsort()[: round(share * len(pool))]
    return pool[lowest[torch.randperm(len(lowest), generator=g)]]


def broken(images: Tensor, _: float, __: torch.Generator) -> Tensor:
    """Put NaN in one pixel."""
    spoiled = images.clone()
    spoiled[0, 0, 0, 0] = torch.nan
    return spoiled


def _some(images: Tensor, share: float, others: Tensor) -> Tensor:
    count = round(share * len(images))
    return torch.cat([others[:count], images[count:]])
