"""Image files of the formats that are read, without what Pillow would change in them unseen. Does not import torch."""

from pathlib import Path
from typing import Any

from PIL import Image

FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others start programs, or guess
PHOTOMETRIC, SAMPLE_FORMAT = 262, 339  # tags of TIFF
WHITE_IS_ZERO, SIGNED = 0, 2  # their values
COARSE_GRAYS = {"L;2": 2, "L;4": 4}  # bits of a PNG's gray values that Pillow spreads over 0 to 255


def open_image(path: Path) -> Image.Image:
    """Open an image file, whatever its suffix, if it is of one of FORMATS."""
    Image.init()  # registers the formats that this Pillow and its plugins read
    image = Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])
    transparent = image.info.get("transparency")
    bits = next((COARSE_GRAYS[mode] for mode in _raw_parts(image, str) if mode in COARSE_GRAYS), 0)
    if isinstance(transparent, int) and transparent < 2**bits:  # Pillow spreads the pixels, but not this value
        image.info["transparency"] = transparent * 255 // max(2**bits - 1, 1)
    return image


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image has one value of more than 8 bits for each pixel."""
    return image.mode.startswith(("I", "F"))


def refuse_changed(image: Image.Image) -> None:
    """Raise ValueError if Pillow would change the values of an image unseen; the image has just been opened."""
    tags = getattr(image, "tag_v2", {})
    if not is_deep(image):
        deep = any(";16" in mode and mode != "BGR;16" for mode in _raw_parts(image, str))  # that one has 5, 6, 5 bits
        if deep or (image.format == "PPM" and any(maximum > 255 for maximum in _raw_parts(image, int))):
            raise ValueError(f"has 16 bits for each of its {len(image.getbands())} channels; convert it to 8 bits")
        if SIGNED in tags.get(SAMPLE_FORMAT, ()):
            raise ValueError("has signed numbers of 8 bits; convert them to unsigned ones")
    elif image.format == "TIFF" and tags.get(PHOTOMETRIC, WHITE_IS_ZERO) == WHITE_IS_ZERO:
        raise ValueError("has more than 8 bits with white as 0 (MinIsWhite); convert it to black as 0")


def _raw_parts(image: Image.Image, kind: type) -> list[Any]:
    """Return the decoder's arguments of one type: names and numbers of how values are stored; none once read."""
    arguments = [tile[3] if isinstance(tile[3], tuple) else (tile[3],) for tile in getattr(image, "tile", ())]
    return [argument for tile in arguments for argument in tile if isinstance(argument, kind)]
