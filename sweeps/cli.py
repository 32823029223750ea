"""introvae-sweep: an Optuna study over alpha, beta and m."""

import argparse
import errno
import time
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from introvae.commands.options import DEVICE_HELP, PREDICTIONS, Parser, add_config_options, config_from, run_command
from introvae.errors import StoppedError
from sweeps.config import FIELDS, PRUNERS, SAMPLERS, Range, StudyConfig
from sweeps.points import read_points, settings_of
from sweeps.workers.redact import hide_password

DESCRIPTION = (
    "Search alpha, beta and the margin m of an IntroVAE with Optuna. The same command continues a study; --trials is "
    "its total, pruned trials included."
)
EPILOG = (
    "Ranges are LO:HI, searched on a log scale. By default beta's follows from the spectrum of the images, and m's "
    "from a VAE's KL in nats at this beta."
)
NO_FLAG = (  # of a training: the study sets them, or they are of --objective soft
    "alpha", "beta", "m", "warmup_seed", "split_seed", "start_weights", "beta_neg", "gamma_r",
)  # fmt: skip


class SweepParser(Parser):
    """Shows no password, whatever is wrong; its help fits a screen."""

    def __init__(self, prog: str, usage: str, description: str, epilog: str) -> None:
        super().__init__(prog, usage, description, epilog)
        self.formatter_class = partial(argparse.HelpFormatter, max_help_position=29)

    def error(self, message: str) -> NoReturn:
        super().error(hide_password(message))


def command_line() -> Parser:
    parser = SweepParser("introvae-sweep", "[options]", DESCRIPTION, EPILOG)
    add = parser.add_argument
    add("--trials", type=int, metavar="N", help="trials of the whole study [50]")
    add("--study", metavar="NAME", help="its name [that of data and size, or of points]")
    add("--out", type=Path, default=PREDICTIONS, metavar="FOLDER", help="holds studies [predictions]")
    add("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    add("--workers", type=int, metavar="N", help="processes on this machine [one a core or GPU]")
    add("--storage", metavar="URL", help="PostgreSQL for many machines [SQLite]")
    add("--grace", type=int, default=300, metavar="S", help="silence that ends a far worker's trial [300]")
    add("--keep", type=int, default=5, metavar="K", help="keep checkpoints of the K best trials [5]")
    add("--keep-all", dest="keep", action="store_const", const=None, help="keep all checkpoints")
    add("--isolate", action="store_true", help="a process of its own for each trial")
    add("--trial-timeout", type=float, metavar="S", help="end a trial after S seconds [never]")
    add("--quiet", action="store_true", help="show only the result, and errors")
    add("--dry-run", action="store_true", help="show space, settings and cost, and begin nothing")
    _add_search_options(parser.add_argument_group("search"))
    add_config_options(parser.add_argument_group("training"), leave_out=NO_FLAG)
    return parser


def _add_search_options(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--alpha", type=parse_range, metavar="LO:HI", help="amount of GAN [0.1:0.75]")
    add("--beta", type=parse_range, metavar="LO:HI", help="weight of 1/2 the squared error [of the data]")
    add("--m", type=parse_range, metavar="LO:HI", help="margin in nats [1 to 16 times the VAE's KL]")
    add("--fix", type=parse_fixed, default={}, metavar="NAME=X,...", help="fixed alpha, beta, m or margin_ratio")
    searched = "further settings, such as lr=1e-4:1e-3"
    add("--search", type=parse_searched, default={}, metavar="NAME=LO:HI,...", help=searched)
    add("--points", metavar="FILE|NAME", help="train these first: a CSV, beta-comparison, claims or low-beta")
    add("--sampler", choices=SAMPLERS, default="tpe", metavar="NAME", help="tpe or random [tpe]")
    pruned = "halving or none [points alone: none]"
    add("--pruner", choices=PRUNERS, metavar="NAME", help=pruned)
    add("--seeds", type=int, metavar="K", help="then repeat the best setting with K seeds")
    add("--optimize", default="score", metavar="WHAT", help="score, PART, or weights PART=X,PART=Y [score]")


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    return run_command("introvae-sweep", lambda: until_the_disk_is_full(args))


def parse_range(text: str) -> Range:
    """LO:HI with 0 < LO <= HI."""
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no range; it takes LO:HI, such as 0.1:0.75") from error
    if not 0 < low <= high < float("inf"):
        raise ArgumentTypeError(f"{text!r}: LO must be more than 0 and HI no less than LO")
    return low, high


def parse_fixed(text: str) -> dict[str, float]:
    """NAME=X,..."""
    return _by_name(text, float, "--fix takes NAME=X,..., such as alpha=0.25")


def parse_searched(text: str) -> dict[str, Range]:
    """NAME=LO:HI,..."""
    return _by_name(text, parse_range, "--search takes NAME=LO:HI,..., such as lr=1e-4:1e-3")


def _by_name(text: str, parse: Callable[[str], Any], takes: str) -> dict[str, Any]:
    pairs = [part.split("=") for part in text.split(",")]
    try:
        found = {name: parse(value) for name, value in pairs}
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} cannot be read; {takes}") from error
    if len(found) < len(pairs):
        raise ArgumentTypeError(f"{text!r} names something twice; {takes}")
    return found


def until_the_disk_is_full(args: argparse.Namespace) -> int:
    try:
        return sweep(args)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise StoppedError(
            f"{error.filename}: {error.strerror}; free some space, then rerun the same command"
        ) from error


def sweep(args: argparse.Namespace) -> int:
    """The exit code: 0, or that of the signal that stopped the study."""
    began = time.monotonic()
    asked = {name: value for name, value in vars(args).items() if name in FIELDS}
    searched = argparse.Namespace(**{name: value for name, value in vars(args).items() if name not in NO_FLAG})
    asked["points"] = read_points(args.points) if args.points else ()
    base: dict[str, Any] = {}
    if args.points and args.trials is None:
        asked["study"] = args.study or Path(args.points).stem
        base = {} if args.preset else settings_of(args.points)
    config = StudyConfig(train=config_from(searched, base), **asked)
    if args.dry_run:
        from sweeps.dry_run import describe

        print(describe(config))
        return 0
    from introvae.training.device import find_device, tune_process
    from sweeps.run import run_study
    from sweeps.workers.interrupt import Interrupt
    from sweeps.workers.slots import missing_slots

    tune_process(find_device(config.device))
    with Interrupt() as stop:
        study = run_study(config, stop, began)
    unfinished = config.seeds or missing_slots(study, config.total)
    return 128 + stop.received if stop.received and unfinished else 0


if __name__ == "__main__":
    raise SystemExit(main())
