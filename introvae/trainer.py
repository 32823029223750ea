"""The loop: warm-up, schedules, log, checkpoints, pictures; the same call continues a run that was cut off."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from introvae import networks
from introvae.batches import Batches
from introvae.config import TrainConfig, value_at
from introvae.curves import write_curves
from introvae.data import ImageSet, to_float
from introvae.device import adam, autocast, compile_networks
from introvae.ema import MovingAverage
from introvae.errors import DivergedError, UserError
from introvae.metrics import COLUMNS, MEANS, of_all_processes, summary
from introvae.networks import IntroVAE
from introvae.parallel import is_first, share, world_size
from introvae.pictures import EARLY_STEPS, fixed_images, write_gif, write_picture
from introvae.randomness import derive, normal
from introvae.run import MetricsLog, load_checkpoint, read_metrics, save_checkpoint, write_params
from introvae.step import Noise, Optimisers, Terms, Weights, train_step

OnLog = Callable[[dict[str, float]], None]


class Trainer:
    """One run in one folder. `run()` trains to the end, `run(until)` to a step; then `model` can be looked at.

    Raises UserError if the folder holds a run with another configuration.
    """

    def __init__(
        self,
        config: TrainConfig,
        images: ImageSet,
        folder: Path,
        device: torch.device,
        start: Path | None = None,
    ) -> None:
        """`start` is a run folder whose last checkpoint a new run starts from, such as a warm-up's."""
        self.config, self.folder, self.device = config, folder, device
        _check_processes(config)
        if is_first():
            folder.mkdir(parents=True, exist_ok=True)
            write_params(folder, config, _machine(device, images))
        self.images = images.to(device)
        self.batches = Batches(self.images.train, config.batch_size, config.mirror, device)
        self.model = build_model(config, device)
        self.optimisers = Optimisers(*(adam(net, config.lr) for net in (self.model.encoder, self.model.decoder)))
        self.step = 0
        if config.start_weights is not None:
            self._start_from(Path(config.start_weights))
        self.average = MovingAverage(self.model, config.ema_decay) if config.ema_decay else None
        state, source = load_checkpoint(folder, device), folder
        if state is None and start is not None:
            state, source = load_checkpoint(start, device), start
        if state is not None:
            self._restore(state)
        if config.compile:
            compile_networks((self.model.encoder, self.model.decoder))
        kept = [row for row in read_metrics(source) if row["step"] <= self.step]
        self.log = MetricsLog(folder, COLUMNS, kept) if is_first() else None

    @property
    def evaluated(self) -> IntroVAE:
        """The model that pictures and scores look at: the moving average if there is one."""
        return self.average.model if self.average else self.model

    def run(self, until: int | None = None, on_log: OnLog | None = None) -> None:
        """Train up to step `until`, the configuration's last by default. `on_log` sees each row of metrics.csv.

        Raises DivergedError at the first log after a loss or parameter that is not finite; the last good
        checkpoint stays.
        """
        config = self.config
        last = config.steps if until is None else min(until, config.steps)
        self.model.train()
        sums = torch.zeros(len(MEANS), device=self.device)
        bad = torch.full((), -1, device=self.device)
        count, since = 0, time.perf_counter()
        while self.step < last:
            if self.step in EARLY_STEPS and is_first():  # here, so that 0 shows the initial weights
                self.write_picture()
            weights = weights_at(config, self.step)
            with autocast(self.device, config.precision):
                terms = self._train_step(weights)
            values = summary(of_all_processes(terms), weights.m)
            sums += values
            bad = torch.where((bad < 0) & ~values[:2].isfinite().all(), self.step, bad)
            if self.average:
                self.average.update(self.step)
            self.step += 1
            count += 1
            if self.step % config.log_every == 0 or self.step == last:
                speed = count * config.batch_size / (time.perf_counter() - since)
                row = self._row(weights, (sums / count).tolist(), speed)
                self._check_finite(int(bad), row)
                if self.log:
                    self.log.append(row)
                    self._keep(last)
                if on_log:
                    on_log(row)
                sums.zero_()
                count, since = 0, time.perf_counter()

    def _train_step(self, weights: Weights) -> Terms:
        """Draws are functions of (seed, step), so a resumed run repeats them."""
        seed, images = phase_seed(self.config, self.step), self.config.batch_size

        def draw(stream: str, *shape: int) -> Tensor:
            return share(normal((*shape, self.config.latent), seed, stream, self.step, self.device))

        noise = Noise(draw("posterior", images))
        if weights.alpha:
            noise = noise._replace(prior=draw("prior", images))
            if weights.objective == "soft":
                noise = noise._replace(fakes=draw("fakes", images, 2).transpose(0, 1))
        x = share(self.batches(seed, self.step)).contiguous(memory_format=torch.channels_last)
        return train_step(self.model, self.optimisers, x, noise, weights)

    def _row(self, weights: Weights, means: list[float], speed: float) -> dict[str, float]:
        head = (self.step, weights.alpha, weights.beta, weights.kl_weight)
        return dict(zip(COLUMNS, (*head, *means, speed), strict=True))

    def _keep(self, last: int) -> None:
        """Write what is due at this step: a picture, then a checkpoint, after which the step is never repeated."""
        if self.step % self.config.picture_every == 0 or self.step == last:
            self.write_picture()
        if self.step % self.config.checkpoint_every == 0 or self.step == last:
            self._save()

    def write_picture(self) -> None:
        """The same images and the same noise in every run of one latent size."""
        originals = to_float(fixed_images(self.images.validation).to(self.device))
        noise = normal((len(originals), self.config.latent), 0, "pictures").to(self.device)
        bands = (originals, self.evaluated.reconstruct(originals), self.evaluated.decode(noise))
        write_picture(self.folder, self.step, bands)

    def finish(self) -> None:
        """Draw what happened in the run, however it ended: curves.png and images/training.gif."""
        write_curves(self.folder, self.config)
        write_gif(self.folder)

    def _check_finite(self, bad: int, row: dict[str, float]) -> None:
        if bad < 0 and all(bool(p.isfinite().all()) for p in self.model.parameters()):
            return
        c = self.config
        losses = ", ".join(f"{name} {row[name]:.4g}" for name in ("loss_encoder", "loss_decoder", "kl_real"))
        where = f"step {bad + 1}" if bad >= 0 else f"the parameters at step {self.step}"
        raise DivergedError(
            f"{where} is not finite ({losses}; alpha {row['alpha']:.4g}, beta {row['beta']:.4g}, m {c.m:.4g}, "
            f"lr {c.lr:.4g}); the last good checkpoint stays in {self.folder}; lower lr, alpha or m"
        )

    def _save(self) -> None:
        model, optimisers = self.model, self.optimisers
        state: dict[str, Any] = {"step": self.step, "model": model.state_dict()}
        if self.average:
            state["average"] = self.average.model.state_dict()
        for optimiser, name in zip(optimisers, Optimisers._fields, strict=True):
            state[name] = optimiser.state_dict()
        save_checkpoint(self.folder, state)

    def _start_from(self, run: Path) -> None:
        """The weights that another run is evaluated with; raises UserError if they are not there or do not fit."""
        state = load_checkpoint(run, self.device)
        if state is None:
            raise UserError(f"{run} has no checkpoint to start from; give a run folder that has one")
        try:
            self.model.load_state_dict(state.get("average", state["model"]))
        except RuntimeError as error:
            raise UserError(f"the networks of {run} have other shapes than this run's; keep its settings") from error

    def _restore(self, state: dict[str, Any]) -> None:
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        if self.average:
            self.average.model.load_state_dict(state["average"])
        for optimiser, name in zip(self.optimisers, Optimisers._fields, strict=True):
            optimiser.load_state_dict(state[name])
            for group in optimiser.param_groups:
                group["lr"] = self.config.lr  # a run started from another's weights has its own


def build_model(config: TrainConfig, device: torch.device) -> IntroVAE:
    """The networks of a configuration with its initial weights, the same on every kind of device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(phase_seed(config, 0), "weights"))
        model = networks.build(config)
    return model.to(device).to(memory_format=torch.channels_last)


def phase_seed(config: TrainConfig, step: int) -> int:
    """The initial weights and the warm-up have a seed of their own, so that runs can share them."""
    if step >= config.warmup_steps or config.warmup_seed is None:
        return config.seed
    return config.warmup_seed


def weights_at(config: TrainConfig, step: int) -> Weights:
    """The loss weights of a step counted from 0: during the warm-up alpha is 0 and beta is warmup_beta."""
    c = config
    warmup = step < c.warmup_steps
    alpha = 0.0 if warmup else value_at(c.alpha, step)
    beta = c.warmup_beta if warmup and c.warmup_beta is not None else value_at(c.beta, step)
    alpha_decoder = alpha if c.alpha_decoder is None else c.alpha_decoder
    scale = 1.0 if c.objective == "intro" else 1 / (c.channels * c.image_size**2)
    return Weights(
        alpha,
        alpha_decoder,
        beta,
        value_at(c.kl_weight, step),
        c.m,
        c.hinge,
        c.objective,
        scale,
        c.beta_neg,
        c.gamma_r,
    )


def _check_processes(config: TrainConfig) -> None:
    count = world_size()
    if config.batch_size % count:
        raise UserError(f"batch_size is {config.batch_size}; allowed with {count} processes: a multiple of {count}")
    if count > 1 and config.norm == "batch":
        raise UserError(
            f"norm is 'batch'; allowed with {count} processes: group or none, which need no common statistics"
        )


def _machine(device: torch.device, images: ImageSet) -> dict[str, Any]:
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "torch": torch.__version__,
        "training_images": len(images.train),
        "validation_images": len(images.validation),
    }
