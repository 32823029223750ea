"""One trial: train, score at rungs, prune, and tell a failure from a bad score."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import torch
from torch import Tensor

from analysis.collapse import image_collapse
from analysis.latent_pictures import write_latent_pictures
from analysis.measures import measure_run
from analysis.outputs import outputs, scored_images
from analysis.score import score_images, weighted
from analysis.spectrum import vae_kl
from introvae.config import TrainConfig, dump_toml
from introvae.data import ImageSet
from introvae.errors import DivergedError, OutOfMemoryError
from introvae.memory import is_out_of_memory
from introvae.randomness import derive
from introvae.run import CHECKPOINT, read_metrics, write_scores
from introvae.trainer import Trainer
from sweeps.config import searched
from sweeps.dashboard import constrain, upload_picture
from sweeps.pruning import Rules, Stopped, rungs
from sweeps.slots import DRAWN, CutOff, given_up, patient_lock
from sweeps.space import Space, rounded
from sweeps.watch import Watch


@dataclass(frozen=True)
class Setup:
    """What the trials of a study share. `config` holds the study's seed, its warm-up and everything not searched.

    `weights` of the score's parts say what is optimised; `points` are values that the first slots are given. Without
    `prune` every trial is trained to its last step unless it diverges.
    """

    config: TrainConfig
    space: Space
    images: ImageSet
    spectrum: Tensor
    folder: Path
    device: torch.device
    weights: Mapping[str, float]
    prune: bool = True
    points: Sequence[Mapping[str, float]] = ()

    def warmup_folder(self, config: TrainConfig) -> Path:
        """Of the warm-up that a run with this configuration starts from."""
        digest = hashlib.sha256(dump_toml(warmup_config(config).to_dict()).encode()).hexdigest()[:8]
        return self.folder / ".warmup" / digest

    def point(self, slot: int) -> Mapping[str, float]:
        """The values that the slot is given; mostly none."""
        return self.points[slot] if slot < len(self.points) else {}

    @property
    def varies_warmup(self) -> bool:
        """Whether the warm-up depends on what is searched, so that each trial has one of its own."""
        ends = [{name: end} for name, bounds in self.space.search.items() for end in bounds]
        return any(warmup_config(replace(self.config, **searched(end))) != warmup_config(self.config) for end in ends)

    def shares_warmup(self, trials: int) -> bool:
        """Whether some of so many trials start from the study's own warm-up."""
        if not self.config.warmup_steps or self.varies_warmup:
            return False
        return any("seed" not in self.point(slot) for slot in range(trials))

    def run_folder(self, slot: int) -> Path:
        return self.folder / f"trial-{slot:03d}"


def warmup_config(config: TrainConfig) -> TrainConfig:
    """The VAE phase of a run as a run: all that it depends on, and nothing else."""
    beta = config.beta if config.warmup_beta is None else config.warmup_beta
    seed = config.seed if config.warmup_seed is None else config.warmup_seed
    return replace(
        config, alpha=0.0, alpha_decoder=None, beta=beta, m=TrainConfig.m, steps=config.warmup_steps,
        seed=seed, warmup_seed=None, split_seed=config.images_seed,
    )  # fmt: skip


def train_warmup(
    setup: Setup, config: TrainConfig, stop: Callable[[], bool] = lambda: False, watch: Watch | None = None
) -> None:
    """The VAE phase that a run with this configuration starts from, trained once; its KL also sets the margins.

    Other workers wait until the first one has trained it. Raises CutOff once `stop` is true and DivergedError if the
    phase diverges.
    """
    config, folder = warmup_config(config), setup.warmup_folder(config)
    watch = watch or Watch()
    watch.enter("waiting")
    with patient_lock(folder, stop):
        watch.enter("start")
        rows = read_metrics(folder, most=2)
        if rows and rows[-1]["step"] == config.steps and (folder / CHECKPOINT).exists():
            return
        if not stop():
            trainer = Trainer(config, setup.images, folder, setup.device)
            watch.enter("keeping")
            trainer.run(on_log=watch.follow("warm-up", trainer, "warm-up"), stop=stop)
            watch.enter("study")
            if trainer.step == config.steps:
                return
    raise CutOff("asked to stop in the warm-up")


def run_config(setup: Setup, slot: int, values: Mapping[str, float]) -> TrainConfig:
    """The run of a slot but for m, which takes its warm-up; the seed is its point's or follows from the slot."""
    seed = setup.point(slot).get("seed")
    return replace(
        setup.config,
        alpha=values["alpha"],
        beta=values["beta"],
        seed=derive(setup.config.seed, "trial", slot) if seed is None else int(seed),
        warmup_seed=setup.config.seed if seed is None else int(seed),
        split_seed=setup.config.images_seed,
        **searched(values),
    )


def trial_config(setup: Setup, slot: int, values: Mapping[str, float]) -> TrainConfig:
    """The run of a slot: m = margin ratio x the KL that a VAE reaches at this beta, told by the run's warm-up."""
    config = run_config(setup, slot, values)
    m = values.get("m")
    if m is None:
        rows = read_metrics(setup.warmup_folder(config)) if config.warmup_steps else []
        m = values["margin_ratio"] * vae_kl(config, setup.spectrum, rows)
    return replace(config, m=rounded(m))


def run_trial(
    trial: optuna.Trial,
    setup: Setup,
    slot: int,
    reported: dict[int, float],
    stop: Callable[[], bool] = lambda: False,
    watch: Watch | None = None,
) -> float:
    """Train the slot's run, continuing it where it was cut off, and give its score in [0, 1].

    `reported` are the scores at rungs that the run passed before it was cut off. Raises TrialPruned for a run that
    is pruned, and for one that diverged, collapsed or failed, which is infeasible as well; CutOff once `stop` is true.
    A run failed if memory did not suffice, or if it broke its process when it was tried before.
    """
    point = setup.point(slot)
    values = setup.space.suggest(trial, point)
    if point:
        trial.set_user_attr("point", dict(point))
    trial.set_user_attr(DRAWN, True)
    scores: dict[str, Any] = {"state": "complete", "reason": "", "score": 0.0}
    scores |= {"optimized": 0.0, "weights": dict(setup.weights)}
    try:
        scores |= _train_and_score(trial, setup, slot, values, reported, stop, watch or Watch())
    except OutOfMemoryError as error:
        scores |= {"state": "failed", "reason": str(error)}
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        scores |= {"state": "failed", "reason": "out of memory while scoring images"}
    state, reason = scores["state"], scores["reason"]
    write_scores(setup.run_folder(slot), scores)
    trial.set_user_attr("outcome", f"{state}: {reason}" if reason else state)
    upload_picture(trial, setup.run_folder(slot))
    constrain(trial, "failed", 1.0 if state in ("diverged", "collapsed", "failed") else -1.0)
    if state != "complete":
        raise optuna.TrialPruned(reason)
    return scores["optimized"]


def _train_and_score(
    trial: optuna.Trial,
    setup: Setup,
    slot: int,
    values: Mapping[str, float],
    reported: dict[int, float],
    stop: Callable[[], bool],
    watch: Watch,
) -> dict[str, Any]:
    """What becomes of the run: state, reason, score and measures."""
    folder = setup.run_folder(slot)
    if reason := given_up(trial.study, slot):
        return {"state": "failed", "reason": reason}
    start = None
    if setup.config.warmup_steps:
        config = run_config(setup, slot, values)
        start = setup.warmup_folder(config)
        with suppress(DivergedError):  # in the run as well, which shows it
            train_warmup(setup, config, stop, watch)
    config = trial_config(setup, slot, values)
    trial.set_user_attr("m", config.m)
    watch.enter("start")
    trainer = Trainer(config, setup.images, folder, setup.device, start)
    watch.enter("study")
    trial.set_user_attr("first_step", trainer.step)
    state, reason = "complete", ""
    try:
        _climb(trial, trainer, setup, reported, watch, stop)
    except Stopped as stopped:
        state, reason = stopped.state, str(stopped)
    except DivergedError as error:
        state, reason = "diverged", str(error)
    trial.set_user_attr("last_step", trainer.step)
    watch.enter("results")
    scores: dict[str, Any] = {"state": state, "reason": reason}
    if state != "diverged":
        rows = read_metrics(folder)
        scores |= measure_run(trainer.evaluated, setup.images, config, setup.spectrum, rows, state != "pruned")
        scores["optimized"] = weighted(scores, setup.weights)
        trainer.write_picture()
    if state in ("complete", "collapsed"):
        write_latent_pictures(trainer.evaluated, setup.images, folder)
    if state != "pruned":  # most trials are, and half a second each would add up
        trainer.finish()
    watch.enter("study")
    return scores


def _climb(
    trial: optuna.Trial,
    trainer: Trainer,
    setup: Setup,
    reported: dict[int, float],
    watch: Watch,
    stop: Callable[[], bool],
) -> None:
    """Train from rung to rung to the end. Raises Stopped where the trial is not worth going on with."""
    config = trainer.config
    real, on_log = scored_images(setup.images), watch.follow(trainer.folder.name, trainer)
    warmup = read_metrics(setup.warmup_folder(config)) if config.warmup_steps else []
    check = Rules(config, vae_kl(config, setup.spectrum, warmup))

    def on_row(row: dict[str, float]) -> None:
        on_log(row)
        if setup.prune:
            check(row)

    if setup.prune:
        for row in read_metrics(trainer.folder):
            check(row)

    for rung in [*rungs(config), config.steps]:
        if trainer.step > rung:
            if rung in reported:
                trial.report(reported[rung], rung)
            continue
        watch.enter("keeping")
        trainer.run(rung, on_row, stop)
        watch.enter("scoring")
        if stop():
            raise CutOff(f"asked to stop at step {trainer.step}")
        reconstructions, samples = outputs(trainer.evaluated, real, config.latent)
        score = weighted(vars(score_images(real, reconstructions, samples)), setup.weights)
        collapse = image_collapse(real, reconstructions, samples)
        watch.enter("study")
        trial.report(score, rung)
        if collapse and (setup.prune or rung == config.steps):
            raise Stopped("collapsed", f"{collapse} at step {rung}")
        if setup.prune and rung < config.steps and trial.should_prune():
            raise Stopped("pruned", f"score {score:.3f} at step {rung}")
