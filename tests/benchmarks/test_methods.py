"""The benchmark against other methods: what each method is, and that the published table is that of its file."""

from dataclasses import replace
from pathlib import Path

import methods
import numpy as np
import pandas as pd
import pytest
import torch
from helpers import ROOT, tiny_config
from snapshots import read_snapshot

from introvae.data.image_set import ImageSet

FOUND = replace(tiny_config(), image_size=32, widths=(), alpha=0.3, beta=40.0, m=100.0, warmup_beta=5.0)


def colors(count: int) -> torch.Tensor:
    """Images whose pixels vary together, as those of photographs do."""
    g = np.random.default_rng(count)
    coarse = torch.from_numpy(g.random((count, 3, 4, 4)))
    return (torch.nn.functional.interpolate(coarse, (32, 32), mode="bicubic").clamp(0, 1) * 255).byte()


IMAGES = ImageSet("colors", colors(60), colors(12), colors(13))


def test_methods_differ_in_what_their_names_say() -> None:
    settings = {method: methods.setting(method, FOUND, 1.5, IMAGES) for method in methods.METHODS}
    assert settings["found"] == (FOUND, 1.5)
    assert settings["vae"][0] == replace(FOUND, alpha=0.0)
    authors, ratio = settings["authors"]
    theirs = replace(FOUND, alpha=0.25, alpha_decoder=0.5, hinge="batch", warmup_beta=None)
    assert authors == replace(theirs, beta=authors.beta)
    assert authors.beta == pytest.approx(0.1 * 256**2 / 32**2) and 1 < ratio < 100
    soft, _ = settings["soft"]
    weights = replace(FOUND, objective="soft", alpha=0.5, beta=2.0, beta_neg=256.0, gamma_r=5e-9)
    assert soft == replace(weights, warmup_steps=0)


@pytest.mark.slow
def test_a_method_is_trained_once_and_its_outputs_are_of_the_test_images(tmp_path: Path) -> None:
    run = replace(FOUND, data="orl-faces", image_size=16, widths=(8, 8), channels=1)
    methods.train(run, 1.5, tmp_path, (1, "found"))
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    methods.train(run, 1.5, tmp_path, (1, "found"))
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    made = read_snapshot(methods.outputs_path(tmp_path, "found", 1))
    assert [x.shape for x in made] == [(80, 1, 16, 16)] * 2


def test_the_published_table_is_that_of_its_file() -> None:
    published = (ROOT / "docs/results.md").read_text()
    assert methods.table(pd.read_csv(ROOT / "docs/methods.csv")) in published
