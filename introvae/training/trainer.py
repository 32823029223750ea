"""The training loop: warm-up, schedules, log, checkpoints and pictures; a run that was cut off continues."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from introvae.config import TrainConfig
from introvae.data.batches import Batches
from introvae.data.image_set import ImageSet, to_float
from introvae.errors import DivergedError, OutOfMemoryError, UserError, is_out_of_memory
from introvae.nn.networks import IntroVAE
from introvae.randomness import normal
from introvae.runs.folder import (
    CHECKPOINT,
    METRICS,
    MetricsLog,
    check_images,
    read_config,
    read_metrics,
    save_checkpoint,
    write_params,
)
from introvae.runs.pictures import EARLY_STEPS, fixed_images, write_picture
from introvae.training.batch_statistics import BATCHES, measure_statistics
from introvae.training.device import autocast, compile_networks, find_device
from introvae.training.distributed import first_alone, is_first, share, world_size
from introvae.training.graphs import GraphedStep
from introvae.training.metrics import COLUMNS, MEANS, of_all_processes, summary
from introvae.training.schedule import Weights, phase_seed, weights_at
from introvae.training.state import State
from introvae.training.step import Noise, Terms, train_step

OnLog = Callable[[dict[str, float]], None]


class Trainer:
    """One training run in one folder. `run()` trains to the end, `run(until)` to a step.

    Args:
        config: The run's settings; `image_size` must be that of the images, and `channels` as well, or 0.
        images: The images to train and validate on.
        folder: The run folder. A run in it that was cut off is continued from its last checkpoint.
        device: The device to train on: a torch.device, "auto", "cpu", "cuda", "cuda:N" or "mps".
        start: A run folder whose last checkpoint a new run starts from, such as a warm-up's.

    Raises:
        UserError: If the configuration is for images of another shape, if the folder holds a run with another
            configuration, or if this run, or the one that it starts from, was trained when there were more or fewer of
            its images, or if there is no run to start from, or no such device.
        OutOfMemoryError: If the networks do not fit the device.

    Examples:
        >>> from introvae import TrainConfig, Trainer, load_images
        >>> images = load_images("orl-faces", image_size=16)
        >>> config = TrainConfig(image_size=16, steps=20, warmup_steps=10)
        >>> trainer = Trainer(config, images, "predictions/example", device="cpu")
        >>> trainer.run()
        >>> trainer.evaluated.sample(4).shape
        torch.Size([4, 1, 16, 16])
    """

    def __init__(
        self,
        config: TrainConfig,
        images: ImageSet,
        folder: Path | str,
        device: torch.device | str = "auto",
        start: Path | str | None = None,
    ) -> None:
        config, start = _for_images(config, images), Path(start) if start else None
        device = find_device(device) if isinstance(device, str) else device
        self.config, self.folder, self.device = config, Path(folder), device
        _check_processes(config)
        origin = None if (self.folder / CHECKPOINT).exists() else _origin(config, start)
        if origin:
            check_images(origin, images.facts)
        self.images = images.to(device)
        self.batches = Batches(self.images.train, config.batch_size, config.mirror, device)
        with first_alone():
            if is_first():
                self.folder.mkdir(parents=True, exist_ok=True)
                write_params(self.folder, config, _machine(device, images))
                check_images(self.folder, images.facts)
            self.state = State(config, device)
            self.begun_with = self._logged(self.state.begin(self.folder, start))
            self.log = MetricsLog(self.folder, COLUMNS, self.begun_with) if is_first() else None
        if config.compile:
            compile_networks((self.model.encoder, self.model.decoder))
        graphs = device.type == "cuda" and world_size() == 1 and not (config.compile or config.activation_checkpointing)
        self._replayed = GraphedStep(self.model, self.state.optimizers) if graphs else None

    @property
    def model(self) -> IntroVAE:
        """The model in training; its batch statistics are of the last picture, checkpoint or look at `evaluated`."""
        return self.state.model

    @property
    def step(self) -> int:
        """Number of steps done."""
        return self.state.step

    @property
    def evaluated(self) -> IntroVAE:
        """The model that pictures and scores look at: the moving average if there is one."""
        self._measure()
        return self.state.average.model if self.state.average else self.model

    def run(
        self, until: int | None = None, on_log: OnLog | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Train up to a step.

        Args:
            until: The number of steps to reach, the configuration's by default.
            on_log: Called with each row of metrics.csv.
            stop: Called at each log; once it returns true a checkpoint is written there and the call returns.

        Raises:
            DivergedError: At the first log after a loss or parameter that is not finite; the last good checkpoint
                stays.
            OutOfMemoryError: If a step needs more memory than there is.
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
            values = summary(of_all_processes(self._train_step(weights)), weights.m)
            sums += values
            bad = torch.where((bad < 0) & ~values[:2].isfinite().all(), self.step, bad)
            self.state.advance()
            count += 1
            if self.step % config.log_every == 0 or self.step == last:
                means = (sums / count).tolist()  # which waits for the device to be done
                row = self._row(weights, means, count * config.batch_size / (time.perf_counter() - since))
                self._check_finite(int(bad), row)
                stopped = stop()
                if self.log:
                    self.log.append(row)
                    self._keep(last, stopped)
                if on_log:
                    on_log(row)
                if stopped:
                    return
                sums.zero_()
                count, since = 0, time.perf_counter()

    def _train_step(self, weights: Weights) -> Terms:
        """Run the next step on draws that are functions of (seed, step), so that a resumed run repeats them."""
        seed, images = phase_seed(self.config, self.step), self.config.batch_size

        def draw(stream: str, *shape: int) -> Tensor:
            return share(normal((*shape, self.config.latent), seed, stream, self.step, self.device))

        try:
            noise = Noise(draw("posterior", images))
            if weights.alpha:
                noise = noise._replace(prior=draw("prior", images))
                if weights.objective == "soft":
                    noise = noise._replace(fakes=draw("fakes", images, 2).transpose(0, 1))
            x = share(self.batches(seed, self.step)).contiguous(memory_format=torch.channels_last)
            with autocast(self.device, self.config.precision):
                if self._replayed:
                    return self._replayed(x, noise, weights)
                return train_step(self.model, self.state.optimizers, x, noise, weights)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        raise OutOfMemoryError(  # here, where nothing holds on to the step's tensors
            f"out of memory on {self.device} in step {self.step + 1} with --batch-size {images}: halve the batch"
            + (", or use --precision bf16" if self.config.precision == "fp32" else "")
        )

    def _row(self, weights: Weights, means: list[float], speed: float) -> dict[str, float]:
        head = (self.step, weights.alpha, weights.beta, weights.kl_weight)
        return dict(zip(COLUMNS, (*head, *means, speed), strict=True))

    def _keep(self, last: int, stopped: bool) -> None:
        """Write what is due at this step: a picture, then a checkpoint, after which the step is never repeated."""
        if self.step % self.config.picture_every == 0 or self.step == last:
            self.write_picture()
        if self.step % self.config.checkpoint_every == 0 or self.step == last or stopped:
            self._save()

    def write_picture(self) -> None:
        """Draw the same images and the same noise in every run of one latent size."""
        originals = to_float(fixed_images(self.images.validation).to(self.device))
        noise = normal((len(originals), self.config.latent), 0, "pictures").to(self.device)
        bands = (originals, self.evaluated.reconstruct(originals), self.evaluated.decode(noise, "sample"))
        write_picture(self.folder, self.step, bands)

    def _measure(self) -> None:
        """Measure what batch norm needs in evaluation, on the same images and noise at every step."""
        c = self.config
        if c.norm != "batch" or self.state.measured == self.step:
            return
        shape = (2, c.batch_size, c.latent)
        images = (self.batches(c.seed, batch).contiguous(memory_format=torch.channels_last) for batch in range(BATCHES))
        noise = (normal(shape, c.seed, "statistics", batch, self.device) for batch in range(BATCHES))
        measure_statistics(self.state.models, zip(images, noise, strict=True))
        self.state.measured = self.step

    def _check_finite(self, bad: int, row: dict[str, float]) -> None:
        if bad < 0 and all(bool(p.isfinite().all()) for p in self.model.parameters()):
            return
        c = self.config
        losses = ", ".join(f"{name} {row[name]:.4g}" for name in ("loss_encoder", "loss_decoder", "kl_real"))
        there = (self.folder / CHECKPOINT).exists()
        kept = f"the last good checkpoint stays in {self.folder}" if there else f"{self.folder} has no checkpoint yet"
        where = f"step {bad + 1}" if bad >= 0 else f"the parameters at step {self.step}"
        raise DivergedError(
            f"{where} is not finite ({losses}; alpha {row['alpha']:.4g}, beta {row['beta']:.4g}, m {c.m:.4g}, "
            f"lr {c.lr:.4g}); {kept}; lower lr, alpha or m"
        )

    def _save(self) -> None:
        assert self.log
        self.log.sync()
        self._measure()
        save_checkpoint(self.folder, self.state.as_dict())

    def _logged(self, source: Path) -> list[dict[str, float]]:
        """Read the rows of a folder's metrics.csv up to this step, in order, and of those of one step the last.

        A process that was taken for dead may have added a row after another one took over.

        Raises:
            UserError: If they are not this run's.
        """
        by_step = {row["step"]: row for row in read_metrics(source) if row["step"] <= self.step}
        rows = [by_step[step] for step in sorted(by_step)]
        if (rows[-1]["step"] if rows else 0) != self.step or any(tuple(row) != COLUMNS for row in rows):
            raise UserError(
                f"{source / METRICS} does not lead to step {self.step}, where the checkpoint is, with the columns "
                f"of this version; remove {source} to start over"
            )
        return rows


def _for_images(config: TrainConfig, images: ImageSet) -> TrainConfig:
    """Return the configuration with the images' channels, if it leaves them open."""
    channels, size = images.channels, images.train.shape[-1]
    if config.image_size != size or config.channels not in (0, channels):
        raise UserError(
            f"image_size is {config.image_size} and channels {config.channels}; allowed: {size}, as the images have, "
            f"and {channels} or 0"
        )
    return replace(config, channels=channels)


def _check_processes(config: TrainConfig) -> None:
    count = world_size()
    if config.batch_size % count:
        raise UserError(f"batch_size is {config.batch_size}; allowed with {count} processes: a multiple of {count}")
    if count > 1 and config.norm == "batch":
        raise UserError(
            f"norm is 'batch'; allowed with {count} processes: group or none, which need no common statistics"
        )


def _origin(config: TrainConfig, start: Path | None) -> Path | None:
    """Return the run that a run begins from; one that was trained on another image set tells nothing of this."""
    if start and not (start / METRICS).exists():
        raise UserError(f"{start} is no run to start from: it holds no {METRICS}")
    if start or not config.start_weights:
        return start
    weights = Path(config.start_weights)
    return weights if read_config(weights).images == config.images else None


def _machine(device: torch.device, images: ImageSet) -> dict[str, Any]:
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
        "torch": torch.__version__,
    } | images.facts
