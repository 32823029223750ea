"""An opened image of any mode to uint8 pixels, by one rule for all images of a set. Does not import torch.

- Images are turned upright as their EXIF orientation says. Color profiles are not applied.
- What is transparent lies on white, and so does what is padded.
- Whole numbers of more than 8 bits are scaled by the bits that the set uses: white is the least 2^n - 1 that no image
  of the set exceeds, 4,095 for a camera's 12 bits and 255 for 8 bits that were saved as 16. Floats are in [0, 1].
- What Pillow would cut to 8 bits, invert or wrap unseen, or cannot convert, is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from introvae.data.formats import is_deep, open_image, refuse_changed

GRAY_MODES = {"1", "L", "LA", "La", "I", "F"}  # and those of 16 bits, which begin with I;16
ORIENTATION = 0x0112  # EXIF's tag
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
DARKEST_WHITE = 255  # of whole numbers of more than 8 bits
UNREADABLE = Exception  # Pillow raises errors of a dozen types at malformed files


@dataclass(frozen=True)
class Headers:
    """Summary of the headers of image files.

    Attributes:
        gray: No readable image has colors.
        deep: Images of one value of more than 8 bits for each pixel.
        stacks: Number of files that hold several images, such as animations; the first image of each is used.
    """

    gray: bool
    deep: Sequence[Path]
    stacks: int


def read_headers(paths: Sequence[Path]) -> Headers:
    """Read the headers of image files; unreadable ones are passed over."""
    gray, stacks, deep = True, 0, []
    for path in paths:
        try:
            with open_image(path) as file:
                gray = gray and (file.mode in GRAY_MODES or file.mode.startswith("I;16"))
                if is_deep(file):
                    deep.append(path)
                # an MPO is a photograph and its preview; later images of a file may be damaged, so this comes last
                stacks += getattr(file, "n_frames", 1) > 1 and file.format != "MPO"
        except UNREADABLE:
            continue
    return Headers(gray, deep, stacks)


def white_of(paths: Sequence[Path]) -> int:
    """Return the least 2^n - 1, from 255 on, that no whole number in these files exceeds."""
    largest = DARKEST_WHITE
    for path in paths:
        try:
            with open_image(path) as file:
                if file.mode != "F":
                    values = np.asarray(file)
                    largest = max(largest, int(values[~_hidden(file, values)].max(initial=0)))
        except UNREADABLE:
            continue
    return 2 ** largest.bit_length() - 1


def to_pixels(
    image: Image.Image, image_size: int, channels: int, fit: str = "crop", crop: int = 0, white: int = 0
) -> np.ndarray:
    """Turn an image upright, and resize it to a square.

    Args:
        image: An image of any mode.
        image_size: Height and width of the result in pixels.
        channels: 1 for gray, 3 for RGB.
        fit: One of FITS: "crop" takes the centered square, "pad" lays the whole image on a white one, and "stretch"
            changes its proportions.
        crop: Side of the centered square, which may be larger than the image; 0 for the largest inside of it.
        white: Whole number of more than 8 bits that is white; 0 if there is no set that tells.

    Returns:
        Pixels (channels, image_size, image_size), uint8.

    Raises:
        ValueError: If the image's values cannot be brought to 8 bits by the rule.
    """
    image = _upright(image)
    shallow = _eight_bits(image, white) if is_deep(image) else _opaque(image)
    shown, size, method = shallow.convert("L" if channels == 1 else "RGB"), (image_size,) * 2, Image.Resampling.LANCZOS
    if fit == "pad":
        square = ImageOps.pad(shown, size, method, color="white")
    else:
        if fit == "crop":
            side = crop or min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            shown = shown.crop((left, top, left + side, top + side))
        square = shown.resize(size, method)
    pixels = np.asarray(square)
    return pixels.reshape(image_size, image_size, channels).transpose(2, 0, 1)


def refuse_small(image: Image.Image, image_size: int, fit: str) -> None:
    """Raise ValueError if `fit` would enlarge an image to a square of `image_size`."""
    if (min if fit == "crop" else max)(image.size) < image_size:
        raise ValueError(f"is {image.width}x{image.height}, smaller than {image_size} px")


def as_picture(image: Any) -> Image.Image:
    """Convert an array (H, W) or (H, W, C), uint8 or float in [0, 1], to a PIL image; a PIL image stays one.

    Raises:
        TypeError: If it is neither.
        ValueError: If its shape, its type or its values are those of no image.
    """
    if isinstance(image, Image.Image):
        if not all(image.size):
            raise ValueError(f"an image of {image.width}x{image.height} pixels holds nothing")
        refuse_changed(image)
        return image
    if not isinstance(image, np.ndarray):
        raise TypeError(f"images are PIL images, arrays or tensors, not {type(image).__name__}")
    values = image
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or values.shape[2:] not in ((), (3,)) or not values.size:
        raise ValueError(f"an array of shape {values.shape}; an image is (H, W), (H, W, 3) or, as a tensor, (3, H, W)")
    if values.dtype.kind == "f":
        if not (values.min() >= 0 and values.max() <= 1):  # true of NaN, too
            raise ValueError(f"values run from {values.min():.6g} to {values.max():.6g}; floats are in [0, 1]")
        values = np.rint(values * 255).astype(np.uint8)
    elif values.dtype != np.uint8:
        raise ValueError(f"values are {values.dtype}; images are uint8 or float in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(values))


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # at which Pillow itself turns a TIFF, and removes its orientation
    try:
        orientation = image.getexif().get(ORIENTATION)
    except UNREADABLE:  # damaged EXIF leaves the pixels as they are
        orientation = None
    turn = TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def _opaque(image: Image.Image) -> Image.Image:
    """Lay an image on white where it is transparent."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)


def _hidden(image: Image.Image, values: np.ndarray) -> np.ndarray:
    """Tell which values of an image of more than 8 bits are transparent."""
    transparent = image.info.get("transparency")
    return values == transparent if isinstance(transparent, int) else np.zeros(values.shape, bool)


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    values = np.asarray(image)
    hidden = _hidden(image, values)
    values = np.where(hidden, 0, values)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # true of NaN, too
            raise ValueError(f"holds values from {low:.6g} to {high:.6g}; floats are in [0, 1]")
        white = 1
    elif not white:
        raise ValueError(f"has mode {image.mode}, whose white is not known; give floats in [0, 1]")
    elif not (low >= 0 and high <= white):
        raise ValueError(f"holds values from {low} to {high}; whole numbers are from 0 to white, {white} here")
    return Image.fromarray(np.where(hidden, 255, np.rint(values / white * 255)).astype(np.uint8))
