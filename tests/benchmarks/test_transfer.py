"""The benchmark of transfer: settings are translated as a training translates them, and tables say what runs say."""

from pathlib import Path

import horizon
import pandas as pd
import pytest
import transfer


def test_settings_keep_alpha_the_margin_and_beta_for_each_number(tmp_path: Path) -> None:
    small, large = (transfer.settings_at(size, tmp_path, 3) for size in (16, 64))
    assert len(small) == 3
    for one, other in zip(small, large, strict=True):
        assert one["alpha"] == other["alpha"] and one["margin_ratio"] == other["margin_ratio"]
        assert other["beta"] == pytest.approx(one["beta"] / 16)


def test_the_settings_are_those_of_the_runs_at_16_px(tmp_path: Path) -> None:
    runs = pd.read_csv(transfer.HORIZON).drop_duplicates("setting").set_index("setting")
    for number, one in enumerate(transfer.settings_at(16, tmp_path, 24)):
        run = runs.loc[number]
        found = (run.alpha, run.beta, run.m / run.vae_kl)
        assert found == pytest.approx((one["alpha"], one["beta"], one["margin_ratio"]), rel=1e-4)


def test_networks_end_at_4_px_and_have_two_latent_dimensions_for_each_pixel_of_a_side() -> None:
    for size in (16, 32, 64):
        config = horizon.config_at(size)
        assert (config.image_size, config.latent, 4 * 2 ** len(config.widths)) == (size, 2 * size, size)


def test_tables_tell_rank_correlation_and_regret() -> None:
    scores = {16: (0.5, 0.4, 0.3, 0.2), 32: (0.6, 0.8, 0.4, 0.2)}
    rows = [
        {"size": size, "setting": i, "seed": seed, "alpha": 4 - i, "beta": i, "ratio": 1 + i % 2, "test": score + seed}
        for size, values in scores.items() for i, score in enumerate(values) for seed in (0, 0.02, -0.02)
    ]  # fmt: skip
    runs = pd.DataFrame(rows)
    assert "| 16 px | 32 px | 4 | 0.80 | 0.67 |" in transfer.between_sizes(runs)  # 0.8 - 0.6, of 0.8 - 0.5
    assert "| 16 px | 1.00 | -1.00 | " in transfer.by_number(runs)
