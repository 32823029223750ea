"""An opened image of any mode to uint8 pixels, by one rule for all images of a set. Does not import torch.

- Images are turned upright as their EXIF orientation says. Color profiles are not applied.
- What is transparent lies on white.
- Whole numbers of more than 8 bits are scaled by the bits that the set uses: white is the least 2^n - 1 that no image
  of the set exceeds, 4,095 for a camera's 12 bits and 255 for 8 bits that were saved as 16. Floats are in [0, 1].
- What Pillow would cut to 8 bits unseen, or cannot convert, is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

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
            with Image.open(path) as file:
                gray = gray and (file.mode in GRAY_MODES or file.mode.startswith("I;16"))
                stacks += getattr(file, "n_frames", 1) > 1 and file.format != "MPO"  # a photograph and its preview
                if is_deep(file):
                    deep.append(path)
        except UNREADABLE:
            continue
    return Headers(gray, deep, stacks)


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image has one value of more than 8 bits for each pixel."""
    return image.mode.startswith(("I", "F"))


def white_of(paths: Sequence[Path]) -> int:
    """Return the least 2^n - 1, from 255 on, that no whole number in these files exceeds."""
    largest = DARKEST_WHITE
    for path in paths:
        try:
            with Image.open(path) as file:
                if file.mode != "F":
                    largest = max(largest, int(np.asarray(file).max()))
        except UNREADABLE:
            continue
    return 2 ** largest.bit_length() - 1


def fit(image: Image.Image, image_size: int, channels: int, crop: int = 0, white: int = 0) -> np.ndarray:
    """Turn an image upright, crop it to the centered square of side `crop` (the largest by default), and resize it.

    Args:
        image: An image of any mode.
        image_size: Height and width of the result in pixels.
        channels: 1 for gray, 3 for RGB.
        crop: Side of the square; it may be larger than the image.
        white: Whole number of more than 8 bits that is white; 0 if there is no set that tells.

    Returns:
        Pixels (channels, image_size, image_size), uint8.

    Raises:
        ValueError: If the image's values cannot be brought to 8 bits by the rule.
    """
    image = _upright(image)
    side = crop or min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    shallow = _eight_bits(image, white) if is_deep(image) else _opaque(image)
    square = shallow.convert("L" if channels == 1 else "RGB").crop((left, top, left + side, top + side))
    pixels = np.asarray(square.resize((image_size, image_size), Image.Resampling.LANCZOS))
    return pixels.reshape(image_size, image_size, channels).transpose(2, 0, 1)


def refuse_cut(image: Image.Image) -> None:
    """Raise ValueError if Pillow would cut colors of 16 bits to 8; the image has just been opened."""
    for tile in getattr(image, "tile", ()):
        arguments = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        if not is_deep(image) and any(";16" in argument for argument in arguments if isinstance(argument, str)):
            raise ValueError(f"has 16 bits for each of its {len(image.getbands())} channels; convert it to 8 bits")


def _upright(image: Image.Image) -> Image.Image:
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


def _eight_bits(image: Image.Image, white: int) -> Image.Image:
    values = np.asarray(image)
    low, high = values.min(), values.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # true of NaN, too
            raise ValueError(f"holds values from {low:.6g} to {high:.6g}; floats are in [0, 1]")
        white = 1
    elif not white:
        raise ValueError(f"has mode {image.mode}, whose white is not known; give floats in [0, 1]")
    elif low < 0:
        raise ValueError(f"holds values from {low} to {high}; whole numbers are 0 or more")
    return Image.fromarray(np.rint(values / white * 255).astype(np.uint8))
