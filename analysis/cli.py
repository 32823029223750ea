"""introvae-report: the runs below a folder as a table, best first, and as a page with pictures."""

import argparse
import os
import sys
from pathlib import Path

from introvae.commands.options import PREDICTIONS, Parser, parse_path, run_command
from introvae.errors import UserError

DESCRIPTION = (
    "Print all runs below a folder, best first, and write into it report.html, a page with charts and pictures that "
    "needs no network, summary.csv, summary.md and comparison.png; during a sweep, of the runs so far. Runs are "
    "ordered by their score on validation images, and that on test images is the one to quote; scores are in [0, 1], 1 "
    "is best. m and KL are in nats, m/KL relates m to the KL that a plain VAE reaches at the run's "
    "beta, as the warm-up measured it; without one, m/predicted KL relates it to what the images predict."
)
FORMATS = ("table", "csv", "md", "json", "html")


def command_line() -> Parser:
    """Return the parser of introvae-report."""
    parser = Parser("introvae-report", "[folder] [options]", DESCRIPTION)
    runs = "runs, at any depth [predictions]"
    parser.add_argument("folder", type=parse_path, nargs="?", default=PREDICTIONS, help=runs)
    parser.add_argument(
        "--compare",
        nargs="*",
        metavar="RUN",
        help="what comparison.png shows: these runs, or all; two or three side by side [best and worst]",
    )
    parser.add_argument("--open", action="store_true", help="open report.html in the browser")
    parser.add_argument("--format", choices=FORMATS, default="table", help="what is printed, and nothing else [table]")
    parser.add_argument(
        "--rescore", action="store_true", help="first measure every run that has a checkpoint again, with this version"
    )
    parser.add_argument(
        "--kid",
        action="store_true",
        help="with --rescore: also KID, on features of EfficientNet-Lite0, of validation and test images (extra kid)",
    )
    parser.add_argument(
        "--fid",
        type=parse_path,
        metavar="WEIGHTS",
        help="with --rescore: also FID and KID on features of Inception, with its weights in this file (extra fid)",
    )
    parser.add_argument(
        "--tensorboard",
        type=parse_path,
        metavar="FOLDER",
        help="also write the runs for TensorBoard (extra tensorboard)",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run introvae-report and return its exit code."""
    parser = command_line()
    args = parser.parse_args(argv)
    if (args.kid or args.fid) and not args.rescore:
        parser.error("--kid and --fid need --rescore")
    return run_command("introvae-report", lambda: report(args))


def report(args: argparse.Namespace) -> None:
    """Write the report and print what is asked for, even where the files cannot be written."""
    from analysis.report.repeats import repeats, repeats_text
    from analysis.report.runs import read_runs
    from analysis.report.table import frame, ranked, text_table
    from analysis.report.write import (
        CSV,
        GRID,
        MARKDOWN,
        MOST_DRAWN,
        PAGE,
        best_and_worst,
        named,
        report_files,
        write_report,
    )

    folder = args.folder
    if args.rescore:
        from analysis.rescore import rescore

        rescore(read_runs(folder), args.kid, args.fid)
    runs = ranked(read_runs(folder))
    if args.compare is None:
        drawn = best_and_worst([run for run in runs if run.state.ended])
    else:
        drawn = best_and_worst(named(folder, runs, args.compare) if args.compare else runs, MOST_DRAWN)
    files = report_files(runs, folder.resolve().name)
    if args.format == "table":
        text = "\n\n".join(filter(None, [text_table(runs), repeats_text(repeats(runs))])) + "\n"
    elif args.format == "json":
        text = frame(runs).to_json(orient="records", indent=1, double_precision=15) + "\n"
    else:
        text = files[{"csv": CSV, "md": MARKDOWN, "html": PAGE}[args.format]]
    try:
        written = write_report(folder, runs, files=files, drawn=drawn, in_columns=args.compare is not None)
        if args.format == "table":
            text += f"\nwritten: {', '.join(map(str, written))}\n"
            text += f"{GRID} shows {len(drawn)} of {len(runs)} runs, best first\n"
    finally:
        show(text)
    if args.tensorboard:
        from analysis.report.tensorboard import write_tensorboard

        write_tensorboard(runs, args.tensorboard)
    if args.open:
        open_in_browser(folder / PAGE)


def show(text: str) -> None:
    """Print, as long as someone reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # such as head; what is still buffered must go somewhere when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_in_browser(page: Path) -> None:
    """Open the page, or raise UserError if there is no browser."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        raise UserError(f"there is no browser to open {page} with; set BROWSER to the command of one")


if __name__ == "__main__":
    raise SystemExit(main())
