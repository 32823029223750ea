"""Files of many images: archives, arrays and tables, unpacked once into the cache as a folder of images.

$XDG_CACHE_HOME/introvae/NAME-DIGEST/images/    one folder for each file, as it was; may be removed
"""

import errno
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from introvae.data.pixel_cache import cache_folder, locked, unwritable
from introvae.data.search import SPLIT_NAMES, remedy, tables
from introvae.errors import UserError
from introvae.files import create

VERSION = 2  # rises when the same file is unpacked in another way
UNPACKED, PART = "images", "images.part"
COLUMN = "image"  # of a table; another name is taken if no other column holds bytes
PART_NAMES = {name for names in SPLIT_NAMES.values() for name in names}
ROWS = 256  # of a table, read at once
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}  # errors that the cache's disk is to blame for


def unpacked(path: Path) -> Path:
    """Return a folder that holds the images of a file, or of the tables in a folder.

    Args:
        path: One of

            - a zip archive of image files;
            - a NumPy file: .npy, or .npz with one array of images. Arrays are (N, H, W), (N, H, W, C) or (N, C, H, W)
              with 1 or 3 channels: uint8, float with values in [0, 1], or uint16 without colors;
            - a Parquet file, or a folder of them, whose column `image` holds encoded image files as bytes or, as
              Hugging Face's datasets do, in a field `bytes`. train.parquet, train-00000-of-00002.parquet and what
              lies in a folder `train` are training images; other parts are named as for images.

    Raises:
        UserError: If the file is of another kind or damaged, or the cache cannot be written.
    """
    files = tables(path) if path.is_dir() else [path]
    unpack = UNPACK.get(files[0].suffix.lower())
    if unpack is None:
        takes = f"a folder of images, or one of {', '.join(UNPACK)}"
        raise UserError(f"{path} is {remedy(path) or 'a file'}; --data takes {takes}")
    try:
        stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; make it readable, or remove it") from error
    folder = cache_folder(path.stem, (VERSION, stats))
    with locked(folder, f"unpacking {path}"):
        if not (folder / UNPACKED).exists():
            part = folder / PART
            try:
                shutil.rmtree(part, ignore_errors=True)
                part.mkdir()
                for number, file in enumerate(files):
                    unpack(file, part, number)
                part.rename(folder / UNPACKED)
            except Exception as error:  # NumPy and zipfile raise errors of a dozen types at malformed files
                shutil.rmtree(part, ignore_errors=True)
                if isinstance(error, OSError) and error.errno in DISK and error.filename not in map(str, files):
                    raise unwritable(folder, error) from error
                reason = " ".join(str(error).split()) or type(error).__name__
                reason = reason.replace(str(part), str(path))  # nobody knows that folder
                raise UserError(f"{path} cannot be unpacked: {reason}; or give a folder of images") from error
    return folder / UNPACKED


def unpack_table(path: Path, folder: Path, number: int) -> None:
    """Write each image of a table's column as the file that it is; a row without one becomes an empty file.

    Raises:
        ValueError: If a package is missing, or no column holds images.
    """
    try:
        from pyarrow import parquet, types  # an extra
    except ImportError as error:
        raise ValueError("this needs pyarrow; pip install 'introvae[parquet]'") from error
    with parquet.ParquetFile(path) as file:
        fields = {field.name: field.type for field in file.schema_arrow}
        kinds = {name: kind.value_type if types.is_dictionary(kind) else kind for name, kind in fields.items()}
        held = [name for name, kind in kinds.items() if types.is_struct(kind) and kind.get_field_index("bytes") >= 0]
        held += [name for name, kind in kinds.items() if types.is_binary(kind) or types.is_large_binary(kind)]
        column = COLUMN if COLUMN in held else held[0] if len(held) == 1 else None
        if column is None:
            shown = ", ".join(f"{name} ({kind})" for name, kind in fields.items())
            raise ValueError(f"it has no column {COLUMN} of bytes, but {shown}")
        names = path.stem.partition("-")[0].lower(), path.parent.name.lower()
        part = next((name for name in names if name in PART_NAMES), "")
        target = folder / part
        target.mkdir(exist_ok=True)
        first = written = 0
        for batch in file.iter_batches(ROWS, columns=[column]):
            for row, value in enumerate(batch.column(0).to_pylist(), first):
                content = value.get("bytes") if isinstance(value, dict) else value
                (target / f"{number:05d}-{row:08d}.png").write_bytes(content or b"")  # Pillow sees what format it has
                written += bool(content)
            first += len(batch)
        if first and not written:
            raise ValueError(
                f"the column {column} of {path.name} has no bytes; write the images into it, not their paths"
            )


def unpack_zip(path: Path, folder: Path, _: int) -> None:
    """Unpack all files of an archive, below the folder whatever their names are.

    Raises:
        ValueError: If the disk has no room for its files.
    """
    with zipfile.ZipFile(path) as archive:
        size, free = sum(item.file_size for item in archive.infolist()), shutil.disk_usage(folder).free
        if size > free:
            raise ValueError(f"its files take {size / 2**30:.1f} GiB, and {folder} has {free / 2**30:.1f} GiB free")
        for number, item in enumerate(archive.infolist()):
            parts = [part for part in PurePosixPath(item.filename).parts if part not in ("/", "..")]
            if item.is_dir() or not parts:
                continue
            target = folder.joinpath(*parts)
            while target.exists():  # an archive may hold several files of one name
                target = target.with_stem(f"{target.stem}-{number}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(item) as packed, create(target) as file:
                shutil.copyfileobj(packed, file)


def unpack_arrays(path: Path, folder: Path, _: int) -> None:
    """Write each image of an array as a PNG.

    Raises:
        ValueError: If it holds no array of images or several, or values of another type or range.
    """
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise ValueError("it is damaged, or holds Python objects; save an array of numbers by numpy.save") from error
    if isinstance(loaded, np.ndarray):
        array = loaded
    else:
        with loaded:
            names = [name for name in loaded.files if loaded[name].ndim in (3, 4)]
            if len(names) != 1:
                raise ValueError(f"it holds {len(names)} arrays of images ({', '.join(names)}); save one by numpy.save")
            array = loaded[names[0]]
    shape = array.shape
    if array.ndim == 4 and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 1, 3)  # channels first
    one = array.ndim == 3 and array.shape[2] <= 4  # in color, as nobody has images of that width
    if one or array.ndim not in (3, 4) or array.shape[3:] not in ((), (1,), (3,)):
        raise ValueError(f"its array is {shape}; images are (N, H, W), (N, H, W, C) or (N, C, H, W)")
    if (
        array.dtype.kind != "f"
        and array.dtype != np.uint8
        and (array.dtype.newbyteorder("=") != np.uint16 or array.shape[3:] == (3,))
    ):
        raise ValueError(f"its values are {array.dtype}; they are uint8, float in [0, 1] or, without colors, uint16")
    for number, image in enumerate(array):
        values = image[..., 0] if image.shape[2:] == (1,) else image
        if array.dtype.kind == "f":
            if not (values.min() >= 0 and values.max() <= 1):  # true of NaN, too
                found = f"from {values.min():.6g} to {values.max():.6g}"
                raise ValueError(f"values of image {number} run {found}; floats are in [0, 1]")
            values = np.rint(values * 255).astype(np.uint8)
        Image.fromarray(np.ascontiguousarray(values)).save(folder / f"{number:08d}.png", compress_level=1)


UNPACK: dict[str, Callable[[Path, Path, int], None]] = {
    ".zip": unpack_zip, ".npz": unpack_arrays, ".npy": unpack_arrays, ".parquet": unpack_table,
}  # fmt: skip
