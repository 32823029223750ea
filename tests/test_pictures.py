from pathlib import Path

import numpy as np
import pytest
import torch

from introvae.pictures import fixed_images, last_picture, read_bands, write_picture


@pytest.mark.parametrize(("channels", "size", "factor"), [(1, 16, 4), (3, 32, 2), (3, 128, 1)])
def test_bands_come_back_as_they_were(tmp_path: Path, channels: int, size: int, factor: int) -> None:
    bands = tuple(torch.rand(5, channels, size, size) for _ in range(3))
    write_picture(tmp_path, 40, bands)  # type: ignore[arg-type]
    picture = last_picture(tmp_path)
    assert picture == tmp_path / "images" / "step-000040.png"
    found = read_bands(picture)
    assert list(found) == ["originals", "reconstructions", "samples"]
    for band, pixels in zip(bands, found.values(), strict=True):
        assert pixels.shape == (size * factor, 5 * size * factor, 3)
        tile = pixels[::factor, size * factor : 2 * size * factor : factor]
        expected = (band[1] * 255).round().byte().permute(1, 2, 0).expand(-1, -1, 3).numpy()
        assert np.array_equal(tile, expected)


def test_the_newest_picture_is_the_last(tmp_path: Path) -> None:
    assert last_picture(tmp_path) is None
    for step in (900, 1000, 20):
        write_picture(tmp_path, step, (torch.zeros(2, 1, 16, 16),) * 3)
    last = last_picture(tmp_path)
    assert last and last.name == "step-001000.png"


def test_fixed_images_are_spread_over_the_set() -> None:
    images = torch.arange(80)[:, None, None, None]
    picks = fixed_images(images).flatten().tolist()
    assert len(picks) == 12 and picks[0] == 0 and picks[-1] == 79
    assert fixed_images(images[:3]).flatten().tolist() == [0, 1, 2]
