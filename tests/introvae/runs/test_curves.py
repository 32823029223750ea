import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import tiny_config
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from introvae.runs.curves import BLUE, DRAWN, draw_curves, write_curves
from introvae.runs.folder import MetricsLog, read_metrics
from introvae.training.metrics import COLUMNS
from introvae.training.trainer import Trainer

FAKES = ("kl_reconstruction", "kl_sample", "inside_margin")
PANELS = {  # in the label of the axis -> what its lines are called, and their columns
    "loss [nats]": {"encoder": "loss_encoder", "decoder": "loss_decoder"},
    "reconstruction error": {"½ squared error, summed over pixels": "reconstruction"},
    "KL [nats]": {"real (band: to p95)": "kl_real", "reconstructions": "kl_reconstruction", "samples": "kl_sample"},
    "weight": {"KL weight": "kl_weight", "alpha": "alpha", "beta": "beta"},
    "latent mean": {"mean": "mu_mean"},
    "latent standard deviation": {"mean": "sigma_mean"},
}
BANDS = {
    "KL [nats]": ("kl_real", "kl_real_p95"),
    "latent mean": ("mu_lowest", "mu_highest"),
    "latent standard deviation": ("sigma_lowest", "sigma_highest"),
}


def row(step: int, **values: float) -> dict[str, float]:
    """A row of metrics.csv in the adversarial phase."""
    return dict.fromkeys(COLUMNS, 2.0) | {"step": step, "mu_lowest": -1.0, "sigma_lowest": 0.5} | values


def vae_row(step: int) -> dict[str, float]:
    return row(step, alpha=0.0, **dict.fromkeys(FAKES, math.nan))


def panel(figure: Figure, label: str) -> Axes:
    (axes,) = (axes for axes in figure.axes if label in axes.get_ylabel())
    return axes


def lines(axes: Axes) -> dict[str, Any]:
    """The labelled lines of a panel."""
    return {str(line.get_label()): line for line in axes.lines if not str(line.get_label()).startswith("_")}


def ink(figure: Figure, color: str = BLUE) -> list[int]:
    """Pixels of a color inside each panel."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = []
    for axes in figure.axes:
        left, bottom, right, top = np.asarray(axes.bbox.extents).astype(int)
        pixels = np.asarray(canvas.buffer_rgba())[::-1][bottom:top, left:right, :3]
        found.append(int((abs(pixels - np.multiply(to_rgb(color), 255)).max(-1) < 4).sum()))
    return found


def test_the_panels_show_the_rows(trained: Trainer) -> None:
    rows = read_metrics(trained.folder)
    figure = draw_curves(rows, trained.config, "a run")
    assert len(figure.axes) == len(PANELS)
    assert all(axes.get_xlabel() == "step" for axes in figure.axes[-2:])
    for label, columns in PANELS.items():
        found = lines(panel(figure, label))
        assert set(found) - {"margin m"} == set(columns)
        for name, column in columns.items():
            x, y = found[name].get_data()
            assert list(x) == [r["step"] for r in rows]
            np.testing.assert_array_equal(y, [r[column] for r in rows])
        legend = panel(figure, label).get_legend()
        assert legend and set(columns) <= {text.get_text() for text in legend.get_texts()}
    for label, (low, high) in BANDS.items():
        (band,) = panel(figure, label).collections
        vertices = {(float(x), float(y)) for x, y in np.asarray(band.get_paths()[0].vertices)}
        assert {(r["step"], r[name]) for r in rows for name in (low, high)} <= vertices


def test_the_margin_is_drawn_only_where_it_acts() -> None:
    config = tiny_config(m=33.0)
    margin = lines(panel(draw_curves([vae_row(2), row(4)], config, ""), "KL"))["margin m"]
    assert set(margin.get_ydata()) == {33.0}
    soft = tiny_config(objective="soft")
    for rows, other in (([vae_row(2), vae_row(4)], config), ([vae_row(2), row(4)], soft)):
        assert "margin m" not in lines(panel(draw_curves(rows, other, ""), "KL"))


@pytest.mark.parametrize(("warmup_steps", "shaded"), [(8, 8), (0, 0), (20, 12)])
def test_the_warm_up_is_shaded_in_every_panel(warmup_steps: int, shaded: float) -> None:
    figure = draw_curves([row(step) for step in (4, 8, 12)], tiny_config(warmup_steps=warmup_steps), "")
    for axes in figure.axes:
        (patch,) = axes.patches
        extents = patch.get_path().get_extents(patch.get_patch_transform())
        assert (extents.x0, extents.x1) == (0, shaded) and axes.get_xlim()[0] == 0 and 12 <= axes.get_xlim()[1] < 13


def test_energies_that_were_not_computed_leave_a_gap_and_one_between_gaps_is_a_dot() -> None:
    rows = [vae_row(2), row(4, kl_sample=3.0), vae_row(6), row(8, kl_sample=4.0), row(10, kl_sample=5.0)]
    axes = panel(draw_curves(rows, tiny_config(), ""), "KL")
    np.testing.assert_array_equal(lines(axes)["samples"].get_ydata(), [math.nan, 3.0, math.nan, 4.0, 5.0])
    green = lines(axes)["samples"].get_color()
    dots = [line for line in axes.lines if line.get_marker() == "." and line.get_color() == green]
    assert [np.asarray(line.get_data()).tolist() for line in dots] == [[[4.0], [3.0]]]


@pytest.mark.parametrize("title", ["a$x_$b", "$\\frac$", "Köpfe 100%"])
def test_the_name_of_a_run_is_no_formula(title: str) -> None:
    figure = draw_curves([row(1)], tiny_config(), title)
    FigureCanvasAgg(figure).draw()
    assert title in [text.get_text() for text in figure.texts]


def test_one_row_is_seen() -> None:
    config = tiny_config(warmup_steps=0)
    apart = {"loss_decoder": 3.0, "alpha": 3.0, "beta": 4.0, "kl_reconstruction": 3.0, "kl_sample": 4.0}
    figure, empty = draw_curves([row(2, **apart)], config, ""), draw_curves([], config, "")
    for pixels, others in zip(ink(figure), ink(empty), strict=True):
        assert pixels > 0 == others


def test_only_values_that_span_decades_are_on_a_logarithmic_axis() -> None:
    flat = draw_curves([row(2), row(4, loss_encoder=9.0, reconstruction=9.0)], tiny_config(), "")
    assert {axes.get_yscale() for axes in flat.axes} == {"linear"}
    steep = draw_curves([row(2, alpha=0.0, beta=100.0), row(4, loss_encoder=1e9)], tiny_config(), "")
    assert panel(steep, "loss [nats]").get_yscale() == "log" and panel(steep, "error").get_yscale() == "linear"
    weights = panel(steep, "weight")
    assert weights.get_yscale() == "symlog" and weights.get_ylim()[0] == 0  # alpha's 0 is on the axis
    diverging = draw_curves([row(2), row(4, mu_lowest=-1e5)], tiny_config(), "")
    assert panel(diverging, "latent mean").get_yscale() == "symlog"


@pytest.mark.parametrize("tiny", [{"alpha": 5e-324}, {"beta": 5e-324}, dict.fromkeys(("alpha", "beta"), 5e-324)])
def test_weights_too_small_to_see_are_drawn_as_zero(tiny: dict[str, float]) -> None:
    for first in ({}, dict.fromkeys(tiny, 0.0)):
        figure = draw_curves([row(2, **tiny | first), row(4, kl_weight=100.0, **tiny)], tiny_config(), "")
        FigureCanvasAgg(figure).draw()
        low, high = panel(figure, "weight").get_ylim()
        assert low < 1e-100 and high >= 100


def test_losses_too_small_to_see_leave_the_others_on_their_axis() -> None:
    figure = draw_curves([row(2, loss_encoder=5e-324), row(4, loss_encoder=50.0)], tiny_config(), "")
    FigureCanvasAgg(figure).draw()
    assert panel(figure, "loss [nats]").get_yscale() == "symlog"


def test_a_folder_whose_name_is_no_text_has_curves(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"x\xff\x1b")
    folder.mkdir()
    write_curves(folder, [row(2)], tiny_config())
    assert (folder / "curves.png").is_file()


def test_the_columns_that_are_drawn_are_those_of_a_log() -> None:
    assert set(COLUMNS) - set(DRAWN) == {"inside_margin", "images_per_second"} and set(DRAWN) < set(COLUMNS)


@pytest.mark.parametrize("count", [0, 1, 2000])
def test_the_file_is_small_whatever_the_length_and_keeps_its_colors(tmp_path: Path, count: int) -> None:
    noise = np.random.default_rng(0).lognormal(3, 1, (count, len(COLUMNS)))
    rows = [dict(zip(COLUMNS, values, strict=True)) | {"step": 20.0 * step} for step, values in enumerate(noise, 1)]
    MetricsLog(tmp_path, COLUMNS, rows)
    config = tiny_config(steps=40_000, warmup_steps=10_000)
    write_curves(tmp_path, read_metrics(tmp_path), config)
    path = tmp_path / "curves.png"
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["curves.png", "metrics.csv"]
    assert path.stat().st_size < 150_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image.convert("RGB"), int)
    canvas = FigureCanvasAgg(draw_curves(read_metrics(tmp_path), config, tmp_path.name))
    canvas.draw()
    assert abs(pixels - np.asarray(canvas.buffer_rgba())[..., :3]).max() <= 16
    assert (pixels == 255).all(-1).mean() > 0.3
