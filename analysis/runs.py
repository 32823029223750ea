"""The runs below a folder, read for the report: whatever is live, broken or foreign is named and never stops it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from introvae.config import TrainConfig, value_at
from introvae.errors import UserError
from introvae.run import PARAMS, read_config, read_metrics, read_scores

RUNNING, UNREADABLE = "running", "unreadable"  # the other states are those of scores.json
CURVE_POINTS = 200
PICTURES = ("last", "traversals", "interpolations", "plane", "gif", "curves")


@dataclass(frozen=True)
class Run:
    """One run folder as plain values.

    `state` is complete, pruned, collapsed or diverged as scores.json says, running while there is none, or
    unreadable; then `config`, `scores` and `curves` may be empty, and `reason` says why.
    """

    name: str  # its path below the folder reported on
    folder: Path
    state: str
    reason: str  # how far a running one is; what cannot be read
    config: Mapping[str, Any]  # [config] of params.toml
    scores: Mapping[str, Any]  # scores.json, its score and parts checked: finite, in [0, 1]; measures may be NaN
    curves: Mapping[str, list[float]]  # the columns of metrics.csv in at most CURVE_POINTS rows; NaN where there is none
    thumbnail: bytes  # WebP of a few tiles of the last picture, some 8 KB; empty without a picture
    pictures: Mapping[str, Path]  # those that exist, of PICTURES: last, traversals, interpolations, plane, gif, curves

    @property
    def measures(self) -> Mapping[str, Any]:
        return self.scores.get("measures", {})

    @property
    def margin_ratio(self) -> float | None:
        """m over the KL that a VAE reaches at this beta; None for a run without a margin or without that KL."""
        vae_kl = self.measures.get("vae_kl")
        if not vae_kl or not self.parameters["alpha"] or self.config["objective"] != "intro":
            return None
        return self.config["m"] / vae_kl

    @property
    def parameters(self) -> dict[str, float]:
        """Final alpha, beta and m, empty for a run whose settings cannot be read."""
        if not self.config:
            return {}
        config = TrainConfig.from_dict(self.config)
        return {
            "alpha": value_at(config.alpha, config.steps),
            "beta": value_at(config.beta, config.steps),
            "m": config.m,
        }


def read_runs(root: Path) -> list[Run]:
    """All runs at or below `root`, sorted by name; folders that begin with a dot are passed over.

    Raises UserError if there is no such folder or no run in it.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}")
    folders = []
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        if PARAMS in files:
            folders.append(Path(folder))
    if not folders:
        raise UserError(f"there is no run below {root}; introvae-train or introvae-sweep makes some")
    return [read_run(folder, root) for folder in sorted(folders)]


def read_run(folder: Path, root: Path) -> Run:
    name = folder.relative_to(root).as_posix() if folder != root else folder.resolve().name
    try:
        config, scores, rows = read_config(folder).to_dict(), read_scores(folder), read_metrics(folder)
        curves = {column: [row[column] for row in rows] for column in (rows[0] if rows else ())}
        if scores is None:
            return Run(name, folder, RUNNING, "", config, {}, curves, b"", {})
        return Run(name, folder, str(scores["state"]), str(scores.get("reason") or ""), config, scores, curves, b"", {})
    except (UserError, OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        return Run(name, folder, UNREADABLE, str(error), {}, {}, {}, b"", {})
