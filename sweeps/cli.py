"""introvae-sweep: an Optuna study over alpha, beta and m."""

import argparse
import errno
import re
from argparse import ArgumentTypeError
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

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
from introvae.errors import StoppedError
from sweeps.config import ENGINES, FIELDS, PRUNERS, SAMPLERS, SET_BY_STUDY, StudyConfig
from sweeps.points import read_points, settings_of, shipped_names
from sweeps.search.dimensions import LINEAR, SEARCHABLE, Dimension, Linear, Range, problem

DESCRIPTION = "Search alpha, beta and m of an IntroVAE with Optuna. The same command resumes."
NO_FLAG = (*SET_BY_STUDY, "objective", "beta_neg", "gamma_r")  # settings of a training; no study is of --objective soft


def command_line() -> Parser:
    """Return the parser of the command line."""
    parser = Parser("introvae-sweep", "[options]", DESCRIPTION)
    parser.formatter_class = partial(argparse.HelpFormatter, max_help_position=29)  # so that the help fits a screen
    add = parser.add_argument
    add("--trials", type=int, metavar="N", help="trials of the whole study, pruned ones too [50]")
    add("--study", metavar="NAME", help="name of the study [of data and size, or points]")
    add("--out", type=parse_path, default=PREDICTIONS, metavar="FOLDER", help="folder that holds studies [predictions]")
    add("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    add("--workers", type=int, metavar="N", help="trials at once [one per core or GPU]")
    add("--engine", choices=ENGINES, default="local", metavar="NAME", help="local, ray or slurm [local]")
    add("--address", metavar="HOST:PORT", help="Ray cluster, or auto on one of its nodes")
    add("--gpus-per-trial", type=float, default=0.0, metavar="X", help="GPUs of Ray for each trial, such as 0.25 [0]")
    jobs = partial(parse_pairs, parse=parse_option, takes="--slurm takes NAME=X,..., such as gpus_per_node=1")
    add("--slurm", type=jobs, default={}, metavar="NAME=X,...", help="submitit's parameters of each job")
    add("--processes-per-trial", type=int, default=1, metavar="K", help="torchrun K processes for each [1]")
    add("--silence", type=float, default=900.0, metavar="S", help="try again after S seconds without a log [900]")
    add("--keep", type=parse_keep, default=5, metavar="K|all", help="keep checkpoints of the K best trials [5]")
    add("--isolate", action="store_true", help="give each trial a process of its own")
    add("--trial-timeout", type=float, metavar="S", help="end a trial after S seconds [never]")
    add("--quiet", action="store_true", help="show only the result, and errors")
    add("--dry-run", action="store_true", help="show space, settings and cost, and begin nothing")
    add = parser.add_argument_group("search, in ranges LO:HI on a log scale, or lin:LO:HI").add_argument
    add("--alpha", type=parse_range, metavar="LO:HI", help="weight of the adversarial terms [0.1:0.75]")
    add("--beta", type=parse_range, metavar="LO:HI", help="weight of half the squared error [from the data]")
    add("--m", type=parse_range, metavar="LO:HI", help="margin in nats [from --margin-ratio]")
    add("--margin-ratio", type=parse_range, metavar="LO:HI", help="m over a VAE's KL, in place of m [1:16]")
    fixed = partial(parse_pairs, parse=float, takes="--fix takes NAME=X,..., such as alpha=0.25")
    add("--fix", type=fixed, default={}, metavar="NAME=X,...", help="fix alpha, beta, m or margin_ratio")
    text = "search others, as lr=1e-4:1e-3,norm=group,none"
    add("--search", type=parse_search, default={}, metavar="NAME=LO:HI,...", help=text)
    add("--points", metavar="FILE|NAME", help="first settings: a CSV, a study, or a list's name")
    add("--like", type=parse_path, metavar="STUDY", help="search around the best settings of a study")
    add("--sampler", choices=SAMPLERS, default="sobol", metavar="NAME", help="sobol (quasi-random) or tpe [sobol]")
    add("--pruner", choices=PRUNERS, metavar="NAME", help="forecast or none [forecast; points alone: none]")
    add("--budget", type=int, metavar="STEPS", help="limit on all steps after warm-ups [none]")
    add("--hours", type=float, metavar="H", help="limit on the hours of steps after warm-ups [none]")
    add("--patience", type=int, metavar="N", help="stop once N trials have brought no better one")
    add("--seeds", type=int, metavar="K", help="then repeat the best setting with K seeds")
    add("--optimize", default="score", metavar="WHAT", help="score, PART, or weights PART=X,PART=Y [score]")
    add_config_options(parser.add_argument_group("training, with defaults for up to 32 px"), leave_out=NO_FLAG)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    args = command_line().parse_args(argv)
    return run_command("introvae-sweep", lambda: until_the_disk_is_full(args), resumes=True)


def parse_range(text: str) -> Range:
    """Read LO:HI, with 0 < LO <= HI, or lin:LO:HI, with 0 <= LO <= HI.

    Raises:
        ArgumentTypeError: If the text is no such range.
    """
    linear = text.startswith(f"{LINEAR}:")
    try:
        low, high = (float(end) for end in text.split(":")[linear:])
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no range; it takes LO:HI or lin:LO:HI, such as 0.1:0.75") from error
    bounds = Linear(low, high) if linear else (low, high)
    if wrong := problem(bounds):
        raise ArgumentTypeError(f"{text!r}: {wrong}")
    return bounds


def parse_search(text: str) -> dict[str, Dimension]:
    """Read NAME=RANGE or NAME=WORD,... of each setting; words of one setting are parted by commas, too."""
    takes = "--search takes NAME=LO:HI,..., such as lr=1e-4:1e-3, or NAME=WORD,..., such as norm=group,none"
    pairs = parse_pairs(text, str, takes, comma=r",(?=[^,]*=)")
    return {
        name: tuple(value.split(",")) if SEARCHABLE.get(name, str) is str else parse_range(value)
        for name, value in pairs.items()
    }


def parse_pairs(text: str, parse: Callable[[str], Any], takes: str, comma: str = ",") -> dict[str, Any]:
    """Read NAME=VALUE,..., with a regular expression for what parts the pairs.

    Raises:
        ArgumentTypeError: If the text holds no such pairs, or a name twice.
    """
    pairs = [part.split("=") for part in re.split(comma, text)]
    try:
        found = {name: parse(value) for name, value in pairs}
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} cannot be read; {takes}") from error
    if len(found) < len(pairs):
        raise ArgumentTypeError(f"{text!r} names something twice; {takes}")
    return found


def parse_keep(text: str) -> int | None:
    """Read a number of trials, or "all" as None.

    Raises:
        ArgumentTypeError: If the text is neither.
    """
    try:
        return None if text == "all" else int(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no number of trials; it takes one, or all") from error


def parse_option(text: str) -> str | int:
    """Read a value of --slurm."""
    return int(text) if text.isdecimal() else text


def until_the_disk_is_full(args: argparse.Namespace) -> int:
    """Sweep, and return the exit code.

    Raises:
        StoppedError: If the disk is full, with what to do.
    """
    try:
        return sweep(args)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        text = f"{error.filename or args.out}: {error.strerror}; free some space, then rerun the same command"
        raise StoppedError(text) from error


def sweep(args: argparse.Namespace) -> int:
    """Run the study and return the exit code: 0, or that of the signal that stopped it."""
    asked = {name: value for name, value in vars(args).items() if name in FIELDS}
    trained = argparse.Namespace(**{name: value for name, value in vars(args).items() if name not in NO_FLAG})
    base: dict[str, Any] = {}
    of_a_study = args.points and args.points not in shipped_names() and Path(args.points).is_dir()
    if args.like or of_a_study:
        from sweeps.earlier import base_of, points_of, runs_of
    asked["points"] = ()
    if args.points:
        asked["points"] = points_of(runs_of(Path(args.points))) if of_a_study else read_points(args.points)
    if args.like:
        base = base_of(args.like, given_settings(trained).get("image_size"))
    elif args.points and args.trials is None and not of_a_study:
        asked["study"] = args.study or Path(args.points).stem
        base = {} if args.preset else settings_of(args.points)
    config = StudyConfig(train=config_from(trained, base), **asked)
    if args.dry_run:
        from sweeps.dry_run import describe

        print(describe(config))
        return 0
    from introvae.training.device import find_device, tune_process
    from sweeps.interrupt import Interrupt
    from sweeps.run import run_study
    from sweeps.study import missing_trials

    if config.engine == "local":
        tune_process(find_device(config.device))
    with Interrupt() as stop:
        study = run_study(config, stop)
    unfinished = config.seeds or missing_trials(study, config.total)
    return 128 + stop.received if stop.received and unfinished else 0


if __name__ == "__main__":
    raise SystemExit(main())
