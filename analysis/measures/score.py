"""The one number that a sweep optimises, and the parts it is made of.

Five parts, each in [0, 1], 1 is best; the score is their geometric mean, so that no part can be bought with
another and a run that fails at one of them altogether scores 0.

| part            | formula                                                    | what it catches                      |
|-----------------|------------------------------------------------------------|--------------------------------------|
| reconstruction  | exp(-MSE / MSE of the mean image)                          | reconstructions far from their input |
| sharpness       | sqrt(shared / joint energy of the Laplacian over           | blur, noise, and one hidden by the   |
|                 | frequencies); of reconstructions and samples               | other                                |
| structure       | soft precision at 8 px, likeness of detail at 16 and 32    | texture without structure            |
| diversity       | soft recall of samples, and how distinct they are, 8 to 32 | samples that are all alike           |
| informativeness | (retrieval - chance) / (1 - chance), at least 0            | reconstructions that ignore it       |
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

GROUPS = 8  # of images left out in turn for the standard error


def weighted(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The geometric mean of the parts of a score card with these weights, in [0, 1]; with equal ones, the score."""
    total = sum(weights.values())
    return math.prod(parts[part] ** (weight / total) for part, weight in weights.items())


def weights_of(text: str) -> dict[str, float]:
    """What to optimise as text: "score", a part, or several with weights, such as structure=2,diversity=1.

    Raises UserError for what is no part or no weight.
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
            raise UserError(f"cannot optimise {item!r}; give score, or parts with weights above 0: {parts}")
    return weights


def score_images(real: Tensor, reconstructions: Tensor, samples: Tensor) -> Scores:
    """Score `reconstructions` of `real`, image for image, and `samples`: float (N, C, H, W) in [0, 1].

    Values that are not finite score 0. The standard error is a delete-a-group jackknife's: neighbours, which in many
    sets show one person, are left out together; it is 1 where there is one image only. Raises ValueError if shapes
    do not fit or a set is empty.
    """
    if real.shape != reconstructions.shape or real.shape[1:] != samples.shape[1:] or not len(real) or not len(samples):
        shapes = ", ".join(str(tuple(x.shape)) for x in (real, reconstructions, samples))
        raise ValueError(f"real images, reconstructions and samples do not fit together: {shapes}")
    if not all(bool(x.isfinite().all()) for x in (reconstructions, samples)):
        return Scores(score=0.0, stderr=0.0, **dict.fromkeys(PARTS, 0.0))
    evidence = _Evidence.of(real, reconstructions, samples)
    parts = evidence.parts()
    return Scores(score=_mean(parts), stderr=_stderr(evidence), **dict(zip(PARTS, parts, strict=True)))


@dataclass(frozen=True)
class _Evidence:
    """What the parts are computed from, image for image, so that some can be left out."""

    error: Tensor  # (N,) summed squared error of each reconstruction
    deviation: Tensor  # (N,) the same of the mean image
    distance: Tensor  # (N, N) of each reconstruction to each real image
    energies: tuple[Tensor, Tensor, Tensor]  # edge energy of real images, reconstructions and samples
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
        """Of the real images and the samples in these rows only."""
        x, y, z = self.energies
        return _Evidence(
            self.error[real],
            self.deviation[real],
            self.distance[real][:, real],
            (x[real], y[real], z[samples]),
            self.pairs.keep(real, samples),
        )

    def parts(self) -> tuple[float, ...]:
        """In the order of PARTS."""
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
    """Mean reciprocal rank of the own input among all by `distance`, (reconstructions, inputs), less chance, in [0, 1].

    Reconstructions that are all alike have each rank once, which is chance: 0. A tie is lost.
    """
    rank = (distance <= distance.diagonal()[:, None]).sum(1).double()
    chance = (1 / torch.arange(1, len(rank) + 1)).double().mean().item()
    return max(0.0, ((1 / rank).mean().item() - chance) / (1 - chance)) if len(rank) > 1 else 1.0
