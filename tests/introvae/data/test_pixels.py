"""Every mode of image comes to the pixels that a person sees, or is refused with its reason."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from crafted import SIDE, png, tiff
from helpers import save_image
from PIL import Image

from introvae.config import TrainConfig
from introvae.data.convert import as_images
from introvae.data.formats import open_image
from introvae.data.image_set import load_images
from introvae.data.pixels import to_pixels, white_of
from introvae.errors import UserError
from introvae.nn.networks import build

RAMP = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)  # 0 to 255


def read(path: Path, channels: int = 1, white: int = 0) -> np.ndarray:
    with open_image(path) as image:
        return to_pixels(image, SIDE, channels, white=white)


def noise(index: int) -> np.ndarray:
    """Values in [0, 1] that no other index has; those of images of one index are near duplicates."""
    return np.random.default_rng(index).random((SIDE, SIDE))


def of_folder(root: Path, channels: int = 0) -> np.ndarray:
    """The pixels of all images of a folder, in the order of their brightness."""
    images = load_images(root, SIDE, channels)
    parts = [part[:].numpy() for part in (images.train, images.validation, images.test)]
    return np.array(sorted(np.concatenate(parts).astype(int), key=lambda image: image.mean()))


@pytest.mark.parametrize(("white", "dtype"), [(255, np.uint16), (4095, np.uint16), (65535, np.uint16), (4095, ">u2")])
def test_whole_numbers_are_scaled_by_the_bits_that_the_set_uses(tmp_path: Path, white: int, dtype: str) -> None:
    parts = 0.2, 0.6, 0.99
    for index, part in enumerate(parts):
        values = np.round(noise(index) * part * white).astype(dtype)
        Image.fromarray(values).save(tmp_path / f"{index}.tif")
    found = of_folder(tmp_path)
    assert found.shape == (3, 1, SIDE, SIDE)
    for index, part in enumerate(parts):
        assert np.abs(found[index, 0] - noise(index) * part * 255).max() <= 1


def test_whole_numbers_of_32_bits_do_not_wrap(tmp_path: Path) -> None:
    for index in range(3):
        Image.fromarray((noise(index) * (index + 1) * 80_000).astype(np.int32)).save(tmp_path / f"{index}.tif")
    brightest = of_folder(tmp_path)[-1, 0]
    assert np.abs(brightest - noise(2) * 240_000 / (2**18 - 1) * 255).max() <= 0.51
    Image.fromarray(RAMP.astype(np.int32) - 1).save(tmp_path / "0.tif")
    with pytest.raises(UserError, match=r"0.tif holds values from -1 to 254; whole numbers are from 0 to white"):
        of_folder(tmp_path)


def test_a_damaged_second_image_of_a_file_does_not_hide_the_values_of_the_first(tmp_path: Path) -> None:
    for index in range(3):
        values = np.round(noise(index) * (index + 1) * 1000).astype(np.uint16)
        file = tiff(values, order="<")
        (tmp_path / f"{index}.tif").write_bytes(file[:-4] + struct.pack("<I", 10**6))  # the next image, beyond the end
    brightest = of_folder(tmp_path)[-1, 0]
    assert np.abs(brightest - noise(2) * 3000 / 4095 * 255).max() <= 1


def test_one_white_for_images_of_several_folders(tmp_path: Path) -> None:
    for name, white in (("train", 4000), ("validation", 1000), ("test", 250)):
        for index in range(3):
            save_image(tmp_path / name / f"noise{index}.png", (SIDE, SIDE), "L", index)
            (tmp_path / name / "deep").mkdir(exist_ok=True)
            Image.fromarray(np.full((SIDE, SIDE), white, np.uint16)).save(tmp_path / name / "deep" / f"{index}.tif")
    images = load_images(tmp_path / "train", SIDE, validation=tmp_path / "validation", test=tmp_path / "test")
    assert images.white == images.facts["white"] == 4095
    for part, white in ((images.train, 4000), (images.validation, 1000), (images.test, 250)):
        flat = [image.unique().tolist() for image in part[:] if len(image.unique()) == 1]
        assert flat == [[round(white / 4095 * 255)]] * 3


def test_floats_are_in_0_to_1_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray((RAMP / 255).astype(np.float32)).save(path)
    assert np.array_equal(read(path)[0], RAMP)
    for values, found in ((RAMP, "0 to 255"), (RAMP / 127.5 - 1, "-1 to 1"), (RAMP * np.nan, "nan to nan")):
        Image.fromarray(values.astype(np.float32)).save(path)
        with pytest.raises(ValueError, match=f"holds values from {found}; floats are in"):
            read(path)


def test_colors_of_16_bits_are_refused(tmp_path: Path) -> None:
    """Pillow cuts them to their upper 8 bits, which makes 12 bits in 16 nearly black."""
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(png(np.full((SIDE, SIDE, 3), 4095), 16, color=2))
    with pytest.raises(UserError, match=r"0.png has 16 bits for each of its 3 channels; convert it to 8 bits; .*1.png"):
        load_images(tmp_path, SIDE)


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_gray_lies_on_white(tmp_path: Path, bits: int) -> None:
    """A hidden color does not tell the white of more than 8 bits, either: values here have 12."""
    most = {16: 4095}.get(bits, 2**bits - 1)
    values = np.round(RAMP / 255 * most).astype(int)
    hidden = 65535 if bits == 16 else 0 if bits == 1 else 1
    values[:, :3] = hidden
    (tmp_path / "a.png").write_bytes(png(values, bits, transparent=hidden))
    expected = np.where(values == hidden, 255, np.round(values / most * 255))
    assert np.array_equal(read(tmp_path / "a.png", white=white_of([tmp_path / "a.png"]))[0], expected)


def half_hidden(mode: str) -> Image.Image:
    """Noise that is transparent on its right half."""
    noise = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE, len(mode)), np.uint8)
    noise[..., -1] = np.where(np.arange(SIDE) < SIDE // 2, 255, 0)
    return Image.fromarray(noise, mode)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "RGB with a transparent color"])
def test_what_is_transparent_lies_on_white(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind in ("RGBA", "LA"):
        image = half_hidden(kind)
        image.save(path)
    elif kind == "palette":
        image = half_hidden("RGBA")
        image.quantize(64).save(path)
    else:
        pixels = np.asarray(half_hidden("RGBA"))[..., :3].copy()
        pixels[:, SIDE // 2 :] = 1, 2, 3
        image = Image.fromarray(pixels)
        image.save(path, transparency=(1, 2, 3))
    found = read(path, 3).transpose(1, 2, 0).astype(int)
    assert (found[:, SIDE // 2 :] == 255).all()
    tolerance = 80 if kind == "palette" else 0  # of its 64 colors
    assert np.abs(found - np.asarray(image.convert("RGB")).astype(int))[:, : SIDE // 2].max() <= tolerance


FILES: dict[str, dict[str, str]] = {
    "png": {}, "jpeg": {}, "webp": {}, "tiff": {}, "lzw": {"format": "TIFF", "compression": "tiff_lzw"},
}  # fmt: skip


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_of_every_format_are_turned_upright(tmp_path: Path, orientation: int, kind: str) -> None:
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[: SIDE // 2, :8] = 200  # whole blocks of JPEG's
    corner[: SIDE // 4, :8] = 90
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{kind}"
    Image.fromarray(corner).save(path, **({"format": kind.upper()} | FILES[kind]), exif=exif)
    assert np.abs(read(path)[0].astype(int) - turned(corner)[orientation]).max() <= 12


def turned(image: np.ndarray) -> dict[int, np.ndarray]:
    """An image as each orientation shows it upright."""
    return {
        1: image, 2: image[:, ::-1], 3: image[::-1, ::-1], 4: image[::-1], 5: image.T, 6: np.rot90(image, -1),
        7: image[::-1, ::-1].T, 8: np.rot90(image),
    }  # fmt: skip


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_upright_though_their_exif_is_odd(tmp_path: Path, orientation: int) -> None:
    corner = np.zeros((SIDE, SIDE), np.uint8)
    corner[: SIDE // 2, : SIDE // 4] = 200
    entries = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0) + struct.pack("<HHI4s", 0x011A, 2, 4, b"odd")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)  # a resolution that is a text
    Image.fromarray(corner).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read(tmp_path / "a.png")[0], turned(corner)[orientation])


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "HSV"])
def test_other_modes_show_their_colors(tmp_path: Path, mode: str) -> None:
    gray = Image.fromarray(np.where(RAMP < 128, 0, 255).astype(np.uint8))
    image = gray.convert("RGB").convert(mode)
    if mode in ("HSV",):
        found = to_pixels(image, SIDE, 3)
    else:
        image.save(tmp_path / "a.tif")
        found = read(tmp_path / "a.tif", 3)
    assert np.abs(found.astype(int) - np.asarray(gray)).max() <= 2


def test_an_animation_s_first_image_is_used_and_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for index in range(4):
        save_image(tmp_path / f"{index}.png", (SIDE, SIDE), "L", index)
    frames = [Image.fromarray((RAMP * part).astype(np.uint8)) for part in (1.0, 0.5, 0.2)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert any(np.abs(image[0] - RAMP).max() <= 1 for image in of_folder(tmp_path, 1).astype(int))
    assert "of 1 file with several images the first is used" in capsys.readouterr().err


WIDE = np.full((SIDE, 3 * SIDE), 60, np.uint8)  # its middle third is darker
WIDE[:, SIDE : 2 * SIDE] = 20
ON_WHITE = np.full((SIDE, SIDE), 255, np.uint8)
ON_WHITE[5:10] = 60  # 16 / 3 rows, rounded
FITTED = {
    "crop": np.full((SIDE, SIDE), 20, np.uint8),
    "pad": np.where(np.arange(SIDE) // 5.5 == 1, np.where(ON_WHITE == 60, 20, 255), ON_WHITE),
    "stretch": np.tile(np.where(np.arange(SIDE) // 5.5 == 1, 20, 60), (SIDE, 1)),
}


@pytest.mark.parametrize("fit", FITTED)
@pytest.mark.parametrize("turned", [False, True])
def test_an_oblong_image_is_cropped_padded_or_stretched(fit: str, turned: bool) -> None:
    image = Image.fromarray(WIDE.T if turned else WIDE)
    found = to_pixels(image, SIDE, 1, fit)[0].astype(int)
    expected = FITTED[fit].T if turned else FITTED[fit]
    assert (np.abs(found - expected) <= 6).mean() > 0.75  # edges ring
    model = build(TrainConfig(image_size=SIDE, latent=2, widths=(2, 2), channels=1, fit=fit))
    pixels = torch.from_numpy(found)[None, None] / 255
    assert torch.equal(as_images(image, 1, SIDE, fit), pixels.float())
    assert torch.equal(model.encode(image)[0], model.encode(pixels.float())[0])  # the model has kept how


@pytest.mark.parametrize("fit", FITTED)
def test_images_of_a_folder_are_fitted(tmp_path: Path, fit: str) -> None:
    for index in range(3):
        save_image(tmp_path / f"{index}.png", (3 * SIDE, SIDE), "L", index)
    images = load_images(tmp_path, SIDE, fit=fit)
    found = {part[:].numpy().tobytes() for part in (images.train, images.validation, images.test)}
    expected = set()
    for path in tmp_path.glob("*.png"):
        with Image.open(path) as image:
            expected.add(to_pixels(image, SIDE, 1, fit).tobytes())
    assert found == expected


def test_an_image_that_is_smaller_on_one_side_may_be_padded(tmp_path: Path) -> None:
    for index in range(3):
        save_image(tmp_path / f"{index}.png", (SIDE, SIDE // 2), "L", index)
    assert len(load_images(tmp_path, SIDE, fit="pad").train) == 1
    with pytest.raises(UserError, match=rf"is {SIDE}x{SIDE // 2}, smaller than {SIDE} px"):
        load_images(tmp_path, SIDE)
    with pytest.raises(UserError, match=rf"is {SIDE}x{SIDE // 2}, smaller than 32 px"):
        load_images(tmp_path, 32, fit="stretch")


def test_a_wrong_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fit is 'squeeze'; allowed: crop, pad, stretch"):
        load_images(tmp_path, SIDE, fit="squeeze")
    with pytest.raises(UserError, match="--fit pad needs a folder as --data; images of orl-faces are cropped"):
        load_images("orl-faces", SIDE, fit="pad")
