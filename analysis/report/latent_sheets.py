"""Sheets of a trained run's latents: traversals, interpolations and a plane, of the same images for every run."""

from pathlib import Path

import numpy as np
from torch import Tensor

from analysis.measures.latents import decoded, interpolation, pairs, plane, smoothness, traversals
from analysis.outputs import Outputs
from analysis.report.runs import PICTURES
from analysis.report.sheets import Row, write_rows
from introvae.data.image_set import to_float
from introvae.data.pixel_cache import Images
from introvae.nn.networks import IntroVAE
from introvae.runs.pictures import fixed_images, lay_out

STRIDE = 2  # every second point of a walk that is measured is drawn
PAIRS = 6
PLANE_POINTS = 7


def write_latent_sheets(model: IntroVAE, validation: Images, outputs: Outputs, folder: Path) -> None:
    """Write images/traversals.png, interpolations.png and plane.png into a run folder.

    Traversals cover the range of the encodings in `outputs`; the other two lie between `fixed_images`.
    """
    (folder / "images").mkdir(exist_ok=True)
    originals = to_float(fixed_images(validation).cpu())
    mu = model.encode(originals)[0]
    _write_traversals(model, outputs, folder / PICTURES["traversals"])
    _write_interpolations(model, originals, mu, folder / PICTURES["interpolations"])
    _write_plane(model, originals, mu, folder / PICTURES["plane"])


def _write_traversals(model: IntroVAE, outputs: Outputs, path: Path) -> None:
    found = traversals(outputs.mu, outputs.logvar)
    numbers = zip(found.dimensions, found.kl, found.lowest, found.highest, decoded(model, found.z), strict=True)
    rows = [
        Row(
            f"dimension {int(dimension)}\n{lowest:.2g} to {highest:.2g}\nKL {kl:.2g} nats\n"
            f"smoothness {smoothness(walk[None]):.2f}",
            [_band(walk[::STRIDE])],
        )
        for dimension, kl, lowest, highest, walk in numbers
    ]
    write_rows(path, ["one dimension from the lowest to the highest value seen, all others 0"], rows)


def _write_interpolations(model: IntroVAE, originals: Tensor, mu: Tensor, path: Path) -> None:
    first, second = pairs(len(mu), PAIRS)
    walks = decoded(model, interpolation(mu[first], mu[second]))
    rows = [
        Row(f"pair {index}\nsmoothness {smoothness(walk[None]):.2f}", [_band(a), _band(walk[::STRIDE]), _band(b)])
        for index, (a, walk, b) in enumerate(
            zip(originals[first].split(1), walks, originals[second].split(1), strict=True), 1
        )
    ]
    captions = ("original", "decoded along the line from its encoding to the other's", "original")
    write_rows(path, captions, rows)


def _write_plane(model: IntroVAE, originals: Tensor, mu: Tensor, path: Path) -> None:
    corners = [index % len(mu) for index in (0, len(mu) // 3, 2 * len(mu) // 3)]
    a, b, c = mu[corners]
    grid = decoded(model, plane(a, b, c, PLANE_POINTS))
    first, second, third = (_band(originals[[corner]]) for corner in corners)
    white = np.full_like(first, 255)
    beside = {0: (first, second), PLANE_POINTS - 1: (third, white)}
    labels = {0: "a (left), b (right)", PLANE_POINTS - 1: "c (left),\nb + c - a (right)"}
    rows = []
    for index, line in enumerate(grid):
        left, right = beside.get(index, (white, white))
        rows.append(Row(labels.get(index, ""), [left, _band(line), right]))
    captions = ("original", "decoded: across from a to b, down from a to c", "original")
    write_rows(path, captions, rows)


def _band(images: Tensor) -> np.ndarray:
    """Lay out float images (n, C, S, S) in a row, uint8 RGB."""
    band = lay_out(images[None])
    return band if band.ndim == 3 else np.stack([band] * 3, 2)
