"""Images in every form that people have, converted to the one that networks take."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import save_image
from PIL import Image

from introvae.data.convert import as_images
from introvae.data.decode import Format
from introvae.data.pixel_cache import decoded

SIZE = 16
rng = np.random.default_rng(0)
GRAY = rng.integers(0, 256, (SIZE, SIZE), np.uint8)
COLOR = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
GRAY_TENSOR = torch.from_numpy(GRAY)[None]
COLOR_TENSOR = torch.from_numpy(COLOR).permute(2, 0, 1)

FORMS: dict[str, Callable[[np.ndarray, torch.Tensor], Any]] = {
    "PIL": lambda array, tensor: Image.fromarray(array),
    "uint8 HW or HWC": lambda array, tensor: array,
    "uint8 HWC": lambda array, tensor: array.reshape(SIZE, SIZE, -1),
    "uint8 NHWC": lambda array, tensor: array.reshape(1, SIZE, SIZE, -1),
    "float32 array": lambda array, tensor: array.astype(np.float32) / 255,
    "float64 array": lambda array, tensor: array / 255,
    "read-only array": lambda array, tensor: np.asarray(Image.fromarray(array)),
    "reversed array": lambda array, tensor: array[::-1].copy()[::-1],
    "uint8 CHW": lambda array, tensor: tensor,
    "uint8 NCHW": lambda array, tensor: tensor[None],
    "float CHW": lambda array, tensor: tensor / 255,
    "float NCHW": lambda array, tensor: tensor[None] / 255,
    "float64 NCHW": lambda array, tensor: tensor[None].double() / 255,
    "list": lambda array, tensor: [array],
    "tuple of a list": lambda array, tensor: ([tensor],),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("array", "tensor"), [(GRAY, GRAY_TENSOR), (COLOR, COLOR_TENSOR)], ids=["gray", "color"])
def test_every_form_of_an_image_gives_the_same(form: str, array: np.ndarray, tensor: torch.Tensor) -> None:
    images = FORMS[form](array, tensor)
    found = as_images(images, len(tensor), SIZE)
    assert found.dtype == torch.float32 and found.shape == (1, *tensor.shape)
    torch.testing.assert_close(found[0], tensor / 255, rtol=0, atol=1e-7)


def test_a_list_may_hold_several_forms_and_batches() -> None:
    parts: list[Any] = [Image.fromarray(GRAY), GRAY, torch.stack([GRAY_TENSOR, 255 - GRAY_TENSOR]), GRAY_TENSOR / 255]
    expected = torch.stack([GRAY_TENSOR, GRAY_TENSOR, GRAY_TENSOR, 255 - GRAY_TENSOR, GRAY_TENSOR]) / 255
    assert torch.equal(as_images(parts, 1, SIZE), expected)


def test_pixels_of_the_caller_do_not_change() -> None:
    array = np.array(GRAY)
    images = as_images(array, 1, SIZE)
    images.zero_()
    assert np.array_equal(array, GRAY)


def rotated() -> Image.Image:
    """Make a photograph as from a camera held on its side."""
    image = Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8))
    image.getexif()[0x0112] = 6
    return image


PICTURES: dict[str, Image.Image] = {
    **{mode: Image.fromarray(rng.integers(0, 256, (40, 31, 3), np.uint8)).convert(mode)
       for mode in ("1", "L", "LA", "P", "RGB", "RGBA")},
    "rotated": rotated(),
}  # fmt: skip


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_read_as_training_reads_its_file(tmp_path: Path, name: str, channels: int) -> None:
    path = tmp_path / "picture.png"
    PICTURES[name].save(path, exif=PICTURES[name].getexif())
    of_training = decoded(tmp_path, [path], Format(SIZE, channels)).images
    assert torch.equal(as_images(PICTURES[name], channels, SIZE), of_training[:] / 255)
    with Image.open(path) as opened:
        assert torch.equal(as_images(opened, channels, SIZE), of_training[:] / 255)


def test_a_small_picture_is_enlarged(tmp_path: Path) -> None:
    save_image(tmp_path / "small.png", (9, 7))
    with Image.open(tmp_path / "small.png") as picture:
        assert as_images(picture, 3, SIZE).shape == (1, 3, SIZE, SIZE)


SHAPES_1 = "this model takes (N, 1, 16, 16) or (1, 16, 16)"
ARRAYS_1 = "this model takes (N, 16, 16, 1), (16, 16, 1) or (16, 16)"
ARRAYS_3 = "this model takes (N, 16, 16, 3) or (16, 16, 3)"
KINDS = "images are float in [0, 1] or uint8"
DENSE = "images are dense tensors with values"
NAN = torch.rand(1, 1, SIZE, SIZE)
NAN[0, 0, 3, 4] = torch.nan


@pytest.mark.parametrize(
    ("images", "channels", "message"),
    [
        (torch.rand(2, 3, 16, 16), 1, f"a tensor of shape (2, 3, 16, 16); {SHAPES_1}"),
        (torch.rand(2, 1, 28, 28), 1, f"a tensor of shape (2, 1, 28, 28); {SHAPES_1}"),
        (torch.rand(16, 16), 1, f"a tensor of shape (16, 16); {SHAPES_1}"),
        (torch.rand(16, 16, 1), 1, f"a tensor of shape (16, 16, 1); {SHAPES_1}"),
        (torch.rand(1, 2, 1, 16, 16), 1, f"a tensor of shape (1, 2, 1, 16, 16); {SHAPES_1}"),
        (np.zeros((16, 16, 3), np.uint8), 1, f"an array of shape (16, 16, 3); {ARRAYS_1}"),
        (np.zeros((5, 16, 16), np.uint8), 1, f"an array of shape (5, 16, 16); {ARRAYS_1}"),
        (np.zeros((1, 16, 16)), 1, f"an array of shape (1, 16, 16); {ARRAYS_1}"),
        (np.zeros((16, 16), np.uint8), 3, f"an array of shape (16, 16); {ARRAYS_3}"),
        (np.zeros((2, 3, 16, 16)), 3, f"an array of shape (2, 3, 16, 16); {ARRAYS_3}"),
        (2 * torch.ones(1, 16, 16) - 3, 1, f"values run from -1 to -1; {KINDS}"),
        (torch.linspace(-1, 1, 256).view(1, 16, 16), 1, f"values run from -1 to 1; {KINDS}"),
        (np.linspace(0, 255, 256).reshape(16, 16), 1, f"values run from 0 to 255; {KINDS}"),
        ([GRAY, GRAY / 100], 1, f"values run from 0 to 2.55; {KINDS}"),
        (NAN, 1, f"values run from nan to nan; {KINDS}"),
        (NAN[0, 0].numpy(), 1, f"values run from nan to nan; {KINDS}"),
        (torch.zeros(1, 16, 16, dtype=torch.int64), 1, f"values are int64; {KINDS}"),
        (np.zeros((16, 16), bool), 1, f"values are bool; {KINDS}"),
        (np.zeros((16, 16), np.uint16), 1, f"values are uint16; {KINDS}"),
        (Image.new("I;16", (16, 16)), 1, "has mode I;16, whose white is not known; give floats in [0, 1]"),
        (torch.zeros(1, 16, 16).to_sparse(), 1, f"a tensor of layout sparse_coo; {DENSE}"),
        (torch.zeros(1, 16, 16, device="meta"), 1, f"a tensor on the meta device; {DENSE}"),
        ([], 1, "an empty list holds no images"),
        ((), 1, "an empty tuple holds no images"),
    ],
)
def test_anything_else_is_refused_with_what_is_accepted(images: Any, channels: int, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        as_images(images, channels, SIZE)


def test_another_type_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^images are PIL images, arrays, tensors or lists of these, not str$"):
        as_images("picture.png", 1, SIZE)


def test_an_empty_batch_stays_empty() -> None:
    assert as_images(torch.empty(0, 1, SIZE, SIZE), 1, SIZE).shape == (0, 1, SIZE, SIZE)


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="5x0 pixels holds nothing"):
        as_images(Image.new("L", (5, 0)), 1, 16)
