"""An Optuna study over alpha, beta and m."""

from typing import Any

__all__ = ["StudyConfig", "run_study"]


def __getattr__(name: str) -> Any:
    """PyTorch takes seconds to import, so that it waits until it is asked for."""
    if name == "StudyConfig":
        from sweeps.config import StudyConfig

        return StudyConfig
    if name != "run_study":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from sweeps.run import run_study

    return run_study
