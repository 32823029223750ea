"""IntroVAE (Huang et al. 2018): a model and how it is trained."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["load_run"]


def __getattr__(name: str) -> Any:
    """PyTorch takes seconds to import, so that it waits until it is asked for."""
    if name != "load_run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from introvae.training.state import load_run

    return load_run
