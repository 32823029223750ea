"""README.md of a run that is given away, in the form that model hubs show."""

import math
import re
from pathlib import Path

from introvae.config import TrainConfig
from introvae.runs.pictures import last_picture
from introvae.runs.record import PARTS, RunRecord, Scores

CARD = "README.md"
LISTED = ("score", *PARTS)
KINDS = {
    "intro": "An introspective variational autoencoder (IntroVAE, Huang et al. 2018, arXiv 1807.06358)",
    "soft": "A soft introspective variational autoencoder (Soft-IntroVAE, Daniel and Tamar 2021, arXiv 2012.13253)",
}


def model_card(folder: Path, config: TrainConfig, record: RunRecord | None, step: int | None) -> str:
    """Describe a run in Markdown: settings, scores, last picture, and how it is loaded if it has weights of a step."""
    kind = "A variational autoencoder" if config.alpha == 0 else KINDS[config.objective]
    length = "without its weights" if step is None else f"after {step:,} of {config.steps:,} steps"
    picture = last_picture(folder)
    shown = [f"![images, reconstructions and samples]({picture.relative_to(folder)})", ""] if picture else []
    code = ["```python", "import introvae", "", 'model = introvae.load_run(".")  # the folder of this file',
            "images = model.sample(16)", "```", ""]  # fmt: skip
    rows = [f"| {key} | {_escaped(value)} |" for key, value in config.to_dict().items()]
    return "\n".join([
        "---", "library_name: introvae", "tags:", "- introvae", "- vae", "- unconditional-image-generation", "---", "",
        f"# {_escaped(folder.resolve().name)}", "",
        f"{kind} of {config.image_size} x {config.image_size} images of {_escaped(config.data)}, {length}.", "",
        *shown, *(code if step is not None else []), *_scores(record),
        "## Settings", "", "| setting | value |", "|---|---|", *rows, "",
    ])  # fmt: skip


def _escaped(value: object) -> str:
    """Return a text that stays one cell of a table, and one line, whatever it is."""
    text = " ".join(str(value).encode("utf-8", "backslashreplace").decode().split())
    return re.sub(r"([\\`|<>\[\]#])", r"\\\1", text)


def _scores(record: RunRecord | None) -> list[str]:
    if record is None:
        return []
    found = {name: scores for name, scores in (("validation", record.scores), ("test", record.test)) if scores}
    head = ["## Scores", "", f"State: {record.state.value}. Scores are in [0, 1], 1 is best."]
    rows = [f"| {part} | {' | '.join(_number(scores, part) for scores in found.values())} |" for part in LISTED]
    return [*head, "", f"| | {' | '.join(found)} |", "|---" * (1 + len(found)) + "|", *rows, ""]


def _number(scores: Scores, part: str) -> str:
    value = getattr(scores, part)
    return f"{value:.3f}" if math.isfinite(value) else "-"
