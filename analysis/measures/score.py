"""The score, a single number that a sweep maximizes, and its five parts.

Each part is in [0, 1], and 1 is best. The score is their geometric mean: no part makes up for another, and a run that
fails completely at one of them scores 0.

| part            | formula                                                  | failures that lower it                |
|-----------------|----------------------------------------------------------|---------------------------------------|
| reconstruction  | exp(-MSE / MSE of the mean image)                        | reconstructions far from their inputs |
| sharpness       | sqrt(shared / joint energy of the Laplacian over         | blur, noise, and one hidden by the    |
|                 | frequencies), for reconstructions and samples            | other                                 |
| structure       | soft precision at 8 px, likeness of detail at 16 and 32  | texture without structure             |
| diversity       | soft recall and distinctness of samples at 8, 16 and 32  | samples that are all alike            |
| informativeness | (mean reciprocal rank of the own input - chance) /       | reconstructions that ignore their     |
|                 | (1 - chance), at least 0                                 | inputs                                |
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.measures import neighbors as likeness
from analysis.measures import sharpness
from analysis.measures.neighbors import Pairs
from introvae.errors import UserError
from introvae.runs.record import PARTS, Scores

GROUPS = 8  # groups of images that are left out in turn for the standard error


def weighted(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the geometric mean of the parts with these weights, in [0, 1]; equal weights give the score."""
    total = sum(weights.values())
    return math.prod(parts[part] ** (weight / total) for part, weight in weights.items())


def weights_of(text: str) -> dict[str, float]:
    """Parse what a study maximizes: "score", a part, or several parts with weights, such as "structure=2,diversity=1".

    Returns:
        The weight of each part, to be given to `weighted`.

    Raises:
        UserError: If the text names something else than parts, or a weight is not above 0.
    """
    if text == "score":
        return dict.fromkeys(PARTS, 1.0)
    weights: dict[str, float] = {}
    for item in text.split(","):
        part, _, weight = item.partition("=")
        try:
            weights[part] = float(weight or 1)
        except ValueError:
            weights[part] = math.nan
        if part not in PARTS or not 0 < weights[part] < math.inf:
            parts = ", ".join(PARTS)
            raise UserError(f"cannot optimize {item!r}; give score, or parts with weights above 0: {parts}")
    return weights


def score_images(real: Tensor, reconstructions: Tensor, samples: Tensor) -> Scores:
    """Score reconstructions and samples against real images.

    Args:
        real: Real images, float (N, C, H, W) in [0, 1], preferably of a validation set.
        reconstructions: Their reconstructions in the same order and shape.
        samples: Samples of the prior, float (M, C, H, W).

    Returns:
        The score, its five parts and its standard error, which is 1 if there is only one image. All are 0 if a value of
        an image is not finite. The standard error is that of a delete-a-group jackknife: adjacent images, which in many
        sets show one person, are left out together.

    Raises:
        ValueError: If the shapes do not fit together, or a set is empty.

    Example:
        >>> import torch
        >>> from analysis import score_images
        >>> real, samples = torch.rand(2, 32, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> perfect = score_images(real, real, samples)
        >>> perfect.reconstruction, perfect.informativeness
        (1.0, 1.0)
        >>> blurred = torch.nn.functional.avg_pool2d(real, 3, stride=1, padding=1)
        >>> score_images(real, blurred, samples).score < perfect.score
        True
    """
    sets = real, reconstructions, samples
    shapes = [tuple(x.shape) for x in sets]
    if shapes[0] != shapes[1] or shapes[0][1:] != shapes[2][1:] or not all(map(len, sets)):
        raise ValueError(f"real images, reconstructions and samples do not fit together: {', '.join(map(str, shapes))}")
    if not all(isinstance(x, Tensor) and x.is_floating_point() for x in sets) or real.ndim != 4 or real.shape[-1] < 8:
        raise ValueError(f"images are float tensors (N, C, H, W) of 8 pixels and more, not {type(real)} of {shapes[0]}")
    if not all(bool(x.isfinite().all()) for x in sets):
        return Scores(score=0.0, stderr=0.0, **dict.fromkeys(PARTS, 0.0))
    evidence = _Evidence.of(real, reconstructions, samples)
    parts = evidence.parts()
    return Scores(score=_mean(parts), stderr=_stderr(evidence), **dict(zip(PARTS, parts, strict=True)))


@dataclass(frozen=True)
class _Evidence:
    """The basis of the parts, image by image, so that some images can be left out."""

    error: Tensor  # (N,), summed squared error of each reconstruction
    deviation: Tensor  # (N,), summed squared error of the mean image
    distance: Tensor  # (N, N), distance of each reconstruction to each real image
    energies: tuple[Tensor, Tensor, Tensor]  # edge energies of real images, reconstructions and samples
    pairs: Pairs

    @staticmethod
    def of(real: Tensor, reconstructions: Tensor, samples: Tensor) -> "_Evidence":
        x, y = real.flatten(1).double(), reconstructions.flatten(1).double()
        return _Evidence(
            (y - x).square().sum(1),
            (x - x.mean(0)).square().sum(1),
            torch.cdist(y, x),
            (sharpness.edge_energy(real), sharpness.edge_energy(reconstructions), sharpness.edge_energy(samples)),
            Pairs.of(real, samples),
        )

    def keep(self, real: Tensor, samples: Tensor) -> "_Evidence":
        """Return the evidence of the real images and the samples in these rows."""
        x, y, z = self.energies
        return _Evidence(
            self.error[real],
            self.deviation[real],
            self.distance[real][:, real],
            (x[real], y[real], z[samples]),
            self.pairs.keep(real, samples),
        )

    def parts(self) -> tuple[float, ...]:
        """Return the parts in the order of PARTS."""
        real, reconstructions, samples = self.energies
        error_of_mean = real.std(0, unbiased=False) * math.sqrt(1 / len(real) + 1 / len(samples))
        sharp = (
            sharpness.shared_energy(reconstructions.mean(0), real.mean(0)),
            sharpness.shared_energy(samples.mean(0), real.mean(0), 2 * error_of_mean),
        )
        error, deviation = self.error.sum().item(), self.deviation.sum().item()
        return (
            math.exp(-error / deviation) if deviation else float(error == 0),
            math.sqrt(sharp[0] * sharp[1]),
            likeness.structure(self.pairs),
            likeness.diversity(self.pairs),
            _informativeness(self.distance),
        )


def _mean(parts: tuple[float, ...]) -> float:
    return weighted(dict(zip(PARTS, parts, strict=True)), weights_of("score"))


def _stderr(evidence: _Evidence) -> float:
    counts = len(evidence.error), len(evidence.energies[2])
    groups = min(GROUPS, *counts)
    if groups == 1:
        return 1.0
    rows = [torch.arange(count).tensor_split(groups) for count in counts]
    kept = [[torch.cat(part[:i] + part[i + 1 :]) for part in rows] for i in range(groups)]
    scores = torch.tensor([_mean(evidence.keep(real, samples).parts()) for real, samples in kept])
    return math.sqrt((groups - 1) * scores.var(unbiased=False).item())


def _informativeness(distance: Tensor) -> float:
    """Return the mean reciprocal rank of each reconstruction's own input, rescaled so that chance is 0 and 1 is best.

    `distance` is (reconstructions, inputs). Reconstructions that are all alike have each rank once, which is chance. A
    tie counts as lost.
    """
    rank = (distance <= distance.diagonal()[:, None]).sum(1).double()
    chance = (1 / torch.arange(1, len(rank) + 1)).double().mean().item()
    return max(0.0, ((1 / rank).mean().item() - chance) / (1 - chance)) if len(rank) > 1 else 1.0
