"""Runs below a folder -> what stands beside them: summary.csv, summary.md, report.html and comparison.png.

They go into the folder reported on and nowhere else, .gitignore included: predictions/ is ignored already, and
what another repository keeps is for its owner to say.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.report.grids import comparison_grid, run_label
from analysis.report.page import page_html
from analysis.report.runs import Run
from analysis.report.side_by_side import MOST as MOST_IN_COLUMNS
from analysis.report.side_by_side import side_by_side
from analysis.report.table import frame, markdown
from introvae.errors import UserError
from introvae.files import write_atomically

CSV, MARKDOWN, PAGE, GRID = "summary.csv", "summary.md", "report.html", "comparison.png"
DRAWN, MOST_DRAWN = 10, 40  # runs in the grid: by default, and at most


def report_files(runs: Sequence[Run], title: str) -> dict[str, str]:
    """The texts of the report on `runs`, best first, by name of file."""
    return {
        CSV: frame(runs).to_csv(index=False),
        MARKDOWN: markdown(runs, title),
        PAGE: page_html(runs, title),
    }


def write_report(root: Path, files: Mapping[str, str], drawn: Sequence[Run], in_columns: bool = False) -> list[Path]:
    """Write the `files` into `root`, and the grid of the runs `drawn` if there are any; give the paths written.

    `in_columns` draws two or three runs side by side, with more of each. Raises UserError if `root` cannot be written.
    """
    try:
        for name, text in files.items():
            write_atomically(root / name, text.encode(errors="replace"))
        if in_columns and 1 < len(drawn) <= MOST_IN_COLUMNS:
            side_by_side(drawn, root / GRID)
        elif drawn:
            comparison_grid([(run_label(run), run.pictures["last"]) for run in drawn], root / GRID)
    except OSError as error:
        remedy = "free some space, or copy the runs to a folder that you can write"
        raise UserError(f"cannot write the report into {root}: {error.strerror or error}; {remedy}") from error
    return [root / name for name in (*files, *([GRID] if drawn else []))]


def best_and_worst(runs: Sequence[Run], most: int = DRAWN) -> list[Run]:
    """Of the runs that have a picture, best first, at most so many: half of them the best."""
    drawn = [run for run in runs if "last" in run.pictures]
    return drawn if len(drawn) <= most else [*drawn[: most - most // 2], *drawn[len(drawn) - most // 2 :]]


def named(root: Path, runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """The runs of those names, best first; a path to a run folder, as a shell completes it, is a name too.

    Raises UserError for a name that is no run below `root`.
    """
    folders = {run.name: run.folder.resolve() for run in runs}
    wanted = {folders.get(name, Path(name).resolve()): name for name in names}
    if unknown := [name for folder, name in wanted.items() if folder not in folders.values()]:
        raise UserError(
            f"there is no run {unknown[0]!r} below {root}; the table names them; the folder goes before --compare"
        )
    return [run for run in runs if folders[run.name] in wanted]
