"""introvae-sweep: an Optuna study over alpha, beta and m."""

import argparse
import errno
import os
import sys
import time
from argparse import ArgumentTypeError
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from introvae.errors import StoppedError, UserError
from introvae.options import DEVICE_HELP, PREDICTIONS, Parser, add_config_options, config_from, run_command
from sweeps.redact import hide_password

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from sweeps.objective import Setup
    from sweeps.workers import Interrupt, Job

DESCRIPTION = (
    "Search alpha, beta and the margin m of an IntroVAE with Optuna. The same command continues a study; --trials is "
    "its total, pruned trials included."
)
EPILOG = (
    "Ranges are LO:HI, searched on a log scale. By default beta's follows from the spectrum of the images, and m is "
    "1 to 16 times the KL in nats that a VAE reaches at the trial's beta."
)
SEARCHED = ("alpha", "beta", "m", "warmup_seed", "split_seed", "start_weights")
BEST_SHOWN = 5


class SweepParser(Parser):
    """Shows no password, whatever is wrong; its help fits a screen."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(prog, usage, description, epilog)
        self.formatter_class = partial(argparse.HelpFormatter, max_help_position=28)

    def error(self, message: str) -> NoReturn:
        super().error(hide_password(message))


def command_line() -> Parser:
    parser = SweepParser("introvae-sweep", "[options]", DESCRIPTION, EPILOG)
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="trials of the whole study [50]")
    parser.add_argument("--study", metavar="NAME", help="name of the study [the data and the image size]")
    ranges = (
        ("alpha", "amount of GAN [0.05:1]"),
        ("beta", "weight of 1/2 the squared error [of the data]"),
        ("m", "margin in nats [1 to 16 times the VAE's KL]"),
    )
    for name, text in ranges:
        parser.add_argument(f"--{name}", dest=f"{name}_range", type=parse_range, metavar="LO:HI", help=text)
    parser.add_argument(
        "--optimize", default="score", metavar="WHAT", help="score, PART, or weights PART=X,PART=Y [score]"
    )
    parser.add_argument("--out", type=Path, default=PREDICTIONS, metavar="FOLDER", help="holds studies [predictions]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    parser.add_argument("--workers", type=int, metavar="N", help="processes on this machine [1, or one a GPU]")
    parser.add_argument("--storage", metavar="URL", help="PostgreSQL for many machines [SQLite]")
    parser.add_argument(
        "--grace", type=int, default=300, metavar="S", help="silence that ends a far worker's trial [300]"
    )
    parser.add_argument("--keep", type=int, default=5, metavar="K", help="keep checkpoints of the K best trials [5]")
    parser.add_argument("--keep-all", action="store_true", help="keep the checkpoints of all trials")
    parser.add_argument("--isolate", action="store_true", help="a process of its own for each trial")
    parser.add_argument("--trial-timeout", type=float, metavar="S", help="end a trial after S seconds [never]")
    add_config_options(parser, leave_out=SEARCHED)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    return run_command("introvae-sweep", lambda: until_the_disk_is_full(args))


def parse_range(text: str) -> tuple[float, float]:
    """LO:HI with 0 < LO <= HI."""
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no range; it takes LO:HI, such as 0.05:1") from error
    if not 0 < low <= high < float("inf"):
        raise ArgumentTypeError(f"{text!r}: LO must be more than 0 and HI no less than LO")
    return low, high


def until_the_disk_is_full(args: argparse.Namespace) -> int:
    try:
        return sweep(args)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StoppedError(f"{error.filename}: {error.strerror}; make room, then the same command goes on") from error


def sweep(args: argparse.Namespace) -> int:
    """The exit code: 0, or that of the signal that stopped the study."""
    from sweeps.slots import missing_slots
    from sweeps.workers import Interrupt, Job

    check(args)
    setup = prepare(args)
    with ExitStack() as held:
        if args.storage is None:
            from introvae.run import lock

            held.enter_context(lock(setup.folder))
        job = Job(
            setup=setup, settings=settings(setup), trials=args.trials, narrate=Narrator(args.trials),
            keep=None if args.keep_all else args.keep, url=args.storage, grace=args.grace,
            workers=worker_count(args, setup), isolate=args.isolate,
        )  # fmt: skip
        study = job.study()
        ranges = ", ".join(f"{name} {lo:.3g} to {hi:.3g}" for name, (lo, hi) in setup.space.to_dict().items())
        print(f"study {setup.folder}: {ranges}", flush=True)
        missing = missing_slots(study, args.trials)
        if missing:
            if study.trials:
                print(f"continuing with trial {missing[0]}{from_checkpoint(setup, missing[0])}", flush=True)
            stop = held.enter_context(Interrupt())
            fill(job, study, stop, args.trial_timeout)
            if missing := missing_slots(study, args.trials):
                begun = ", ".join(str(slot) for slot in missing if from_checkpoint(setup, slot))
                where = f", from the checkpoint of trial {begun}" if begun else ""
                left = f"{args.trials - len(missing)} of {args.trials} trials are done"
                print(f"introvae-sweep: stopped; {left}, and the same command goes on{where}", file=sys.stderr)
                return 128 + stop.received
    summarise(setup.folder, args.out)
    return 0


def check(args: argparse.Namespace) -> None:
    for name in ("trials", "workers", "grace", "keep", "trial_timeout"):
        value = getattr(args, name)
        if value is not None and not value >= 1:
            raise UserError(f"--{name.replace('_', '-')} is {value}; allowed: 1 or more")
    if args.study and (Path(args.study).name != args.study or args.study.startswith(".")):
        raise UserError(f"--study is {args.study!r}; it takes a name for a folder below --out")


def settings(setup: "Setup") -> dict[str, Any]:
    """What a study is asked to be continued with."""
    import optuna
    import torch

    from sweeps.study import fingerprint

    fixed = {name: value for name, value in setup.config.to_dict().items() if name not in SEARCHED}
    searched = {f"search.{name}": bounds for name, bounds in setup.space.to_dict().items()}
    versions = {"version.torch": torch.__version__.split("+")[0], "version.optuna": optuna.__version__}
    return fixed | searched | versions | {"optimize": dict(setup.weights), "images": fingerprint(setup.images)}


def worker_count(args: argparse.Namespace, setup: "Setup") -> int:
    """As asked for; else one for each GPU, one on a CPU."""
    import torch

    every_gpu = setup.device.type == "cuda" and args.device in ("auto", "cuda")
    return args.workers or (torch.cuda.device_count() if every_gpu else 1)


def fill(job: "Job", study: "optuna.Study", stop: "Interrupt", timeout: float | None) -> None:
    """Train in this process if one is enough: CUDA's errors, a hung trial and --isolate take another one."""
    from introvae.data import ImageSet
    from sweeps.workers import Supervisor, work

    setup = job.setup
    cpu = setup.device.type != "cuda"
    if job.workers == 1 and cpu and not job.isolate and timeout is None:
        job = replace(job, setup=replace(setup, images=setup.images.to(setup.device)))
        job.filler(stop).fill(job.on_trial)
        return
    if job.workers > 1 and cpu:
        os.environ["OMP_NUM_THREADS"] = "1"  # of the workers
    images = ImageSet(setup.images.name, setup.images.train[:0], setup.images.validation[:0])
    job = replace(job, setup=replace(setup, images=images))
    Supervisor(partial(work, job), study, stop, timeout).supervise(job.workers)


def from_checkpoint(setup: "Setup", slot: int) -> str:
    from introvae.run import CHECKPOINT

    return ", from its last checkpoint" if (setup.run_folder(slot) / CHECKPOINT).exists() else ""


def prepare(args: argparse.Namespace) -> "Setup":
    """Load the images and settle everything that the trials share."""
    from analysis.score import weights_of
    from analysis.spectrum import eigenvalues
    from introvae.data import load_images
    from introvae.device import choose_device
    from sweeps.objective import Setup
    from sweeps.space import data_space, rounded, warmup_beta

    config = config_from(args)
    if config.objective == "soft":
        raise UserError(
            "--objective is soft, which has no m; the sweep searches alpha, beta and m of --objective intro"
        )
    device = choose_device(args.device)
    images = load_images(config.data, config.image_size, config.channels, config.images_seed)
    spectrum = eigenvalues(images.train)
    space = data_space(spectrum, config.latent, args.alpha_range, args.beta_range, args.m_range)
    space = replace(space, beta=(rounded(space.beta[0]), rounded(space.beta[1])))
    beta = rounded(warmup_beta(space, spectrum, config.latent)) if config.warmup_beta is None else config.warmup_beta
    config = replace(config, channels=images.channels, warmup_beta=beta)
    name = args.study or f"{images.name}-{config.image_size}px"
    return Setup(config, space, images, spectrum, args.out / name, device, weights_of(args.optimize))


class Narrator:
    """Prints one line for each finished trial, with the best so far and the time left."""

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.start = time.monotonic()
        self.before: int | None = None  # trials done when this began

    def __call__(self, study: "optuna.Study", trial: "FrozenTrial") -> None:
        from sweeps.slots import finished_slots
        from sweeps.study import best_trial

        done = len(finished_slots(study))
        if self.before is None:
            self.before = done - 1
        left = (time.monotonic() - self.start) / (done - self.before) * (self.trials - done) / 60
        best = best_trial(study)
        leader = f"best {best.value:.3f} (trial {best.user_attrs['slot']})" if best else "none complete"
        numbers = "  ".join(f"{name} {value:.3g}" for name, value in trial.params.items())
        margin = "" if "m" in trial.params else f"  m {trial.user_attrs['m']:.4g}"
        score = f"score {trial.value:.3f}" if trial.value is not None else "no score"
        print(
            f"trial {trial.user_attrs['slot']}: {score}, {trial.user_attrs['outcome']}; {numbers}{margin}; "
            f"{leader}, {left:.0f} min left",
            flush=True,
        )


def summarise(folder: Path, out: Path) -> None:
    """The best trials, where the pictures are, and what to type next."""
    from analysis.report import CSV, GRID, best_and_worst, report_files, write_report
    from analysis.runs import read_runs
    from analysis.table import ranked, text_table
    from sweeps.disk import megabytes

    runs = ranked(read_runs(folder))
    write_report(folder, report_files(runs, folder.resolve().name), best_and_worst(runs))
    print(f"\n{text_table(runs[:BEST_SHOWN])}\n")
    print(f"all {len(runs)} runs: {folder / CSV}; pictures of the best and the worst: {folder / GRID}")
    print(f"on disk: {megabytes(folder):.0f} MB in {folder}")
    print(f"next: introvae-report {out}")


if __name__ == "__main__":
    raise SystemExit(main())
