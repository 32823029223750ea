"""README.md of a run that is given away, in the form that model hubs show."""

import math
from pathlib import Path

from introvae.config import TrainConfig
from introvae.runs.pictures import last_picture
from introvae.runs.record import PARTS, RunRecord, Scores

CARD = "README.md"


def model_card(folder: Path, config: TrainConfig, record: RunRecord | None) -> str:
    """Describe a run in Markdown: its settings, its scores, its last picture, and how it is loaded."""
    name = folder.resolve().name
    size = f"{config.image_size} x {config.image_size}"
    values = [f"| {key} | {value} |" for key, value in config.to_dict().items()]
    picture = last_picture(folder)
    shown = [f"![images, reconstructions and samples]({picture.relative_to(folder)})", ""] if picture else []
    return "\n".join([
        "---", "library_name: introvae", "tags:", "- introvae", "- vae", "- unconditional-image-generation", "---", "",
        f"# {name}", "",
        f"An introspective variational autoencoder (Huang et al. 2018, arXiv 1807.06358) of {size} images, trained on "
        f"`{config.data}` for {config.steps:,} steps.", "",
        *shown,
        "```python", "import introvae", "", f'model = introvae.load_run("{name}")  # the folder of this file',
        "images = model.sample(16)", "```", "",
        *_scores(record),
        "## Settings", "", "| setting | value |", "|---|---|", *values, "",
    ])  # fmt: skip


def _scores(record: RunRecord | None) -> list[str]:
    if record is None:
        return []
    found = {name: scores for name, scores in (("validation", record.scores), ("test", record.test)) if scores}
    head = ["## Scores", "", f"State: {record.state.value}. Scores are in [0, 1], 1 is best."]
    rows = [f"| {part} | {' | '.join(_number(scores, part) for scores in found.values())} |" for part in SHOWN]
    return [*head, "", f"| | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|", *rows, ""]


SHOWN = ("score", *PARTS)


def _number(scores: Scores, part: str) -> str:
    value = getattr(scores, part)
    return f"{value:.3f}" if math.isfinite(value) else "-"
