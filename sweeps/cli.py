"""introvae-sweep: an Optuna study over alpha, beta and m."""

import argparse
import time
from argparse import ArgumentTypeError
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from introvae.errors import UserError
from introvae.options import DEVICE_HELP, PREDICTIONS, Parser, add_config_options, config_from, run_command

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from sweeps.objective import Setup

DESCRIPTION = (
    "Search alpha, beta and the margin m of an IntroVAE with Optuna. The same command continues a study that was "
    "interrupted; --trials is the study's total, pruned trials included."
)
EPILOG = (
    "Ranges are LO:HI, searched on a log scale. By default beta's follows from the spectrum of the images, and m is "
    "1 to 16 times the KL in nats that a VAE reaches at the trial's beta."
)
SEARCHED = ("alpha", "beta", "m", "warmup_seed", "split_seed", "start_weights")
BEST_SHOWN = 5


def command_line() -> Parser:
    parser = Parser("introvae-sweep", "[options]", DESCRIPTION, EPILOG)
    parser.add_argument("--trials", type=int, default=50, metavar="N", help="trials of the whole study [50]")
    parser.add_argument("--study", metavar="NAME", help="name of the study [the data and the image size]")
    ranges = (
        ("alpha", "amount of GAN [0.05:1]"),
        ("beta", "weight of 1/2 the squared error summed over pixels [from the data]"),
        ("m", "margin in nats [1 to 16 times the VAE's KL]"),
    )
    for name, text in ranges:
        parser.add_argument(f"--{name}", dest=f"{name}_range", type=parse_range, metavar="LO:HI", help=text)
    parser.add_argument(
        "--optimize", default="score", metavar="WHAT", help="score, PART, or weights PART=X,PART=Y [score]"
    )
    parser.add_argument("--out", type=Path, default=PREDICTIONS, metavar="FOLDER", help="holds studies [predictions]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    add_config_options(parser, leave_out=SEARCHED)
    return parser


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    return run_command("introvae-sweep", lambda: sweep(args))


def parse_range(text: str) -> tuple[float, float]:
    """LO:HI with 0 < LO <= HI."""
    try:
        low, high = (float(end) for end in text.split(":"))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no range; it takes LO:HI, such as 0.05:1") from error
    if not 0 < low <= high < float("inf"):
        raise ArgumentTypeError(f"{text!r}: LO must be more than 0 and HI no less than LO")
    return low, high


def sweep(args: argparse.Namespace) -> None:
    from introvae.run import CHECKPOINT, lock
    from sweeps.objective import train_warmup
    from sweeps.study import fill_slots, next_slot, open_study

    if args.trials < 1:
        raise UserError(f"--trials is {args.trials}; allowed: 1 or more")
    if args.study and (Path(args.study).name != args.study or args.study.startswith(".")):
        raise UserError(f"--study is {args.study!r}; it takes a name for a folder below --out")
    setup = prepare(args)
    with lock(setup.folder):
        fixed = {name: value for name, value in setup.config.to_dict().items() if name not in SEARCHED}
        study = open_study(
            setup.folder,
            fixed | {f"search.{k}": v for k, v in setup.space.to_dict().items()} | {"optimize": dict(setup.weights)},
        )
        ranges = ", ".join(f"{name} {lo:.3g} to {hi:.3g}" for name, (lo, hi) in setup.space.to_dict().items())
        print(f"study {setup.folder}: {ranges}", flush=True)
        slot = next_slot(study, args.trials)
        if slot is not None:
            if setup.config.warmup_steps:
                train_warmup(setup)
            if study.trials:
                cut_off = (setup.run_folder(slot) / CHECKPOINT).exists()
                print(f"continuing with trial {slot}" + (", from its last checkpoint" if cut_off else ""), flush=True)
            fill_slots(study, setup, args.trials, Narrator(args.trials))
    summarise(setup.folder, args.out)


def prepare(args: argparse.Namespace) -> "Setup":
    """Load the images and settle everything that the trials share."""
    from analysis.score import weights_of
    from analysis.spectrum import eigenvalues
    from introvae.data import load_images
    from introvae.device import choose_device
    from sweeps.objective import Setup
    from sweeps.space import data_space, warmup_beta

    config = config_from(args)
    if config.objective == "soft":
        raise UserError(
            "--objective is soft, which has no m; the sweep searches alpha, beta and m of --objective intro"
        )
    device = choose_device(args.device)
    images = load_images(config.data, config.image_size, config.channels, config.images_seed)
    spectrum = eigenvalues(images.train)
    space = data_space(spectrum, config.latent, args.alpha_range, args.beta_range, args.m_range)
    beta = warmup_beta(space, spectrum, config.latent) if config.warmup_beta is None else config.warmup_beta
    config = replace(config, channels=images.channels, warmup_beta=beta)
    name = args.study or f"{images.name}-{config.image_size}px"
    return Setup(config, space, images.to(device), spectrum, args.out / name, device, weights_of(args.optimize))


class Narrator:
    """Prints one line for each finished trial, with the best so far and the time left."""

    def __init__(self, trials: int) -> None:
        self.trials = trials
        self.start = time.monotonic()
        self.seen = 0

    def __call__(self, study: "optuna.Study", trial: "FrozenTrial") -> None:
        from sweeps.study import best_trial, finished_slots

        self.seen += 1
        missing = self.trials - len(finished_slots(study))
        left = (time.monotonic() - self.start) / self.seen * missing / 60
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

    runs = ranked(read_runs(folder))
    write_report(folder, report_files(runs, folder.resolve().name), best_and_worst(runs))
    print(f"\n{text_table(runs[:BEST_SHOWN])}\n")
    print(f"all {len(runs)} runs: {folder / CSV}; pictures of the best and the worst: {folder / GRID}")
    print(f"next: introvae-report {out}")


if __name__ == "__main__":
    raise SystemExit(main())
