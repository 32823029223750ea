"""The report: summary.csv, summary.md, report.html and comparison.png beside the runs below a folder.

They go into the folder reported on and nowhere else, .gitignore included: predictions/ is ignored already, and
what another repository keeps is for its owner to say.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from analysis.report.grids import comparison_grid, run_label
from analysis.report.page import page_html
from analysis.report.repeats import repeats, repeats_markdown
from analysis.report.runs import Run, read_runs
from analysis.report.side_by_side import MOST as MOST_IN_COLUMNS
from analysis.report.side_by_side import side_by_side
from analysis.report.table import frame, markdown, ranked
from introvae.errors import UserError
from introvae.files import write_atomically

CSV, MARKDOWN, PAGE, GRID = "summary.csv", "summary.md", "report.html", "comparison.png"
DRAWN, MOST_DRAWN = 10, 40  # runs in the grid: by default, and at most


def write_report(
    folder: Path | str,
    runs: Sequence[Run] | None = None,
    *,
    files: Mapping[str, str] | None = None,
    drawn: Sequence[Run] | None = None,
    in_columns: bool = False,
) -> list[Path]:
    """Write the report on the runs below a folder into it.

    Args:
        folder: The folder reported on.
        runs: The runs, best first; by default all below the folder.
        files: The report's texts by file name, if `report_files` has made them already.
        drawn: The runs that comparison.png shows, but for those without a picture; by default the five best and the
            five worst with a score.
        in_columns: Draw two or three runs side by side, with more of each.

    Returns:
        The paths written.

    Raises:
        UserError: If the folder cannot be written, or holds no run.

    Examples:
        >>> from analysis import write_report
        >>> [path.name for path in write_report("predictions")]
        ['summary.csv', 'summary.md', 'report.html', 'comparison.png']
    """
    folder = Path(folder)
    runs = ranked(read_runs(folder)) if runs is None else runs
    files = report_files(runs, folder.resolve().name) if files is None else files
    drawn = best_and_worst([run for run in runs if run.state.ended]) if drawn is None else drawn
    drawn = [run for run in drawn if "last" in run.pictures]
    try:
        for name, text in files.items():
            write_atomically(folder / name, text.encode(errors="replace"))
        if in_columns and 1 < len(drawn) <= MOST_IN_COLUMNS:
            side_by_side(drawn, folder / GRID)
        elif drawn:
            comparison_grid([(run_label(run), run.pictures["last"]) for run in drawn], folder / GRID)
    except OSError as error:
        remedy = "free some space, or copy the runs to a folder that you can write"
        raise UserError(f"cannot write the report into {folder}: {error.strerror or error}; {remedy}") from error
    return [folder / name for name in (*files, *([GRID] if drawn else []))]


def report_files(runs: Sequence[Run], title: str) -> dict[str, str]:
    """Return the texts of the report on `runs`, best first, by file name."""
    return {
        CSV: frame(runs).to_csv(index=False),
        MARKDOWN: markdown(runs, title) + repeats_markdown(repeats(runs)),
        PAGE: page_html(runs, title),
    }


def best_and_worst(runs: Sequence[Run], most: int = DRAWN) -> list[Run]:
    """Return at most `most` of the runs that have a picture, the first half of them the best and the rest the worst."""
    drawn = [run for run in runs if "last" in run.pictures]
    return drawn if len(drawn) <= most else [*drawn[: most - most // 2], *drawn[len(drawn) - most // 2 :]]


def named(root: Path, runs: Sequence[Run], names: Sequence[str]) -> list[Run]:
    """Return the runs of these names, best first; a path to a run folder, as a shell completes it, is a name too.

    Raises:
        UserError: For a name that is no run below `root`.
    """
    folders = {run.name: run.folder.resolve() for run in runs}
    wanted = {folders.get(name, Path(name).resolve()): name for name in names}
    if unknown := [name for folder, name in wanted.items() if folder not in folders.values()]:
        raise UserError(
            f"there is no run {unknown[0]!r} below {root}; the table names them; the folder goes before --compare"
        )
    return [run for run in runs if folders[run.name] in wanted]
