"""IntroVAE (Huang et al. 2018): a model, and how it is trained."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from introvae.config import TrainConfig
    from introvae.data.image_set import load_images, split_images
    from introvae.training.state import load_run
    from introvae.training.trainer import Trainer

__version__ = "0.1.0"
__all__ = ["TrainConfig", "Trainer", "load_images", "load_run", "split_images"]
__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["TrainConfig"],
        "data.image_set": ["load_images", "split_images"],
        "training.state": ["load_run"],
        "training.trainer": ["Trainer"],
    },
)
