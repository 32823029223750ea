"""All charts that the runs of one study have the numbers for."""

from collections.abc import Sequence

from analysis.report.charts.chart import PARAMETERS, Chart, numbers
from analysis.report.charts.parameters import importance, parallel, score_against, sweep_map
from analysis.report.charts.predictions import predicted_against_measured, prediction
from analysis.report.charts.trials import history, scores_at_rungs
from analysis.report.runs import Run


def charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the charts that the runs of one study have the numbers for.

    The first of the runs are drawn on top of the others.
    """
    points = [(run, numbers(run)) for run in runs]
    found = [
        sweep_map(points),
        scores_at_rungs(runs),
        history(points),
        parallel(points),
        *(score_against(points, name) for name in PARAMETERS),
        importance(points),
        predicted_against_measured(points),
        prediction(points),
    ]
    return [chart for chart in found if chart]
