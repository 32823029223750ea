"""The score, a single number that a sweep maximizes, and its five parts.

Each part is in [0, 1], and 1 is best. The score is their geometric mean: a run that fails completely at one of them
scores 0, and one that fails by half at two of them scores as one that fails by three quarters at one.

| part            | formula                                                  | failures that lower it                 |
|-----------------|----------------------------------------------------------|----------------------------------------|
| reconstruction  | exp(-error / (2 variance)), of features of details  | reconstructions unlike their inputs,   |
|                 | at 4 x 4 places                                          | blur                                   |
| sharpness       | 1 / (1 + spectral divergence), the geometric mean of     | blur, noise, stripes and ringing at    |
|                 | reconstructions' and samples'                            | any frequency, loss of color           |
| structure       | nearness / (1 + log(1 + D / 0.005)), D the discrepancy   | texture without structure, double      |
|                 | beyond chance, of features from equally sharp real       | exposures, plaid, some terrible        |
|                 | images', nearness that of quarters of samples to theirs  | samples                                |
| diversity       | geometric mean of coverage and distinctness of samples,  | samples that are alike, missing kinds  |
|                 | by these features                                        |                                        |
| informativeness | (mean reciprocal rank of the own input - chance) /       | reconstructions that ignore their      |
|                 | (1 - chance), at least 0                                 | inputs                                 |

Copies among the real images count once, mirrored and compressed ones too: a copy is a rival that no reconstruction
could beat, and a neighbor at no distance.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from analysis.measures import neighbors
from analysis.measures.copies import distinct
from analysis.measures.features import local_features, standardized
from analysis.measures.neighbors import Pairs
from analysis.measures.sharpness import plane_power, spectral_divergence
from introvae.data.pixel_cache import evenly
from introvae.errors import UserError
from introvae.runs.record import PARTS, Scores

GROUPS = 8  # groups of images that are left out in turn for the standard error
MOST_COMPARED = 500  # evenly spaced images of each kind whose features are compared
BEYOND = 1 / 255  # how far a value may lie outside [0, 1], as after a blur that rounds


def weighted(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Return the geometric mean of the parts with these weights, in [0, 1]; equal weights give the score."""
    largest = max(weights.values())  # their sum might be beyond the largest number
    shares = {part: weight / largest for part, weight in weights.items()}
    total = sum(shares.values())
    return math.prod(parts[part] ** (share / total) for part, share in shares.items())


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
        twice = part in weights
        try:
            weights[part] = float(weight or 1)
        except ValueError:
            weights[part] = math.nan
        if part not in PARTS or twice or not 0 < weights[part] < math.inf:
            parts = ", ".join(PARTS)
            raise UserError(f"cannot optimize {item!r}; give score, or parts once each, with weights above 0: {parts}")
    return weights


def score_images(real: Tensor, reconstructions: Tensor, samples: Tensor) -> Scores:
    """Score reconstructions and samples against real images.

    Args:
        real: Real images, float (N, C, S, S) in [0, 1], gray or RGB of 8 px and more, preferably of a validation set.
        reconstructions: Their reconstructions in the same order and shape.
        samples: Samples of the prior, float (M, C, S, S).

    Returns:
        The score, its five parts and its standard error, which is 1 if there is only one image. All are 0 if a value of
        an image is not finite. The standard error is that of a delete-a-group jackknife: adjacent images, which in many
        sets show one person, are left out together.

    Raises:
        ValueError: If the shapes do not fit together, a set is empty, or images are of another kind or range.

    Examples:
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
    for x in sets:
        floats = isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 4
        if not floats or x.shape[1] not in (1, 3) or not 8 <= x.shape[2] == x.shape[3]:
            found = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f"images are float tensors (N, C, S, S), gray or RGB, of 8 px and more, not {found}")
    shapes = [tuple(x.shape) for x in sets]
    if shapes[0] != shapes[1] or shapes[0][1:] != shapes[2][1:] or not all(map(len, sets)):
        raise ValueError(f"real images, reconstructions and samples do not fit together: {', '.join(map(str, shapes))}")
    if not all(bool(x.isfinite().all()) for x in sets):
        return Scores(score=0.0, stderr=0.0, **dict.fromkeys(PARTS, 0.0))
    low, high = min(x.min().item() for x in sets), max(x.max().item() for x in sets)
    if low < -BEYOND or high > 1 + BEYOND:
        raise ValueError(f"values run from {low:.6g} to {high:.6g}; images are float in [0, 1]")
    once = distinct(real)
    evidence = _Evidence.of(real[once], reconstructions[once], samples)
    parts = evidence.parts()
    return Scores(score=_mean(parts), stderr=_stderr(evidence), **dict(zip(PARTS, parts, strict=True)))


@dataclass(frozen=True)
class _Evidence:
    """The basis of the parts, in groups of adjacent images that can be left out."""

    error: Tensor  # (N,), summed squared error of the local features of each reconstruction
    deviation: Tensor  # (N,), summed squared error of their mean over the real images
    distance: Tensor  # (N, N), distance of each reconstruction to each real image
    powers: tuple[Tensor, Tensor, Tensor]  # summed over each group of real images, reconstructions and samples
    pairs: Pairs
    samples: int
    groups: int

    @staticmethod
    def of(real: Tensor, reconstructions: Tensor, samples: Tensor) -> "_Evidence":
        x, y = (x.flatten(1) for x in standardized(local_features(real), local_features(reconstructions)))
        groups = min(GROUPS, len(real), len(samples))
        sums = [
            torch.stack([plane_power(part).sum(0) for part in images.tensor_split(groups)])
            for images in (real, reconstructions, samples)
        ]
        return _Evidence(
            (y - x).square().sum(1),
            x.square().sum(1),
            torch.cdist(reconstructions.flatten(1).double(), real.flatten(1).double()),
            (sums[0], sums[1], sums[2]),
            Pairs.of(evenly(real, MOST_COMPARED), evenly(samples, MOST_COMPARED)),
            len(samples),
            groups,
        )

    def parts(self, without: int | None = None) -> tuple[float, ...]:
        """Return the parts in the order of PARTS, without one of the groups if it is given."""

        def rows(count: int) -> Tensor:
            parts = torch.arange(count).tensor_split(self.groups)
            return torch.cat([part for group, part in enumerate(parts) if group != without])

        kept = rows(len(self.error))
        error, deviation = self.error[kept].sum().item(), self.deviation[kept].sum().item()
        real, reconstructions, samples = (power[rows(self.groups)].sum(0) for power in self.powers)
        pairs = self.pairs.keep(rows(len(self.pairs.real)), rows(len(self.pairs.samples)))
        divergence = [
            spectral_divergence(power / count, real / len(kept))
            for power, count in ((reconstructions, len(kept)), (samples, len(rows(self.samples))))
        ]
        return (
            math.exp(-error / deviation / 2) if deviation else float(error == 0),
            1 / math.sqrt((1 + divergence[0]) * (1 + divergence[1])),
            neighbors.structure(pairs),
            neighbors.diversity(pairs),
            _informativeness(self.distance[kept][:, kept]),
        )


def _mean(parts: tuple[float, ...]) -> float:
    return weighted(dict(zip(PARTS, parts, strict=True)), weights_of("score"))


def _stderr(evidence: _Evidence) -> float:
    if evidence.groups == 1:
        return 1.0
    scores = torch.tensor([_mean(evidence.parts(without)) for without in range(evidence.groups)])
    return math.sqrt((evidence.groups - 1) * scores.var(unbiased=False).item())


def _informativeness(distance: Tensor) -> float:
    """Return the mean reciprocal rank of each reconstruction's own input, rescaled so that chance is 0 and 1 is best.

    `distance` is (reconstructions, inputs). Reconstructions that are all alike have each rank once, which is chance. A
    tie counts as lost.
    """
    rank = (distance <= distance.diagonal()[:, None]).sum(1).double()
    chance = (1 / torch.arange(1, len(rank) + 1)).double().mean().item()
    return max(0.0, ((1 / rank).mean().item() - chance) / (1 - chance)) if len(rank) > 1 else 1.0
