"""Training state: networks, optimizers, moving average and step; checkpoints of it, and models from these."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from introvae.config import TrainConfig
from introvae.errors import OutOfMemoryError, UserError, is_out_of_memory
from introvae.nn import networks
from introvae.nn.networks import IntroVAE
from introvae.randomness import derive
from introvae.runs.folder import load_checkpoint, read_config, read_white
from introvae.training.device import adam, find_device
from introvae.training.schedule import phase_seed, phase_step
from introvae.training.step import Optimizers


class State:
    """State of a new run, until `begin` continues another.

    Raises:
        OutOfMemoryError: If the networks do not fit the device.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.step = config, 0
        self.measured: int | None = None  # the step that the statistics of batch normalization are of
        try:
            self.model = build_model(config, device)
            self.optimizers = Optimizers(*(adam(net, config.lr) for net in (self.model.encoder, self.model.decoder)))
            self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"out of memory on {device}: {_memory_of_networks(config)}") from error

    @property
    def models(self) -> list[IntroVAE]:
        """The model in training and, if there is one, its moving average."""
        return [self.model, self.average.model] if self.average else [self.model]

    def begin(self, folder: Path, start: Path | None) -> Path:
        """Continue from the last checkpoint of `folder`, else of `start`, else begin with the weights that are named.

        Returns:
            The folder that is continued.
        """
        if load_checkpoint(folder, self.restore) is not None:
            return folder
        if start is not None:
            load_checkpoint(start, self.restore)
            return start
        if self.config.start_weights is not None:
            for model in self.models:
                load_weights(model, Path(self.config.start_weights))
        return folder

    def advance(self) -> None:
        """Count a step that is done."""
        if self.average:
            self.average.update(phase_step(self.config, self.step))
        self.step += 1

    def as_dict(self) -> dict[str, Any]:
        """Return the content of a checkpoint: tensors and plain values only."""
        state: dict[str, Any] = {"step": self.step, "model": self.model.state_dict()}
        if self.average:
            state["average"] = self.average.model.state_dict()
        return state | {name: optimizer.state_dict() for name, optimizer in self.optimizers._asdict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over the content of a checkpoint.

        Raises:
            Exception: Of some kind, as files are anything, if it does not belong to this configuration.
        """
        if not 0 < state["step"] <= self.config.steps:
            raise ValueError(f"step {state['step']} is not one of 1 to {self.config.steps}")
        if holds_weights_alone(state):
            raise ValueError("it holds weights alone, from which no training can continue")
        self.model.load_state_dict(_checked(state.get("model")))
        if self.average:
            self.average.model.load_state_dict(_checked(state.get("average")))
        for name, optimizer in self.optimizers._asdict().items():
            own = [(group["lr"], group["capturable"]) for group in optimizer.param_groups]
            optimizer.load_state_dict(state[name])
            for group, (lr, capturable) in zip(optimizer.param_groups, own, strict=True):
                group["lr"], group["capturable"] = lr, capturable  # the checkpoint may be another run's, or device's
                for parameter in group["params"]:
                    shapes = {moment.shape for moment in optimizer.state[parameter].values() if moment.dim()}
                    if shapes != {parameter.shape}:  # PyTorch would notice at the next step, or never
                        raise ValueError(f"the state of Adam does not fit the {name}")
        self.step = self.measured = state["step"]


class MovingAverage:
    """Exponential moving average of a model's parameters, for evaluation and pictures.

    The decay of update t, counted from 0 in the warm-up and again after it, is min(decay, (1 + t) / (10 + t)). The
    average spans a tenth of the steps trained so far, at most 1 / (1 - decay): it follows early weights closely and
    steadies late ones, whatever the length of the run. Batch statistics are not averaged, as averaged weights have
    statistics of their own, which `introvae.training.batch_statistics` measures.
    """

    def __init__(self, model: IntroVAE, decay: float) -> None:
        """Average `model` with a `decay` in (0, 1)."""
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._own: list[Tensor] = list(self.model.parameters())
        self._averaged: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, t: int) -> None:
        """Move toward the averaged model as it is now."""
        weight = 1 - min(self.decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(self._own, self._averaged, weight)


def holds_weights_alone(state: dict[str, Any]) -> bool:
    """Tell whether the content of a checkpoint was written by introvae-export."""
    return state.keys().isdisjoint(Optimizers._fields)


def build_model(config: TrainConfig, device: torch.device) -> IntroVAE:
    """Build a configuration's networks with its initial weights, which are the same on every kind of device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(phase_seed(config, 0), "weights"))
        model = networks.build(config)
    return model.to(device).to(memory_format=torch.channels_last)


def load_weights(model: IntroVAE, run: Path) -> None:
    """Load the weights that a run is evaluated with into a model.

    Raises:
        UserError: If the run has no checkpoint, or its weights have other shapes than the model.
    """
    state = load_checkpoint(run)
    if state is None:
        raise UserError(f"{run} has no checkpoint; give a run folder that has one")
    weights = evaluated_weights(run, state)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"the networks of {run} have other shapes than its settings say, or this run's") from error


def evaluated_weights(run: Path, state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that a run is evaluated with, of the content of its checkpoint.

    Raises:
        UserError: If there are none, or an earlier version has trained them in another way.
    """
    try:
        return _checked(state["average"] if "average" in state else state.get("model"))
    except ValueError as error:
        raise UserError(f"{run} cannot be used: {error}") from error


def load_run(run: Path | str, device: str = "auto") -> IntroVAE:
    """Load a trained run as a model with `encode`, `decode`, `reconstruct` and `sample`.

    Args:
        run: A run folder with a checkpoint.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".

    Returns:
        The model with the weights that the run is evaluated with, in evaluation mode.

    Raises:
        UserError: If there is no such run, or the device is not there.

    Examples:
        >>> import introvae
        >>> model = introvae.load_run("predictions/gallery/trial-008")
        >>> model.sample(4, seed=0).shape
        torch.Size([4, 1, 32, 32])
    """
    run = Path(run)
    model = build_model(read_config(run), find_device(device))
    model.encoder.white = read_white(run)
    load_weights(model, run)
    return model.eval()


def _memory_of_networks(config: TrainConfig) -> str:
    """Say what the networks take in training before any image, and what to do about it."""
    with torch.device("meta"):
        model = networks.build(config)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"the networks, their gradients and Adam's state alone take {16 * numbers / 2**30:.3g} GiB; "
        "halving --widths takes that to about a quarter"
    )


def _checked(weights: Any) -> dict[str, Tensor]:
    """Return the weights of a network, or raise ValueError if they are none or cannot be evaluated as trained."""
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in weights.items()
    ):
        raise ValueError("its checkpoint holds no weights of this package; train it again")
    if any(name.endswith(".running_mean") for name in weights):
        raise ValueError("an earlier version mixed the batch statistics of real images and fakes; train it again")
    return weights
