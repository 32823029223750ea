"""One self-contained HTML page of all runs: table, charts, curves, pictures, and two runs side by side.

The page works from the file system without a network, and its Content-Security-Policy forbids any request. Text of runs
reaches its scripts as JSON and is only ever set as text. The table is DataTables, whose script the package itables
ships.
"""

import base64
import dataclasses
import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from PIL import Image

from analysis.measures.glossary import GLOSSARY
from analysis.report import repeats as repeated
from analysis.report.card import card_of_first
from analysis.report.charts.all import charts
from analysis.report.charts.chart import Chart, data_set, is_finite, numbers, study
from analysis.report.runs import Run
from analysis.report.sheets import read_sheet
from analysis.report.table import ranked
from introvae.config import TrainConfig
from introvae.runs.curves import LOG_FROM
from introvae.runs.pictures import pictures, read_bands, spread, step_of
from introvae.runs.record import PARTS, RunState

ASSETS = Path(__file__).parent / "assets"
SCRIPTS = ("elements.js", "marks.js", "chart.js", "parallel.js", "table.js", "views.js", "main.js")
DRAWN = (  # columns of metrics.csv that the page draws
    "step", "loss_encoder", "loss_decoder", "reconstruction", "kl_real", "kl_reconstruction", "kl_sample",
)  # fmt: skip

MOST_PICTURED, MOST_FAILED = 50, 10  # best runs whose full-size pictures the page holds, and failed ones after them
SHEETS = ("traversals", "interpolations", "plane")
MOST_STEPS = 30  # of the best complete run whose samples the page holds
MOST_BYTES = 29_500_000  # of a page: pictures fill the room that the rest leaves
WIDEST, QUALITY = 1600, 70  # of a picture: its pixels, and its WebP quality
DIGITS, CURVE_DIGITS = 5, 4  # significant digits of numbers


def page_html(runs: Sequence[Run], title: str) -> str:
    """Return the page as one HTML document, with the runs best first, as in the terminal."""
    runs = ranked(runs)
    rows = [_row(run) for run in runs]
    help_texts = {field.name: field.metadata.get("help", "") for field in dataclasses.fields(TrainConfig)}
    glossary = [
        {"group": group, "name": name, "unit": unit, "meaning": meaning}
        for group, entries in GLOSSARY.items()
        for name, (unit, meaning) in entries.items()
    ]
    states = {
        state.value: {"symbol": state.symbol, "shape": state.shape, "tone": state.tone, "meaning": state.meaning}
        for state in RunState
    }
    data = _json({"runs": rows, "states": states, "parts": PARTS, "glossary": glossary, "parameters": help_texts,
                  "logFrom": LOG_FROM})  # fmt: skip
    bundle = _bundle()
    library = _json(bundle.read_text(encoding="utf-8"))
    studies = _charts(runs)
    drawn = sum(len(panel) for _, found in studies for _, panels in found for panel in panels)
    card = card_of_first(runs)
    course = _json(_course(card.run) if card else [])
    room = MOST_BYTES - len(data.encode(errors="replace")) - len(library) - drawn - len(course)
    script = "\n".join((ASSETS / name).read_text(encoding="utf-8") for name in SCRIPTS)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string((ASSETS / "template.html").read_text(encoding="utf-8")).render(
        title=title,
        runs=rows,
        card=card,
        course=course,
        states=_states(runs),
        repeats=repeated.repeats(runs),
        repeated=repeated,
        studies=studies,
        data=data,
        pictures=_json(_pictures(runs, room)),
        library=library,
        styles=Markup(bundle.with_suffix(".css").read_text(encoding="utf-8"))
        + Markup((ASSETS / "page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _bundle() -> Path:
    """Return the script of DataTables, beside its styles; importing itables would look for a home."""
    spec = find_spec("itables")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "html" / "dt_bundle.js"


def _states(runs: Sequence[Run]) -> list[tuple[RunState, int]]:
    """Count the runs of each state that occurs, the most frequent first."""
    return sorted(Counter(run.state for run in runs).items(), key=lambda pair: (-pair[1], pair[0]))


def _charts(runs: Sequence[Run]) -> list[tuple[str, list[tuple[Chart, list[Markup]]]]]:
    """Return the charts of each study with their panels as JSON, that of the most or else of the best runs first."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault(study(run), []).append(run)
    several = Counter(data for data, _ in groups)
    found = []
    for (data, _), group in sorted(groups.items(), key=lambda pair: -len(pair[1])):
        folder = group[0].name.rpartition("/")[0] or "single runs"
        name = f"{folder}: {data}" if several[data] > 1 else data
        drawn = [(chart, [_json(_plain(panel)) for panel in chart.panels]) for chart in charts(group)]
        found += [(name, drawn)] if drawn else []
    return found


def _row(run: Run) -> dict[str, Any]:
    """Return all that the page's scripts know of a run, as plain values that JSON holds."""
    known = numbers(run)
    curves = {name: _column(run.curves[name]) for name in DRAWN if name in run.curves}
    measures = {name: value for name, value in run.measures.items() if name != "spectrum"}  # only charts use it
    soft = run.config is not None and run.config.objective == "soft"
    row: dict[str, Any] = {name: getattr(run.scores, name) for name in PARTS} | {
        name: known.get(name) for name in ("score", "stderr", "alpha", "beta", "m", "ratio", "predictedRatio", "kl")
    }
    row |= {"test": run.test.score, "testStderr": run.test.stderr}
    row |= {"name": run.name, "folder": str(run.folder), "state": run.state.value, "reason": run.reason,
            "data": data_set(run), "config": run.config.to_dict() if run.config else {}, "measures": measures,
            "curves": curves, "lossUnit": "nats for each number of an image" if soft else "nats",
            "thumbnail": _data_uri(run.thumbnail, "webp") if run.thumbnail else None}  # fmt: skip
    return {name: value if name == "curves" else _plain(value) for name, value in row.items()}


def _column(values: Sequence[float]) -> list[float | None]:
    """Round a column of a curve three times as fast as `_plain` would: most numbers of a page are in curves."""
    text = (f"%.{CURVE_DIGITS}g," * len(values)) % tuple(values)
    return json.loads(f"[{re.sub('-?inf|nan', 'null', text)[:-1]}]")


def _plain(value: Any) -> Any:
    """Turn a value into one that JSON can hold, with numbers rounded and None for those that are not finite."""
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)  # JavaScript would round it
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if is_finite(value) else None
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value


def _pictures(runs: Sequence[Run], room: int) -> dict[str, dict[str, Any]]:
    """Encode the pictures of the best runs, and then of failed ones, while they fit into `room` bytes.

    Returns:
        "images", data URIs by digest, and "pictures", digests by kind for each run by name.
    """
    rest = [run for run in runs[MOST_PICTURED:] if run.state.failed]
    chosen = [run for run in (*runs[:MOST_PICTURED], *rest[:MOST_FAILED]) if run.pictures]
    images: dict[str, str] = {}
    found: dict[str, dict[str, str]] = {}
    with ThreadPoolExecutor() as pool:
        for run, encoded in zip(chosen, pool.map(_encoded, chosen), strict=True):
            uris = {_digest(content): _data_uri(content, "webp") for content in encoded.values()}
            room -= sum(len(uri) for digest, uri in uris.items() if digest not in images)
            if room < 0:
                break
            images |= uris
            if encoded:
                found[run.name] = {kind: _digest(content) for kind, content in encoded.items()}
    return {"images": images, "pictures": found}


def _course(run: Run) -> list[dict[str, Any]]:
    """Encode the samples of a run at its steps, or at evenly spaced ones if there are many."""
    course = []
    for path in spread(pictures(run.folder), MOST_STEPS):
        with suppress(Exception):
            samples = Image.fromarray(read_bands(path)["samples"])
            course.append({"step": step_of(path), "samples": _data_uri(_webp(samples), "webp")})
    return course


def _encoded(run: Run) -> dict[str, bytes]:
    """Encode each band of a run's last picture, at its native size, and the run's sheets as WebP.

    Pictures that cannot be read are left out, since a live run replaces its own.
    """
    encoded = {}
    if "last" in run.pictures:
        with suppress(Exception):  # as of a dozen types from Pillow
            for band, pixels in read_bands(run.pictures["last"]).items():
                encoded[band] = _webp(Image.fromarray(pixels))
    for kind in SHEETS:
        if kind in run.pictures and (sheet := read_sheet(run.pictures[kind])):
            encoded[kind] = _webp(sheet)
    return encoded


def _webp(image: Image.Image) -> bytes:
    if image.width > WIDEST:
        image = image.resize((WIDEST, round(image.height * WIDEST / image.width)), Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _json(value: Any) -> Markup:
    """Return JSON for a script element that is not run, safe from being parsed as HTML."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))
