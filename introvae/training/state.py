"""What a checkpoint holds and a resumed run needs: networks, optimisers, moving average, step."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from introvae.config import TrainConfig
from introvae.errors import OutOfMemoryError, UserError, is_out_of_memory
from introvae.nn import networks
from introvae.nn.networks import IntroVAE
from introvae.randomness import derive
from introvae.runs.folder import load_checkpoint, read_config
from introvae.training.device import adam, choose_device
from introvae.training.schedule import phase_seed
from introvae.training.step import Optimisers


class State:
    """The state of a new run, until `begin` continues another.

    Raises OutOfMemoryError if the networks do not fit the device.
    """

    def __init__(self, config: TrainConfig, device: torch.device) -> None:
        self.config, self.step = config, 0
        try:
            self.model = build_model(config, device)
            self.optimisers = Optimisers(*(adam(net, config.lr) for net in (self.model.encoder, self.model.decoder)))
            if config.start_weights is not None:
                load_weights(self.model, Path(config.start_weights))
            self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"out of memory on {device}: {networks_need(config)}") from error

    def begin(self, folder: Path, start: Path | None) -> Path:
        """Go on from the last checkpoint of `folder`, else of `start`; gives the folder whose run is continued."""
        if load_checkpoint(folder, self.restore) is None and start is not None:
            load_checkpoint(start, self.restore)
            return start
        return folder

    def advance(self) -> None:
        """Count a step that was done."""
        if self.average:
            self.average.update(self.step)
        self.step += 1

    def as_dict(self) -> dict[str, Any]:
        """Tensors and plain values only."""
        state: dict[str, Any] = {"step": self.step, "model": self.model.state_dict()}
        if self.average:
            state["average"] = self.average.model.state_dict()
        return state | {name: optimiser.state_dict() for name, optimiser in self.optimisers._asdict().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Raises an exception if the state is none of this configuration."""
        if not 0 < state["step"] <= self.config.steps:
            raise ValueError(f"step {state['step']} is not one of 1 to {self.config.steps}")
        if holds_weights_alone(state):
            raise ValueError("it holds weights alone, which no training goes on from")
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"])
        for name, optimiser in self.optimisers._asdict().items():
            optimiser.load_state_dict(state[name])
            for group in optimiser.param_groups:
                group["lr"] = self.config.lr  # a run started from another's weights has its own
                for parameter in group["params"]:
                    shapes = {moment.shape for moment in optimiser.state[parameter].values() if moment.dim()}
                    if shapes != {parameter.shape}:  # PyTorch would notice at the next step, or never
                        raise ValueError(f"the state of Adam does not fit the {name}")
        self.step = state["step"]


def holds_weights_alone(state: dict[str, Any]) -> bool:
    """Whether a checkpoint is one of introvae-export."""
    return state.keys().isdisjoint(Optimisers._fields)


def build_model(config: TrainConfig, device: torch.device) -> IntroVAE:
    """The networks of a configuration with its initial weights, the same on every kind of device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(phase_seed(config, 0), "weights"))
        model = networks.build(config)
    return model.to(device).to(memory_format=torch.channels_last)


def load_weights(model: IntroVAE, run: Path) -> None:
    """The weights that a run is evaluated with; raises UserError if they are not there or do not fit."""
    state = load_checkpoint(run)
    if state is None:
        raise UserError(f"{run} has no checkpoint; give a run folder that has one")
    try:
        model.load_state_dict(state.get("average", state["model"]))
    except (RuntimeError, KeyError) as error:
        raise UserError(f"the networks of {run} have other shapes than its settings say, or this run's") from error


def load_run(run: Path | str, device: str = "auto") -> IntroVAE:
    """A trained run as a model with `encode`, `decode`, `reconstruct` and `sample`.

    Raises UserError if there is none, or the device is not there.
    """
    run = Path(run)
    model = build_model(read_config(run), choose_device(device))
    load_weights(model, run)
    return model.eval()


class MovingAverage:
    """The average of parameters and buffers; `decay` in (0, 1) is reached slowly, so that early weights are forgotten.

    At update t, counted from 0, the decay is min(decay, (1 + t) / (10 + t)).
    """

    def __init__(self, model: IntroVAE, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._own = _tensors(self.model)
        self._averaged = _tensors(model)

    def update(self, t: int) -> None:
        """Move towards the model that was given at the start, as it is now."""
        weight = 1 - min(self.decay, (1 + t) / (10 + t))
        torch._foreach_lerp_(self._own, self._averaged, weight)


def _tensors(model: IntroVAE) -> list[Tensor]:
    """Every parameter and buffer but batch norm's counters, which evaluation does not look at."""
    return [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]


def networks_need(config: TrainConfig) -> str:
    """What the networks take in training before any image, in words, and what to do about it."""
    with torch.device("meta"):
        model = networks.build(config)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"the networks, their gradients and Adam's state alone take {16 * numbers / 2**30:.3g} GiB; "
        "halving --widths takes that to about a quarter"
    )
