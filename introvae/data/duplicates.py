"""Near duplicates among images: a picture re-encoded, resized, slightly shifted or cropped, brightened or mirrored.

Features are differences of Gaussians of the gray image on a grid. To first order, shifting and scaling a picture moves
them along three tangents (Simard et al. 1992), so an image is a candidate for another if its features are nearly in the
span of the other's features and tangents. A candidate is then aligned, and finer features have to correlate.
`benchmarks/scores/duplicates.py` measures how often that is right, and how long it takes.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from introvae.data.pixel_cache import Images

VERSION = 1  # rises when the same images give other groups
SIDE = 32  # pixels at which images are compared
GRAY = (0.299, 0.587, 0.114)
LOW, HIGH = 0.08, 0.92  # part of a side that the grid spans; what a crop removes is outside
COARSE = (8, 0.05, 0.15)  # points on a side of the grid, and the widths of both Gaussians as shares of a side
FINE = (12, 0.03, 0.15)
CANDIDATE = 0.95  # least share in the span
DUPLICATE = (0.97, 0.98, 0.985, 0.99, 0.995)  # least correlation once aligned; the next for groups that are too large
LARGEST, LARGEST_SHARE = 50, 0.01  # images in a group, of whichever is more; a larger one is a kind of picture
ALIGNMENTS, LARGEST_MOVE = 3, 0.08  # steps of Gauss and Newton, and what they find at most, as a share of a side
FLAT_CONTRAST = 1.0  # gray levels of contrast; less is noise
ROWS, OTHERS, PAIRS = 512, 2048, 1024  # at once
QUIET = 5.0  # seconds before people are told what takes long


def group_duplicates(parts: Sequence[Images]) -> np.ndarray:
    """Group images that show the same picture, duplicates of duplicates included.

    A group of more than 50 images and a hundredth of all would be a kind of picture, such as the digit 1, rather than
    one picture. Its images have to be more alike to stay together.

    Args:
        parts: uint8 images (N, C, S, S), of which there may be several sets of one size. Memory is needed for 3 KiB of
            each image, and time for each pair.

    Returns:
        The index of the first image of each image's group, counted through all sets, (N,).
    """
    small = torch.cat([_small(images) for images in parts])
    first_of: dict[bytes, int] = {}
    same = np.array([first_of.setdefault(image.tobytes(), index) for index, image in enumerate(small.numpy())])
    distinct = np.unique(same)
    groups = distinct[_groups(small[distinct], max(LARGEST, int(LARGEST_SHARE * len(small))))]
    return groups[np.searchsorted(distinct, same)]


def _small(images: Images) -> Tensor:
    """Average images to gray ones of at most SIDE pixels, uint8 (N, S, S)."""
    side = min(SIDE, images.shape[-1])
    small = torch.empty((len(images), side, side), dtype=torch.uint8)
    for first in range(0, len(images), ROWS):
        rows = images[first : first + ROWS].cpu().float()
        if rows.shape[1] == 3:
            rows = torch.einsum("nchw,c->nhw", rows, rows.new_tensor(GRAY))[:, None]
        small[first : first + ROWS] = F.adaptive_avg_pool2d(rows, side)[:, 0].round()
    return small


def _groups(small: Tensor, largest: int, strictness: int = 0) -> np.ndarray:
    """Return the index of the first image of each image's group, with stricter groups for those above `largest`."""
    groups = _linked(small, DUPLICATE[strictness], told=strictness > 0)
    if strictness + 1 < len(DUPLICATE):
        for group in np.flatnonzero(np.bincount(groups) > largest):
            members = np.flatnonzero(groups == group)
            groups[members] = members[_groups(small[members], largest, strictness + 1)]
    return groups


def _linked(small: Tensor, least: float, told: bool) -> np.ndarray:
    """Return the index of the first image of each image's group; say that it takes long unless people were told."""
    start = time.monotonic()
    spans, features = _coarse(small)
    sides = [features, _coarse(small.flip(-1))[1]]
    labels = np.arange(len(small))
    for first in range(0, len(small), ROWS):
        rows = spans[first : first + ROWS].transpose(0, 1).flatten(0, 1)
        for column in range(first, len(small), OTHERS):
            for mirrored, others in enumerate(sides):
                share = (rows @ others[column : column + OTHERS].T).unflatten(0, (4, -1)).square_().sum(0)
                pairs = (share > CANDIDATE**2).nonzero().numpy() + np.array((first, column))
                _link(labels, small, pairs[pairs[:, 0] < pairs[:, 1]], bool(mirrored), least)
        if not told and time.monotonic() - start > QUIET:
            print(f"looking for duplicates among {len(small)} images", file=sys.stderr, flush=True)
            told = True
    return labels


def _link(labels: np.ndarray, small: Tensor, pairs: np.ndarray, mirrored: bool, least: float) -> None:
    """Unite the groups of those pairs (P, 2) that are duplicates; pairs within a group are not looked at."""
    while len(pairs := pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]):
        turn = np.unique(pairs[:, 1], return_index=True)[1]  # one pair of each image, which may make others needless
        for one, other in pairs[turn][_alike(small, pairs[turn], mirrored, least)]:
            kept, given_up = sorted((labels[one], labels[other]))
            labels[labels == given_up] = kept
        pairs = np.delete(pairs, turn, axis=0)


def _coarse(small: Tensor) -> tuple[Tensor, Tensor]:
    """Return orthonormal bases of coarse features and their tangents, (N, 4, D), and the features scaled, (N, D)."""
    spans, features = [], []
    for rows in small.split(ROWS):
        moving = _moving(rows.float(), rows.new_zeros((1, 3), dtype=torch.float32), COARSE)
        spans.append(torch.linalg.qr(moving)[0].mT)
        features.append(_direction(moving[..., 0]))
    return torch.cat(spans), torch.cat(features)


def _alike(small: Tensor, pairs: np.ndarray, mirrored: bool, least: float) -> np.ndarray:
    """Tell which pairs correlate once aligned, (P,); in float64, so that they are the same on every machine."""
    found = []
    for first in range(0, len(pairs), PAIRS):
        x, y = (small[ends].double() for ends in pairs[first : first + PAIRS].T)
        y = y.flip(-1) if mirrored else y
        still = x.new_zeros((len(x), 3))
        move, target = still, _direction(_moving(x, still, COARSE)[..., 0])
        for _ in range(ALIGNMENTS):
            step = torch.linalg.lstsq(_moving(y, move, COARSE), target[..., None]).solution[..., 0]
            move = (move + step[:, 1:] / step[:, :1]).nan_to_num(0).clamp(-LARGEST_MOVE, LARGEST_MOVE)
        a, b = _direction(_moving(x, still, FINE)[..., 0]), _direction(_moving(y, move, FINE)[..., 0])
        found.append(((a * b).sum(1) > least).numpy())
    return np.concatenate(found)


def _moving(images: Tensor, move: Tensor, grid: tuple[int, float, float]) -> Tensor:
    """Return features of images (N, S, S) and their tangents, (N, D, 4), where a grid was moved.

    `move` (N or 1, 3) holds the shifts in x and y as shares of a side, and the growth. The tangents are derivatives by
    these. All have mean 0 over the D points of the grid.
    """
    points, *widths = grid
    at = LOW + (HIGH - LOW) * (torch.arange(points, dtype=images.dtype) + 0.5) / points - 0.5
    x, y = (0.5 + at * (1 + move[:, 2:]) + move[:, [axis]] for axis in (0, 1))
    moving = images.new_zeros(())
    for sign, width in zip((1, -1), widths, strict=True):
        (wx, dx), (wy, dy) = (_weights(centers, images.shape[-1], width) for centers in (x, y))
        columns, rows = images @ wx.mT, images @ dx.mT
        by_x, by_y = wy @ rows, dy @ columns
        moving = moving + sign * torch.stack([wy @ columns, by_x, by_y, at * by_x + at[:, None] * by_y], -1)
    moving = moving.flatten(1, 2)
    return moving - moving.mean(1, keepdim=True)


def _weights(centers: Tensor, side: int, width: float) -> tuple[Tensor, Tensor]:
    """Return the weights of `side` pixels in Gaussian averages around `centers`, and their derivatives by these."""
    distance = (torch.arange(side, dtype=centers.dtype) + 0.5) / side - centers[..., None]
    weights = torch.softmax(-0.5 * (distance / width) ** 2, -1)
    slope = weights * distance / width**2
    return weights, slope - weights * slope.sum(-1, keepdim=True)


def _direction(features: Tensor) -> Tensor:
    """Scale features (N, D) to length 1; those of flat images, which have no direction, to 0."""
    length = features.norm(dim=1, keepdim=True)
    return torch.where(length > FLAT_CONTRAST * features.shape[1] ** 0.5, features / length, 0)
