"""Malformed files of every kind: each reader takes them or refuses them in words, and never fails otherwise."""

import contextlib
import io
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from crafted import SIDE, png, tiff
from PIL import Image, ImageOps

from introvae.data import containers, decode
from introvae.data.pixels import read_headers, white_of
from introvae.errors import UserError
from introvae.runs.folder import load_checkpoint, read_config, read_metrics
from introvae.runs.record import read_record
from sweeps.points import read_points

FILES = 500  # of each kind
WORDS = [b"nan", b"-1", b"1e999", b"[]", b"{}", b'"', b"\x00", b"\xff\xfe", b"9" * 400, b"=", b",", b"\n", b"true"]
RUN = Path(__file__).parents[1] / "predictions" / "gallery" / "trial-008"


def mutated(content: bytes, seed: int) -> bytes:
    """Change a file in one to four places: bytes, lengths, or words that a parser may stumble over."""
    g = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(g.integers(1, 5)):
        at = int(g.integers(len(data) + 1))
        match g.integers(5):
            case 0:
                data[at : at + 1] = bytes([g.integers(256)])
            case 1:
                del data[at : at + int(g.integers(1, 40))]
            case 2:
                data[at:at] = data[at : at + int(g.integers(1, 40))]
            case 3:
                data[at : at + int(g.integers(8))] = WORDS[g.integers(len(WORDS))]
            case _:
                del data[max(at, 8) :]
    return bytes(data)


def pictures() -> list[tuple[str, bytes]]:
    """Small images of several formats and modes."""
    g = np.random.default_rng(0)
    found = []
    for mode, format_ in (
        ("RGB", "PNG"), ("RGB", "JPEG"), ("L", "TIFF"), ("P", "GIF"), ("RGBA", "PNG"), ("RGB", "BMP"), ("RGBA", "WEBP"),
        ("I;16", "PNG"), ("F", "TIFF"), ("CMYK", "JPEG"), ("1", "PPM"),
    ):  # fmt: skip
        if mode in ("I;16", "F"):
            values = g.random((SIDE + 4, SIDE))
            image = Image.fromarray((values * 4095).astype(np.uint16) if mode == "I;16" else values.astype(np.float32))
        else:
            image = Image.fromarray(g.integers(0, 256, (SIDE + 4, SIDE, 3), np.uint8)).convert(mode)
        buffer = io.BytesIO()
        image.save(buffer, format_)
        found.append((f".{format_.lower()}", buffer.getvalue()))
    ramp = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    found += [(".png", png(ramp * 16, 16, transparent=160)), (".png", png(ramp % 16, 4, transparent=3))]
    orientation, white_is_zero, signed = (274, 6), (262, 0), (339, 2)
    found += [(".tiff", tiff(ramp.astype(np.uint8), tag, order="<")) for tag in (orientation, white_is_zero, signed)]
    found += [(".tiff", tiff(ramp.astype(np.uint16), white_is_zero, order="<"))]
    return found


def seen(path: Path, white: int) -> np.ndarray | None:
    """Return the pixels (SIDE, SIDE, 3) that an image shows, or None if it is to be refused or resized."""
    with Image.open(path) as file:
        image: Image.Image = file
        deep, size, tags = image.mode[0] in "IF", image.size, getattr(image, "tag_v2", {})
        coarse = any("L;4" in str(tile[3]) for tile in getattr(image, "tile", ()))
        image.load()
        if min(size) != SIDE or (deep and image.format == "TIFF" and not tags.get(262)) or 2 in tags.get(339, ()):
            return None
        hidden = image.info.get("transparency")
        with contextlib.suppress(Exception):  # damaged EXIF
            image = ImageOps.exif_transpose(image)
        if deep or coarse:
            top = 1 if image.mode == "F" else white if deep else 255
            gray = np.asarray(image) / top * 255
            gray[np.asarray(image) == (hidden if deep or hidden is None else hidden * 17)] = 255
            pixels = np.repeat(gray[..., None], 3, 2)
        else:
            colors = np.asarray(image.convert("RGBA")).astype(float)
            alpha = colors[..., 3:] / 255
            pixels = colors[..., :3] * alpha + 255 * (1 - alpha)
    top, left = ((side - SIDE) // 2 for side in pixels.shape[:2])
    return pixels[top : top + SIDE, left : left + SIDE]


def test_images(tmp_path: Path) -> None:
    """Images that can be read, whole ones and changed ones, show what they show by Pillow and NumPy alone."""
    known = pictures()
    paths = []
    for seed in range(FILES):
        suffix, content = known[seed % len(known)]
        paths.append(tmp_path / f"{seed:04d}{suffix}")
        paths[-1].write_bytes(content if seed < len(known) else mutated(content, seed))
    out = tmp_path / "pixels"
    out.write_bytes(bytes(FILES * 3 * SIDE * SIDE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of sizes and metadata
        headers = read_headers(paths)
        white = white_of(headers.deep)
        unusable = dict(decode.decode(paths, out, decode.Format(SIDE, 3, white=white)))
        assert 0.1 * FILES < len(unusable) < 0.9 * FILES
        pixels = np.fromfile(out, np.uint8).reshape(FILES, 3, SIDE, SIDE)
        compared = 0
        for index, path in enumerate(paths):
            if index in unusable:
                assert str(path) in unusable[index] and not pixels[index].any()
            elif (expected := seen(path, white)) is not None:
                assert np.abs(pixels[index].transpose(1, 2, 0) - expected).max() <= 1, path
                compared += 1
            else:
                with Image.open(path) as image:
                    assert min(image.size) != SIDE, path
    assert set(unusable).isdisjoint(range(len(known) - 2)) and {len(known) - 2, len(known) - 1} <= set(unusable)
    assert compared > 0.15 * FILES


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for number, (suffix, content) in enumerate(pictures()):
            file.writestr(f"a/{number}{suffix}", content)
    return buffer.getvalue()


def table() -> bytes:
    import pyarrow
    from pyarrow import parquet

    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"image": [content for _, content in pictures()]}), buffer)
    return buffer.getvalue()


def arrays(save: Callable[..., None]) -> bytes:
    buffer = io.BytesIO()
    save(buffer, np.random.default_rng(0).integers(0, 256, (3, 8, 8), np.uint8))
    return buffer.getvalue()


POINTS = b"alpha,beta_256,margin_ratio,seed\n0.25,0.05,4,1\n0.5,,2,\n"
READERS: dict[str, tuple[Callable[[], bytes], str, Callable[[Path], object]]] = {
    "zip": (archive, "a.zip", containers.unpacked),
    "npy": (lambda: arrays(np.save), "a.npy", containers.unpacked),
    "npz": (lambda: arrays(np.savez), "a.npz", containers.unpacked),
    "parquet": (table, "a.parquet", containers.unpacked),
    "settings": ((RUN / "params.toml").read_bytes, "params.toml", lambda path: read_config(path.parent)),
    "log": (lambda: (RUN / "metrics.csv").read_bytes()[:4000], "metrics.csv", lambda path: read_metrics(path.parent)),
    "scores": ((RUN / "scores.json").read_bytes, "scores.json", lambda path: read_record(path.parent)),
    "points": (lambda: POINTS, "points.csv", lambda path: read_points(str(path))),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of NumPy, which opens half an archive
@pytest.mark.parametrize("kind", READERS)
def test_files(kind: str, tmp_path: Path, cache_folder: Path) -> None:
    make, name, read = READERS[kind]
    content, refused = make(), 0
    for seed in range(FILES):
        (tmp_path / name).write_bytes(mutated(content, seed))
        try:
            read(tmp_path / name)
        except UserError as error:
            assert str(error)
            refused += 1
    assert 0.05 * FILES < refused < FILES
    for folder in cache_folder.glob("a-*"):
        shutil.rmtree(folder)


@pytest.mark.slow
def test_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, refused = (RUN / "checkpoint.pt").read_bytes(), 0
    for seed in range(FILES):
        (tmp_path / "checkpoint.pt").write_bytes(mutated(content, seed))
        try:
            load_checkpoint(tmp_path)
        except UserError:
            refused += 1
        capsys.readouterr()
        for left in tmp_path.iterdir():
            left.unlink()
    assert refused > 0.1 * FILES
