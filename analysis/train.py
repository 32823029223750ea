"""introvae-train: the training command together with the evaluation of what it trained."""

from typing import TYPE_CHECKING

from introvae.commands import train
from introvae.errors import DivergedError

if TYPE_CHECKING:
    from introvae.training.trainer import Trainer


def main(argv: list[str] | None = None) -> int:
    """Run introvae-train and return its exit code."""
    return train.main(argv, evaluate)


def evaluate(trainer: "Trainer", error: DivergedError | None) -> None:
    """Finish the run of a trainer that has reached its last step, or diverged."""
    from analysis.evaluate import finish  # imports PyTorch, which --help does not need
    from introvae.runs.record import RunState

    if error is None:
        finish(trainer.folder, trainer.config, trainer.images, trainer.evaluated)
    else:
        finish(trainer.folder, trainer.config, trainer.images, None, state=RunState.DIVERGED, reason=str(error))


if __name__ == "__main__":
    raise SystemExit(main())
