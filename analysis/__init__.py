"""Analysis: scores of trained runs, and of plain arrays of images; reports that compare them."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from analysis.evaluate import score_run
    from analysis.measures.score import score_images
    from analysis.report.runs import read_runs
    from analysis.report.write import write_report

__all__ = ["read_runs", "score_images", "score_run", "write_report"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "evaluate": ["score_run"],
        "measures.score": ["score_images"],
        "report.runs": ["read_runs"],
        "report.write": ["write_report"],
    },
)
