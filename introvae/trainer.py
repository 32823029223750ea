"""The loop: warm-up, schedules, log, checkpoints, pictures; the same call continues a run that was cut off."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from introvae import networks
from introvae.config import TrainConfig, value_at
from introvae.data import Batches, ImageSet, to_float
from introvae.device import adam, autocast, is_out_of_memory
from introvae.errors import DivergedError, OutOfMemoryError, UserError
from introvae.networks import IntroVAE
from introvae.pictures import fixed_images, write_picture
from introvae.randomness import derive, normal
from introvae.run import METRICS, MetricsLog, load_checkpoint, read_metrics, save_checkpoint, write_params
from introvae.step import Optimisers, Terms, Weights, train_step

MEANS = (  # of every step since the row before
    "loss_encoder", "loss_decoder", "reconstruction",
    "kl_real", "kl_real_p95", "kl_reconstruction", "kl_sample", "inside_margin",
    "mu_mean", "mu_lowest", "mu_highest", "sigma_mean", "sigma_lowest", "sigma_highest",
)  # fmt: skip
COLUMNS = ("step", "alpha", "beta", "kl_weight", *MEANS, "images_per_second")

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
        folder.mkdir(parents=True, exist_ok=True)
        write_params(folder, config, _machine(device, images))
        self.images = images.to(device)
        self.batches = Batches(self.images.train, config.batch_size, config.mirror, device)
        self.step = 0
        try:
            source = self._begin(start)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemoryError(f"out of memory on {device}: {_networks_need(config)}") from error
        self.log = MetricsLog(folder, COLUMNS, self._logged(source))

    def _begin(self, start: Path | None) -> Path:
        """Build the networks or restore them; gives the folder whose run is continued."""
        self.model = build_model(self.config, self.device)
        self.optimisers = Optimisers(*(adam(net, self.config.lr) for net in (self.model.encoder, self.model.decoder)))
        if load_checkpoint(self.folder, self._restore) is None and start is not None:
            load_checkpoint(start, self._restore)
            return start
        return self.folder

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
            weights = weights_at(config, self.step)
            terms = self._attempt(weights)
            if terms is None:
                raise self._out_of_memory()
            values = _summary(terms, weights.m)
            sums += values
            bad = torch.where((bad < 0) & ~values[:2].isfinite().all(), self.step, bad)
            self.step += 1
            count += 1
            if self.step % config.log_every == 0 or self.step == last:
                speed = count * config.batch_size / (time.perf_counter() - since)
                row = self._row(weights, (sums / count).tolist(), speed)
                self._check_finite(int(bad), row)
                self.log.append(row)
                if on_log:
                    on_log(row)
                self._keep(last)
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
        step, shape = self.step, (self.config.batch_size, self.config.latent)
        seed = phase_seed(self.config, step)
        z_prior = normal(shape, seed, "prior", step, self.device) if weights.alpha else None
        with autocast(self.device, self.config.precision):
            return train_step(
                self.model,
                self.optimisers,
                self.batches(seed, step).contiguous(memory_format=torch.channels_last),
                normal(shape, seed, "posterior", step, self.device),
                z_prior,
                weights,
            )

    def _out_of_memory(self) -> OutOfMemoryError:
        """What to lower and by how much: found by trying, so this trainer is of no further use."""
        c = self.config
        fits = 1 << (c.batch_size - 1).bit_length() >> 1  # the largest power of two below
        while fits and not self._fits(fits):
            fits //= 2
        remedy = f"--batch-size {fits} fits" + ("; with --precision bf16 more may" if c.precision == "fp32" else "")
        return OutOfMemoryError(
            f"out of memory on {self.device} in step {self.step + 1} with --batch-size {c.batch_size}: "
            + (remedy if fits else f"no smaller batch fits either; {_networks_need(c)}")
        )

    def _fits(self, batch_size: int) -> bool:
        """Whether there is memory for a step of the adversarial phase on so many images."""
        self.config = replace(self.config, batch_size=batch_size)
        self.batches = Batches(self.images.train, batch_size, self.config.mirror, self.device)
        weights = weights_at(self.config, self.config.steps - 1)
        return all(self._attempt(weights) for _ in range(2))  # the second lives beside the Adam state of the first

    def _row(self, weights: Weights, means: list[float], speed: float) -> dict[str, float]:
        head = (self.step, weights.alpha, weights.beta, weights.kl_weight)
        return dict(zip(COLUMNS, (*head, *means, speed), strict=True))

    def _keep(self, last: int) -> None:
        """Write what is due at this step: a picture, a checkpoint; a run cut off in between does both again."""
        if self.step % self.config.picture_every == 0 or self.step == last:
            self.write_picture()
        if self.step % self.config.checkpoint_every == 0 or self.step == last:
            self._save()

    def write_picture(self) -> None:
        """The same images and the same noise in every run of one latent size."""
        originals = to_float(fixed_images(self.images.validation).to(self.device))
        noise = normal((len(originals), self.config.latent), 0, "pictures").to(self.device)
        bands = (originals, self.model.reconstruct(originals), self.model.decode(noise))
        write_picture(self.folder, self.step, bands)

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
        for optimiser, name in zip(optimisers, Optimisers._fields, strict=True):
            state[name] = optimiser.state_dict()
        self.log.sync()
        save_checkpoint(self.folder, state)

    def _restore(self, state: dict[str, Any]) -> None:
        """Raises an exception if the state is none of this configuration."""
        if not 0 < state["step"] <= self.config.steps:
            raise ValueError(f"step {state['step']} is not one of 1 to {self.config.steps}")
        self.model.load_state_dict(state["model"])
        for optimiser, name in zip(self.optimisers, Optimisers._fields, strict=True):
            optimiser.load_state_dict(state[name])
            for group in optimiser.param_groups:
                group["lr"] = self.config.lr  # a run started from another's weights has its own
                for parameter in group["params"]:
                    shapes = {moment.shape for moment in optimiser.state[parameter].values() if moment.dim()}
                    if shapes != {parameter.shape}:  # PyTorch would notice at the next step, or never
                        raise ValueError(f"the state of Adam does not fit the {name}")
        self.step = state["step"]

    def _logged(self, source: Path) -> list[dict[str, float]]:
        """The rows of a folder's metrics.csv up to this step. Raises UserError if they are not this run's."""
        rows = [row for row in read_metrics(source) if row["step"] <= self.step]
        if (rows[-1]["step"] if rows else 0) != self.step or any(tuple(row) != COLUMNS for row in rows):
            raise UserError(
                f"{source / METRICS} does not lead to step {self.step}, where the checkpoint is, with the columns "
                f"of this version; remove {source} to start anew"
            )
        return rows


def build_model(config: TrainConfig, device: torch.device) -> IntroVAE:
    """The networks of a configuration with its initial weights, the same on every kind of device."""
    c = config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(phase_seed(c, 0), "weights"))
        model = networks.build(c.image_size, c.channels, c.latent, c.widths, c.norm, c.output)
    return model.to(device).to(memory_format=torch.channels_last)


def _networks_need(c: TrainConfig) -> str:
    with torch.device("meta"):
        model = networks.build(c.image_size, c.channels, c.latent, c.widths, c.norm, c.output)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    return (
        f"the networks, their gradients and Adam's state alone take {16 * numbers / 2**30:.3g} GiB; "
        "halving --widths takes that to about a quarter"
    )


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
    return Weights(alpha, alpha_decoder, beta, value_at(c.kl_weight, step), c.m, c.hinge)


def _summary(terms: Terms, m: float) -> Tensor:
    """The values of MEANS for one step, on the device; NaN where a VAE step has none."""
    sigma = torch.exp(0.5 * terms.logvar)
    none = terms.loss_encoder.new_full((), math.nan)
    kl_r, kl_p = terms.kl_reconstruction, terms.kl_sample
    fakes = [none, none, none]
    if kl_r is not None and kl_p is not None:
        fakes = [kl_r.mean(), kl_p.mean(), (torch.cat([kl_r, kl_p]) < m).float().mean()]
    kl = terms.kl_real
    latents = [value for x in (terms.mu, sigma) for value in (x.mean(), x.min(), x.max())]
    energies = [terms.reconstruction.mean(), kl.mean(), kl.quantile(0.95)]
    return torch.stack([terms.loss_encoder, terms.loss_decoder, *energies, *fakes, *latents])


def _machine(device: torch.device, images: ImageSet) -> dict[str, Any]:
    return {
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "training_images": len(images.train),
        "validation_images": len(images.validation),
    }
