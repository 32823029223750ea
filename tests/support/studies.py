"""Folders of runs as a study leaves them, without training any, and studies that are small enough for seconds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import torch
from helpers import tiny_config
from optuna.trial import TrialState

from introvae.runs.folder import MetricsLog, write_params
from introvae.runs.pictures import write_picture
from introvae.runs.record import SCORES
from introvae.training.metrics import COLUMNS
from sweeps.config import StudyConfig

PARTS = {"reconstruction": 0.75, "informativeness": 1.0, "sharpness": 0.5, "structure": 0.9, "diversity": 0.3}
MEASURES = {
    "psnr": 20.5,
    "kl": 12.25,
    "vae_kl": 10.0,
    "active_units": {"0.01": 5, "0.1": 3},
    "kl_per_dimension": [0.5, 1],
}


CHEAP = {
    "mse", "psnr", "ssim", "ms_ssim", "ms_ssim_scales", "variance_explained", "retrieval",
    "sharpness_reconstructions", "sharpness_samples", "high_frequency_reconstructions", "high_frequency_samples",
    "active_units", "kl", "kl_95", "kl_per_dimension", "kl_quantiles", "collapsed_share",
    "mutual_information", "mutual_information_bound", "aggregate_divergence",
    "variance_ratio_reconstructions", "variance_ratio",
    "vae_kl", "predicted_kl", "predicted_active_units", "collapse_beta", "spectrum", "scored_images",
}  # fmt: skip
THOROUGH = {
    "blur_effect_real", "blur_effect_reconstructions", "blur_effect_samples",
    "power_spectrum_real", "power_spectrum_reconstructions", "power_spectrum_samples",
    "decoder_sensitivity", "kl_reconstructions", "kl_samples",
    "inside_margin_real", "inside_margin_reconstructions", "inside_margin_samples",
    "traversal_smoothness", "interpolation_smoothness",
    "ms_ssim_among_samples", "ms_ssim_among_real", "nearest_training", "copied_samples",
    "swd", "swd_stderr", "swd_levels", "swd_reference", "swd_reference_stderr", "swd_reference_levels",
}  # fmt: skip


def write_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """Write scores.json as any version might have."""
    (folder / SCORES).write_text(json.dumps(scores))


def read_scores(folder: Path) -> dict[str, Any]:
    """Read scores.json as it is."""
    return json.loads((folder / SCORES).read_text())


def make_run(folder: Path, state: str = "complete", score: float = 0.5, reason: str = "", **config: Any) -> Path:
    """Write a run of 20 steps at 16 px with a row every 2; running and diverged ones have no measures.

    The score on test images of a complete one is a tenth lower.
    """
    folder.mkdir(parents=True)
    write_params(folder, tiny_config(**config), {})
    rows = [dict.fromkeys(COLUMNS, 1.5) | {"step": step} for step in range(2, 21, 2)]
    MetricsLog(folder, COLUMNS, rows)
    tiles = torch.linspace(0, 1, 12).view(12, 1, 1, 1).expand(12, 1, 16, 16)
    write_picture(folder, 20, (tiles, tiles.flip(0), tiles))
    if state != "running":
        scores: dict[str, Any] = {"state": state, "reason": reason, "score": score}
        scores |= {"measures": MEASURES} | PARTS if state != "diverged" else {}
        test = {"score": round(0.9 * score, 6), "stderr": 0.02} | PARTS
        write_scores(folder, scores | ({"test": test} if state == "complete" else {}))
    return folder


def make_study(root: Path) -> Path:
    """Write seven runs of several states, an unreadable one, and a folder that is no run."""
    make_run(root / "study" / "trial-000", "complete", 0.5)
    make_run(root / "study" / "trial-001", "pruned", 0.75, "score 0.750 at step 20")
    make_run(root / "study" / "trial-002", "collapsed", 0.25, "samples alike | at step 20")
    make_run(root / "study" / "trial-003", "diverged", 0.0, "step 7 is not finite")
    make_run(root / "study" / ".warmup" / "0123abcd", "running")
    make_run(root / "alone", "complete", 0.6)
    make_run(root / "running", "running", steps=40)
    (root / "no-run").mkdir()
    (root / "bad").mkdir()
    (root / "bad" / "params.toml").write_text("[config]\nbetta = 1")
    return root


def study_config(out: Path, train: Mapping[str, Any] | None = None, **values: Any) -> StudyConfig:
    """Return the configuration of a study of three trials that take a moment."""
    given: dict[str, Any] = {"train": tiny_config(**{"lr": 3e-3} | dict(train or {})), "trials": 3}
    return StudyConfig(**given | {"out": out, "device": "cpu"} | values)


def finished(study: optuna.Study, rungs: dict[int, float], pruned: bool = False) -> None:
    state = TrialState.PRUNED if pruned else TrialState.COMPLETE
    study.add_trial(optuna.create_trial(state=state, value=rungs[max(rungs)], intermediate_values=rungs))
