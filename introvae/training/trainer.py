"""The loop: warm-up, schedules, log, checkpoints, pictures; the same call continues a run that was cut off."""

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
from introvae.runs.curves import write_curves
from introvae.runs.folder import METRICS, MetricsLog, read_metrics, save_checkpoint, write_params
from introvae.runs.pictures import EARLY_STEPS, fixed_images, write_gif, write_picture
from introvae.training.device import autocast, compile_networks, release_freed_memory
from introvae.training.distributed import first_alone, is_first, share, world_size
from introvae.training.metrics import COLUMNS, MEANS, of_all_processes, summary
from introvae.training.schedule import Weights, phase_seed, weights_at
from introvae.training.state import State, networks_need
from introvae.training.step import Noise, Terms, train_step

OnLog = Callable[[dict[str, float]], None]


class Trainer:
    """One run in one folder. `run()` trains to the end, `run(until)` to a step; then `model` can be looked at.

    Raises UserError if the folder holds a run with another configuration, OutOfMemoryError if memory is short.
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
        self.images = images.to(device)
        self.batches = Batches(self.images.train, config.batch_size, config.mirror, device)
        with first_alone():
            if is_first():
                folder.mkdir(parents=True, exist_ok=True)
                write_params(folder, config, _machine(device, images))
            self.state = State(config, device)
            kept = self._logged(self.state.begin(folder, start))
            self.log = MetricsLog(folder, COLUMNS, kept) if is_first() else None
        if config.compile:
            compile_networks((self.model.encoder, self.model.decoder))

    @property
    def model(self) -> IntroVAE:
        """The model in training."""
        return self.state.model

    @property
    def step(self) -> int:
        """Steps done."""
        return self.state.step

    @property
    def evaluated(self) -> IntroVAE:
        """The model that pictures and scores look at: the moving average if there is one."""
        return self.state.average.model if self.state.average else self.model

    def run(
        self, until: int | None = None, on_log: OnLog | None = None, stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Train up to step `until`, the configuration's last by default. `on_log` sees each row of metrics.csv.

        `stop` is asked at each log; when it is true a checkpoint is written there and the call returns.

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
            terms = self._attempt(weights)
            if terms is None:
                raise self._out_of_memory()
            values = summary(of_all_processes(terms), weights.m)
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

    def _attempt(self, weights: Weights) -> Terms | None:
        """A step, or None if memory does not suffice; what it had allocated is free again by then."""
        try:
            return self._train_step(weights)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        return None

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
        with autocast(self.device, self.config.precision):
            return train_step(self.model, self.state.optimisers, x, noise, weights)

    def _out_of_memory(self) -> OutOfMemoryError:
        """What to lower and by how much: found by trying, so this trainer is of no further use."""
        c, where = self.config, f"out of memory on {self.device} in step {self.step + 1}"
        if world_size() > 1:  # the others wait for this one's gradients, so there is no trying
            return OutOfMemoryError(f"{where} with --batch-size {c.batch_size}: halve it, or start more processes")
        fits = 1 << (c.batch_size - 1).bit_length() >> 1  # the largest power of two below
        while fits and not self._fits(fits):
            fits //= 2
        remedy = f"--batch-size {fits} fits" + ("; with --precision bf16 more may" if c.precision == "fp32" else "")
        none = f"no smaller batch fits either; {networks_need(c)}"
        return OutOfMemoryError(f"{where} with --batch-size {c.batch_size}: {remedy if fits else none}")

    def _fits(self, batch_size: int) -> bool:
        """Whether there is memory for a step of the adversarial phase on so many images."""
        self.config = replace(self.config, batch_size=batch_size)
        self.batches = Batches(self.images.train, batch_size, self.config.mirror, self.device)
        release_freed_memory(self.device)
        weights = weights_at(self.config, self.config.steps - 1)
        return all(self._attempt(weights) for _ in range(2))  # the second lives beside the Adam state of the first

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
        assert self.log
        self.log.sync()
        save_checkpoint(self.folder, self.state.as_dict())

    def _logged(self, source: Path) -> list[dict[str, float]]:
        """The rows of a folder's metrics.csv up to this step. Raises UserError if they are not this run's."""
        rows = [row for row in read_metrics(source) if row["step"] <= self.step]
        if (rows[-1]["step"] if rows else 0) != self.step or any(tuple(row) != COLUMNS for row in rows):
            raise UserError(
                f"{source / METRICS} does not lead to step {self.step}, where the checkpoint is, with the columns "
                f"of this version; remove {source} to start anew"
            )
        return rows


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
