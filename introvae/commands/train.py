"""introvae-train: one training in one run folder.

How the trained model is evaluated is passed in: `analysis.train`, which the command starts, composes the two.
"""

import argparse
import hashlib
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from introvae.commands.options import (
    DEVICE_HELP,
    PREDICTIONS,
    Parser,
    add_config_options,
    config_from,
    given_settings,
    parse_path,
    run_command,
)
from introvae.commands.translate import Translation, inherited
from introvae.config import TrainConfig, dump_toml
from introvae.errors import DivergedError, UserError
from introvae.files import folder_name

if TYPE_CHECKING:
    from introvae.training.trainer import Trainer

Evaluate = Callable[["Trainer", DivergedError | None], None]
"""Called with a trainer whose run has ended, and with the error if it diverged; writes the run's scores.json."""

WARMUP = ".warmup"  # folder in the folder of a run whose m follows from it
FREE = ("steps", "log_every", "checkpoint_every", "picture_every")  # settings that a run may be continued with
DESCRIPTION = "Train an IntroVAE, or with --alpha 0 a VAE. The same command resumes a run that was interrupted."
EPILOG = (
    "Above are the defaults for up to 32 px; --dry-run shows those of larger images. "
    "ALPHA, BETA and KL-WEIGHT also take a schedule over steps: --alpha 0:0,20000:0,30000:0.25. "
    "Images are in [0, 1], m and every KL in nats. "
    "Weights of Soft-IntroVAE's code are, with --objective soft: ALPHA 0.5, BETA 2 beta_rec, KL-WEIGHT beta_kl, "
    "ALPHA-DECODER beta_kl / 2, BETA-NEG beta_neg, GAMMA-R gamma_r / 2."
)


def command_line() -> Parser:
    """Return the parser of introvae-train."""
    parser = Parser("introvae-train", "[options]", DESCRIPTION, EPILOG)
    parser.add_argument(
        "--out", type=parse_path, metavar="FOLDER", help="run folder [predictions/NAME-OF-THE-SETTINGS]"
    )
    parser.add_argument(
        "--from", dest="source", type=parse_path, metavar="RUN",
        help="take RUN's settings and continue from its end: longer with --steps, or as a new run from its weights; "
        "at another --image-size as a new run, with beta and m translated",
    )  # fmt: skip
    parser.add_argument("--best", action="store_true", help="with --from STUDY: its run with the best score")
    parser.add_argument("--dry-run", action="store_true", help="show settings, length and cost, and begin nothing")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    add_config_options(parser, leave_out=("warmup_seed", "split_seed", "start_weights"))
    return parser


def main(argv: list[str] | None, evaluate: Evaluate) -> int:
    """Run introvae-train and return its exit code."""
    parser = command_line()
    args = parser.parse_args(argv)
    if args.best and args.source is None:
        parser.error("--best needs --from STUDY")
    run = dry_run if args.dry_run else partial(train, evaluate=evaluate)
    return run_command("introvae-train", lambda: run(*settings(args), args), resumes=True)


def settings(args: argparse.Namespace) -> tuple[TrainConfig, Path | Translation | None]:
    """Return what to train, and the run to continue or the setting to translate to another image size, if any.

    --from with other settings than steps starts a new run.

    Raises:
        UserError: If there is no such run, or it cannot be continued or translated.
    """
    if args.source is None:
        return config_from(args), None
    from introvae.runs.folder import load_checkpoint, read_config
    from introvae.runs.record import best_run
    from introvae.training.state import holds_weights_alone

    source = best_run(args.source) if args.best else args.source
    found, given = read_config(source), given_settings(args)
    if given.get("image_size", found.image_size) != found.image_size:
        translation = Translation(source, found, given)
        base = inherited(found)
        if translation.has_margin:
            base.pop("m")  # which follows from the warm-up
        return config_from(args, base), translation
    config = config_from(args, found.to_dict() | {"warmup_steps": 0})  # the weights are warm already
    same = {name: getattr(found, name) for name in ("warmup_steps", *FREE)}
    state = load_checkpoint(source)
    if state is None:
        raise UserError(f"{source} has no checkpoint; give a run folder that has one")
    alone = holds_weights_alone(state)
    if args.warmup_steps is None and replace(config, **same) == found and not alone:
        if config.steps <= found.steps:
            raise UserError(f"{source} has its {found.steps} steps; give more --steps, or a setting to change")
        return replace(config, warmup_steps=found.warmup_steps), source
    if alone:
        print(f"{source} holds weights alone; this is a new run from them", file=sys.stderr)
    return replace(config, warmup_seed=None, split_seed=found.images_seed, start_weights=str(source)), None


def begun(config: TrainConfig, source: Path | Translation | None, channels: int) -> tuple[TrainConfig, str]:
    """Return the settings for images of so many channels, and a name for the run folder."""
    name, config = run_name(config), replace(config, channels=channels)
    if isinstance(source, Translation):
        config = source.with_beta(config)
        name = source.name(config)
    return config, name


def dry_run(config: TrainConfig, source: Path | Translation | None, args: argparse.Namespace) -> None:
    """Print what `train` would do and cost."""
    from introvae.commands.dry_run import describe
    from introvae.data.image_set import load_images

    config, name = begun(config, source, load_images(**config.images).channels)
    if isinstance(source, Translation):
        print(source.describe(config, warm=False))
        source = None
    print(describe(config, _folder(args, config, name), source, args.device))


def train(config: TrainConfig, source: Path | Translation | None, args: argparse.Namespace, evaluate: Evaluate) -> None:
    """Train to the last step and evaluate; a run that has ended is only shown."""
    from introvae.data.image_set import load_images
    from introvae.files import lock
    from introvae.runs.folder import check_config, check_images
    from introvae.runs.pictures import last_picture
    from introvae.runs.record import RunState, read_record
    from introvae.training.device import find_device, tune_process
    from introvae.training.distributed import is_first, process_group
    from introvae.training.trainer import Trainer

    device = find_device(args.device)
    tune_process(device)
    images = load_images(**config.images)
    config, name = begun(config, source, images.channels)
    folder = _folder(args, config, name)
    with process_group(device), lock(folder) if is_first() else nullcontext():
        start = None if isinstance(source, Translation) else source
        if isinstance(source, Translation):
            if source.has_margin:
                start = folder / WARMUP
                config = source.with_margin(config, start, lambda warm, at: _run(Trainer(warm, images, at, device)))
            if is_first():
                print(source.describe(config, warm=True), file=sys.stderr)
        if ended := read_record(folder):
            check_config(folder, config)
            check_images(folder, images.facts)
        else:
            _run(Trainer(config, images, folder, device, start), evaluate)
        if is_first() and (record := ended or read_record(folder)):
            score = "" if math.isnan(record.scores.score) else f", score {record.scores.score:.3f}"
            score += f" (on test images {record.test.score:.3f})" if record.test else ""
            print(f"{folder}: {record.state}{score}; {last_picture(folder)}")
            print(f"next: introvae-report {folder.parent}")
        if ended and ended.state is RunState.DIVERGED:
            raise DivergedError(ended.reason)


def _folder(args: argparse.Namespace, config: TrainConfig, name: str) -> Path:
    """Return the run folder, or raise UserError if its pictures would be among the images."""
    from introvae.data.image_set import check_apart

    folder: Path = args.out or PREDICTIONS / name
    check_apart(folder, config.images)
    return folder


def _run(trainer: "Trainer", evaluate: Evaluate = lambda trainer, error: None) -> None:
    from introvae.training.distributed import is_first
    from introvae.training.progress import progress

    if trainer.step and is_first():
        print(f"{trainer.folder}: resuming at step {trainer.step}", file=sys.stderr)
    try:
        shown = progress(trainer.config.steps, trainer.step, trainer.folder.name) if is_first() else nullcontext()
        with shown as on_log:
            trainer.run(on_log=on_log)
    except DivergedError as error:
        if is_first():
            evaluate(trainer, error)
        raise
    if is_first():
        evaluate(trainer, None)


def run_name(config: TrainConfig) -> str:
    """Return a name that is the same for the same settings, so that the same command finds its run again."""
    data = folder_name(Path(config.data.split(":")[0]).expanduser().resolve().name)
    numbers = [("alpha", config.alpha), ("beta", config.beta), ("m", config.m)]
    shown = [f"{name}{value:g}" if isinstance(value, float) else f"{name}-schedule" for name, value in numbers]
    digest = hashlib.sha256(dump_toml(config.to_dict()).encode()).hexdigest()[:6]
    return "-".join([data, *shown, digest])
