"""Charts of a study's trials in their course: over steps, and one after another."""

import re
from collections.abc import Sequence
from itertools import accumulate

from analysis.report.charts.chart import SCORE, Chart, Points, is_finite, series_of, with_numbers
from analysis.report.runs import Run
from introvae.runs.record import RUNGS, RunState

COMPLETE, OTHERS = "#3b8fd0", "#8c8c8c"  # colors of lines, on white and on black


def scores_at_rungs(runs: Sequence[Run]) -> Chart | None:
    """Chart the scores at rungs of a study's trials, as far as these were trained."""
    lines, ends = [], dict[str, tuple[float, float]]()
    for run in reversed(runs):  # the best on top
        if known := _scores_by_step(run):
            x, y = zip(*known, strict=True)
            color = COMPLETE if run.state is RunState.COMPLETE else OTHERS
            lines.append({"label": run.name, "x": x, "y": y, "color": color})
            ends[run.name] = known[-1]
    if not lines:
        return None
    points = {"label": "", "run": list(ends), "x": [x for x, _ in ends.values()], "y": [y for _, y in ends.values()]}
    panel = {
        "x": "steps after the warm-up", "y": SCORE, "xLog": True, "yLog": False, "lines": lines, "points": [points],
        "legend": False,
    }  # fmt: skip
    caption = (
        f"Each line is one of {len(lines)} trials, which rests where it ends or has been trained on from there; those "
        "that came to the last step are blue. Scores at rungs are of fewer images."
    )
    return Chart(name="rungs", title="Scores at rungs", caption=caption, panels=[panel])


def _scores_by_step(run: Run) -> list[tuple[float, float]]:
    """Return the scores of a run by its steps after the warm-up, the last one that of its end; none without rungs."""
    known = [(step, score) for step, score in run.measures.get(RUNGS, ())]
    warmup = run.config.warmup_steps if run.config else 0
    if known and run.state is RunState.COMPLETE and is_finite(run.scores.score):
        known.append((run.step, run.scores.score))
    return sorted((step - warmup, score) for step, score in known if step > warmup)


def history(points: Points) -> Chart | None:
    """Chart the scores of a study's trials by their numbers, and the best of the complete ones up to each."""
    found = [(_trial(run), run, known) for run, known in with_numbers(points, linear=["score"])]
    trials = [(study, number, run, known) for (study, number), run, known in found if number is not None]
    if len(trials) < 2:
        return None
    lines = []
    for study in sorted({study for study, *_ in trials}):
        own = sorted((number, run, known["score"]) for of, number, run, known in trials if of == study)
        complete = [(number, score) for number, run, score in own if run.state is RunState.COMPLETE]
        if complete:
            numbers, scores = zip(*complete, strict=True)
            best = list(accumulate(scores, max))
            until = [*numbers[1:], own[-1][0]]  # the line is level up to the next one
            x = [end for ends in zip(numbers, until, strict=True) for end in ends]
            lines.append({"label": study, "x": x, "y": [value for value in best for _ in range(2)]})
    numbered = [(run, {**known, "number": number}) for _, number, run, known in trials]
    panel = {"x": "number of the trial", "y": SCORE, "xLog": False, "yLog": False, "lines": lines,
             "points": [series_of(numbered, "number", "score")], "legend": False}  # fmt: skip
    caption = (
        "Line: the best of the complete trials up to each number. Trials left behind have the score they had then."
    )
    return Chart(name="history", title="Best score so far", caption=caption, panels=[panel])


def _trial(run: Run) -> tuple[str, int | None]:
    """Return the study that a run belongs to by its name, and its number there; None if it is no trial."""
    study, _, name = run.name.rpartition("/")
    found = re.fullmatch(r"trial-(\d+)", name)
    return study, int(found[1]) if found else None
