"""The search space that follows from the training images."""

import optuna
import pytest
import torch

from analysis.measures.spectrum import beta_range, eigenvalues, predicted_kl
from introvae.data.image_set import ImageSet
from introvae.errors import UserError
from sweeps.search.space import LEAST_WARMUP_KL, data_space, warmup_beta


def test_the_default_space_follows_from_the_images(small_faces: ImageSet) -> None:
    spectrum = eigenvalues(small_faces.train)
    space = data_space(spectrum, 16)
    assert space.beta == pytest.approx(beta_range(spectrum, 16), rel=1e-8)
    assert space.to_dict() == {"alpha": [0.1, 0.75], "beta": list(space.beta), "margin_ratio": [1.0, 16.0]}
    absolute = data_space(spectrum, 16, (0.1, 0.2), (1.0, 2.0), (10.0, 50.0))
    assert absolute.to_dict() == {"alpha": [0.1, 0.2], "beta": [1.0, 2.0], "m": [10.0, 50.0]}


def test_values_are_drawn_log_uniformly_inside_their_ranges(small_faces: ImageSet) -> None:
    space = data_space(eigenvalues(small_faces.train), 16)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    drawn = [space.suggest(study.ask()) for _ in range(300)]
    for name, (low, high) in space.to_dict().items():
        values = torch.tensor([values[name] for values in drawn])
        assert low <= values.min() and values.max() <= high
        below_middle = (values < (low * high) ** 0.5).float().mean().item()
        assert below_middle == pytest.approx(0.5, abs=0.1)


def test_images_without_variance_have_no_space() -> None:
    with pytest.raises(UserError, match=r"all alike.*check --data"):
        data_space(eigenvalues(torch.zeros(5, 1, 16, 16, dtype=torch.uint8)), 8)


def test_the_warm_up_is_far_from_collapse(small_faces: ImageSet) -> None:
    spectrum = eigenvalues(small_faces.train)
    space = data_space(spectrum, 16)
    beta = warmup_beta(space, spectrum, 16)
    assert beta == pytest.approx((space.beta[0] * space.beta[1]) ** 0.5)
    low = data_space(spectrum, 16, beta=(0.01, 0.02))
    assert predicted_kl(spectrum, warmup_beta(low, spectrum, 16), 16) >= LEAST_WARMUP_KL
