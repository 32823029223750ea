"""Files of every format that is read show their values, or are refused with the reason."""

import re
import struct
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from crafted import SIDE, tiff
from PIL import UnidentifiedImageError

from introvae.data.formats import open_image, refuse_changed
from introvae.data.pixels import to_pixels

RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)  # 0 to 255


@pytest.mark.parametrize(
    ("dtype", "tags", "order", "message"),
    [
        (np.uint8, [(262, 0)], "<", ""),
        (np.uint8, [(262, 0)], ">", ""),
        (np.uint16, [], ">", ""),
        (np.uint16, [(262, 0)], "<", "has more than 8 bits with white as 0"),
        (np.float32, [(262, 0), (339, 3)], "<", "has more than 8 bits with white as 0"),
        (np.float32, [(262, 0), (339, 3)], ">", "has more than 8 bits with white as 0"),
        (np.uint8, [(339, 2)], "<", "has signed numbers of 8 bits; convert them to unsigned ones"),
        (np.uint8, [(339, 2)], ">", "has signed numbers of 8 bits; convert them to unsigned ones"),
    ],
)
def test_numbers_of_tiff_files_are_right_or_refused(
    tmp_path: Path, dtype: type, tags: list[tuple[int, int]], order: Literal["<", ">"], message: str
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff((RAMP / 255 if dtype is np.float32 else RAMP).astype(dtype), *tags, order=order))
    with open_image(path) as image:
        if message:
            with pytest.raises(ValueError, match=re.escape(message)):
                refuse_changed(image)
        else:
            refuse_changed(image)
            expected = 255 - RAMP if (262, 0) in tags else RAMP
            assert np.array_equal(to_pixels(image, SIDE, 1, white=255)[0], expected)


def test_colors_of_5_6_and_5_bits_are_read(tmp_path: Path) -> None:
    red, green, blue = RAMP % 32, RAMP % 64, RAMP // 8
    values = (red << 11 | green << 5 | blue).astype("<u2")[::-1].tobytes()
    header = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 16, 3, len(values), 0, 0, 0, 0)
    masks = struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    start = 14 + len(header) + len(masks)
    file = struct.pack("<2sIHHI", b"BM", start + len(values), 0, 0, start) + header + masks + values
    (tmp_path / "a.bmp").write_bytes(file)
    with open_image(tmp_path / "a.bmp") as image:
        refuse_changed(image)
        found = to_pixels(image, SIDE, 3)
    assert np.abs(found - np.stack([red * 255 / 31, green * 255 / 63, blue * 255 / 31])).max() <= 1


def test_a_file_that_would_start_a_program_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n")
    with pytest.raises(UnidentifiedImageError):
        open_image(tmp_path / "a.png")


def test_colors_of_16_bits_in_a_ppm_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ppm").write_bytes(b"P6 16 16 65535\n" + np.full((SIDE, SIDE, 3), 4095, ">u2").tobytes())
    with open_image(tmp_path / "a.ppm") as image, pytest.raises(ValueError, match="has 16 bits for each of its 3"):
        refuse_changed(image)
