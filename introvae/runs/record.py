"""scores.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from introvae.errors import UserError
from introvae.files import write_atomically

SCORES = "scores.json"


def write_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    write_atomically(folder / SCORES, (json.dumps(scores, indent=1) + "\n").encode())


def read_scores(folder: Path) -> dict[str, Any] | None:
    """None while the run has not ended. Raises UserError if scores.json is broken."""
    try:
        scores = json.loads((folder / SCORES).read_text(encoding="utf-8"))
        if not isinstance(scores, dict):
            raise ValueError("it holds no table")
        return scores
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {folder / SCORES}: {error}") from error


def best_run(study: Path) -> Path:
    """The complete run among the folders in `study` that has the best score, or what its study optimized instead.

    Raises UserError if there is none.
    """
    scores = {path.parent: read_scores(path.parent) or {} for path in sorted(study.glob(f"*/{SCORES}"))}
    complete = {
        folder: score.get("optimized", score["score"])
        for folder, score in scores.items()
        if score.get("state") == "complete"
    }
    if not complete:
        raise UserError(f"{study} holds no complete run; --from STUDY --best takes a folder of runs with {SCORES}")
    return max(complete, key=complete.__getitem__)
