"""Sweeps: an Optuna study over alpha, beta and m."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from sweeps.config import StudyConfig
    from sweeps.run import run_study
    from sweeps.search.dimensions import Linear
    from sweeps.search.space import Space

__all__ = ["Linear", "Space", "StudyConfig", "run_study"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["StudyConfig"], "run": ["run_study"], "search.dimensions": ["Linear"], "search.space": ["Space"],
    },
)  # fmt: skip
