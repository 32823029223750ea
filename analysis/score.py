"""The one number that a sweep optimises, and the parts it is made of.

Five parts, each in [0, 1], 1 is best; the score is their geometric mean, so that no part can be bought with
another and a run that fails at one of them altogether scores 0.

| part            | formula                                                   | what it catches                      |
|-----------------|-----------------------------------------------------------|--------------------------------------|
| reconstruction  | exp(-MSE / MSE of the mean image)                         | reconstructions far from their input |
| informativeness | (retrieval - chance) / (1 - chance), at least 0           | reconstructions that ignore it       |
| sharpness       | exp(-1/2 abs log(Laplacian variance / the real images')), | blur, and noise                      |
|                 | geometric mean of reconstructions and samples             |                                      |
| structure       | soft precision at 8 px, likeness of detail at 16 and 32   | texture without structure            |
| diversity       | soft recall of samples, 8 to 32 px                        | samples that are all alike           |
"""

import math
from dataclasses import dataclass

from torch import Tensor

from analysis import diversity, reconstruction, sharpness

PARTS = ("reconstruction", "informativeness", "sharpness", "structure", "diversity")


@dataclass(frozen=True)
class ScoreCard:
    """A score and its five parts, each in [0, 1]; 1 is best."""

    score: float
    reconstruction: float
    informativeness: float
    sharpness: float
    structure: float
    diversity: float


def score_images(real: Tensor, reconstructions: Tensor, samples: Tensor) -> ScoreCard:
    """Score `reconstructions` of `real`, image for image, and `samples`: float (N, C, H, W) in [0, 1].

    Values that are not finite score 0. Raises ValueError if shapes do not fit or a set is empty.
    """
    if real.shape != reconstructions.shape or real.shape[1:] != samples.shape[1:] or not len(real) or not len(samples):
        shapes = ", ".join(str(tuple(x.shape)) for x in (real, reconstructions, samples))
        raise ValueError(f"real images, reconstructions and samples do not fit together: {shapes}")
    if not all(bool(x.isfinite().all()) for x in (reconstructions, samples)):
        return ScoreCard(0, 0, 0, 0, 0, 0)
    chance = 1 / len(real)
    retrieved = reconstruction.retrieval(real, reconstructions)
    sharp = [sharpness.relative_sharpness(real, images) for images in (reconstructions, samples)]
    parts = (
        math.exp(-reconstruction.relative_error(real, reconstructions)),
        max(0.0, (retrieved - chance) / (1 - chance)) if chance < 1 else retrieved,
        math.sqrt(sharp[0] * sharp[1]),
        diversity.structure(real, samples),
        diversity.coverage(real, samples),
    )
    return ScoreCard(math.prod(parts) ** (1 / len(parts)), *parts)
