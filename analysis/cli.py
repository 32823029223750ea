"""introvae-report: the runs below a folder as a table, best first, and a comparison grid."""

from pathlib import Path

from introvae.errors import UserError
from introvae.options import PREDICTIONS, Parser, run_command

DESCRIPTION = (
    "Print all runs below a folder, best first, and write summary.csv, summary.md and comparison.png into it. "
    "The score and its parts are in [0, 1], 1 is best; m is in nats, m/KL relates it to the KL of a plain VAE."
)


def command_line() -> Parser:
    parser = Parser("introvae-report", "[folder] [options]", DESCRIPTION)
    parser.add_argument("folder", type=Path, nargs="?", default=PREDICTIONS, help="runs, at any depth [predictions]")
    parser.add_argument("--runs", nargs="+", default=[], metavar="RUN", help="runs of the grid, by name [the best]")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="how many of the best the grid shows [5]")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    return run_command("introvae-report", lambda: report(args.folder, args.runs, args.top))


def report(folder: Path, runs: list[str], top: int) -> None:
    from analysis.report import text_table, write_report

    if top < 0:
        raise UserError(f"--top is {top}; allowed: 0 or more")
    table, grid = write_report(folder, runs, top)
    print(text_table(table))
    print(f"\nwritten: {folder / 'summary.csv'}, {folder / 'summary.md'}" + (f", {grid}" if grid else ""))


if __name__ == "__main__":
    raise SystemExit(main())
