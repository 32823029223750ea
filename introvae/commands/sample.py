"""introvae-sample: pictures from a trained run."""

from pathlib import Path

from introvae.commands.options import DEVICE_HELP, Parser, run_command
from introvae.errors import UserError

DESCRIPTION = "Decode noise with a trained run, into a sheet and a PNG for each sample."


def command_line() -> Parser:
    parser = Parser("introvae-sample", "RUN [options]", DESCRIPTION)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder")
    parser.add_argument("--n", type=int, default=64, metavar="N", help="how many [64]")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed, the same samples [0]")
    parser.add_argument("--truncation", type=float, metavar="X", help="draw numbers beyond X again, such as 1.5 [none]")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where to [RUN/samples]")
    parser.add_argument("--device", default="auto", metavar="NAME", help=f"{DEVICE_HELP} [auto]")
    return parser


def main(argv: list[str] | None = None) -> int:
    args = command_line().parse_args(argv)
    out = args.out or args.run / "samples"
    return run_command(
        "introvae-sample", lambda: sample(args.run, args.n, args.seed, args.truncation, out, args.device)
    )


def sample(run: Path, n: int, seed: int, truncation: float | None, out: Path | None, device: str) -> None:
    """Raises UserError for a number out of range, or a run without a model."""
    for name, value, fits, allowed in (
        ("--n", n, n >= 1, "1 or more"),
        ("--seed", seed, seed >= 0, "0 or more"),
        ("--truncation", truncation, truncation is None or truncation > 0, "more than 0"),
    ):
        if not fits:
            raise UserError(f"{name} is {value}; allowed: {allowed}")
    from torch.nn import functional

    from introvae.runs.pictures import write_sheet
    from introvae.training.state import load_run

    images = load_run(run, device).sample(n, seed, truncation)
    out = out or run / "samples"
    out.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        write_sheet(out / f"{index:05d}.png", image[None, None], shortest=1)
    columns = round(n**0.5)
    missing = -n % columns
    tiles = functional.pad(images, (0, 0) * 3 + (0, missing), value=1.0)  # white
    write_sheet(out / "sheet.png", tiles.unflatten(0, (-1, columns)))
    print(f"{n} samples: {out}, all of them in {out / 'sheet.png'}")


if __name__ == "__main__":
    raise SystemExit(main())
